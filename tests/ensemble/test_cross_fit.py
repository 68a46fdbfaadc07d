from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from drawn.damage import DAMAGES
from drawn.runtimes import runtime
from sklearn.base import clone
from sklearn.naive_bayes import GaussianNB

from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.data.oversampling import OverSampler
from ensemble_minerals.ensemble.cross_fit import cross_fit
from ensemble_minerals.errors import FitError
from ensemble_minerals.members import cached_rows
from ensemble_minerals.members import feature_fits as module
from ensemble_minerals.members.feature_fits import start_together
from ensemble_minerals.members.feature_member import FeatureMember
from ensemble_minerals.members.flat import FlatClassifier
from ensemble_minerals.members.heads.logistic import LogisticHead
from ensemble_minerals.members.heads.mlp import MLPHead
from ensemble_minerals.members.hierarchical import HierarchicalClassifier
from ensemble_minerals.members.one_vs_rest import OneVsRestClassifier
from ensemble_minerals.members.rows import RowData

CLASSES = np.array(["bornite", "malachite", "pyrite"])
TREE = {"metallic": ["bornite", "pyrite"]}


class Failing(FlatClassifier):
    """Always fails."""

    def decompose(self, y, names, Z, groups):
        raise ValueError("no convergence")


def specimens(n=90, seed=0):
    rng = np.random.default_rng(seed)
    y = np.repeat([0, 1, 2], [n // 2, n // 3, n - n // 2 - n // 3])
    centers = np.random.default_rng(9).normal(size=(3, 12))
    X = (centers[y] + rng.normal(size=(n, 12))).astype(np.float32)
    order = rng.permutation(n)
    X, y = X[order], y[order]
    blocks = {"color": X[:, :4] * 50 + 9, "lite0": X[:, 4:]}
    return blocks, y.astype(np.intp), np.arange(n) // 2, (np.arange(n) // 2) % 3


MEMBERS = [
    FeatureMember("tree", ("lite0",), HierarchicalClassifier(TREE, sampler=OverSampler("smote"))),
    FeatureMember("flat", ("color",), FlatClassifier()),
    FeatureMember("auto", ("lite0", "color"), HierarchicalClassifier("auto")),
    FeatureMember("mlp", ("lite0",), OneVsRestClassifier(head=MLPHead(hidden=(4,), max_epochs=2))),
    FeatureMember("against", ("color",), OneVsRestClassifier(sampler=OverSampler("random"))),
]


def run(members=MEMBERS, *, folds=None, n_jobs=1, on_step=None, cache_dir=None, **settings):
    blocks, y, groups, own = specimens()
    inputs = FoldInputs(y, groups, own if folds is None else folds, CLASSES)
    how = runtime(on_step, n_jobs=n_jobs, cache_dir=cache_dir)
    return cross_fit(members, RowData(blocks), inputs, how, **settings)


@pytest.fixture(scope="module")
def whole():
    return run()


@pytest.fixture
def tasks(monkeypatch):
    """(members, fold) of every task that was run."""
    seen = []

    def spy(members, matrices, inputs, fold, **shared):
        seen.append((tuple(member.name for member in members), fold))
        return start_together(members, matrices, inputs, fold, **shared)

    monkeypatch.setattr(module, "start_together", spy)
    return seen


def test_every_row_is_predicted_once_by_a_model_of_the_other_folds(whole):
    blocks, y, groups, folds = specimens()
    assert whole.out_of_fold.members == ("tree", "flat", "auto", "mlp", "against")
    assert whole.out_of_fold.classes == tuple(CLASSES)
    for number, member in enumerate(MEMBERS):
        assert [fit.fold for fit in whole.fitted[member.name]] == [0, 1, 2]
        assert whole.out_of_fold.missing(member.name).size == 0
        if len(member.features) > 1:
            continue  # a strategy alone knows one matrix, in which extractors do not count alike
        X = blocks[member.features[0]]
        for fold in range(3):
            rest = folds != fold
            alone = clone(member.strategy).fit(X[rest], CLASSES[y[rest]], groups=groups[rest])
            np.testing.assert_allclose(
                whole.out_of_fold.member_proba[number, ~rest], alone.predict_proba(X[~rest]), atol=1e-9
            )


def test_answers_do_not_depend_on_the_number_of_jobs(whole):
    together = run(n_jobs=3)
    np.testing.assert_array_equal(together.out_of_fold.member_proba, whole.out_of_fold.member_proba)
    assert together.notes == whole.notes
    assert list(together.fitted) == list(whole.fitted)
    new = RowData(specimens(seed=3)[0])
    for mine, other in zip(together.fitted["flat"], whole.fitted["flat"], strict=True):
        np.testing.assert_array_equal(mine.fitted.log_proba(new), other.fitted.log_proba(new))


def test_progress_counts_members_times_folds():
    seen = []
    run(on_step=lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, 15)
    assert seen[-1] == (15, 15)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_notes_are_told_once_a_member():
    sampler = OverSampler("smote", k_neighbors=12)
    member = FeatureMember("ovr", ("color",), OneVsRestClassifier(sampler=sampler))
    result = run([member])
    assert result.notes
    assert len(set(result.notes)) == len(result.notes)
    assert all(name == "ovr" and "random oversampling used" in note for name, note in result.notes)
    assert result.seconds["ovr"] > 0


def test_fold_numbers_may_be_any():
    result = run(MEMBERS[1:2], folds=np.array([7, 2, 40])[specimens()[3]])
    np.testing.assert_array_equal(result.out_of_fold.member_proba, run(MEMBERS[1:2]).out_of_fold.member_proba)
    assert [fit.fold for fit in result.fitted["flat"]] == [2, 7, 40]


def test_a_failing_member_stops_the_fit():
    with pytest.raises(
        FitError, match=r"'broken' failed in fold 0: ValueError: no convergence(.|\n)*--allow"
    ):
        run([*MEMBERS[:2], FeatureMember("broken", ("lite0",), Failing())])


def test_a_failing_member_is_listed_and_left_out_where_that_is_allowed(whole):
    members = [MEMBERS[0], FeatureMember("broken", ("lite0",), Failing()), *MEMBERS[1:]]
    result = run(members, allow_failures=True)
    assert [(failure.member, failure.fold) for failure in result.failures] == [
        ("broken", f) for f in range(3)
    ]
    assert result.failures[0].reason == "ValueError: no convergence"
    assert result.out_of_fold.members == whole.out_of_fold.members
    np.testing.assert_array_equal(result.out_of_fold.member_proba, whole.out_of_fold.member_proba)


def test_a_member_that_fails_in_one_fold_is_left_out_of_all():
    blocks, _, _, folds = specimens()

    class Sometimes(FlatClassifier):
        def start_fit(self, rows, *known):
            if abs(rows.space.mean_[0] - blocks["color"][folds != 1, 0].mean()) < 1e-3:
                raise ValueError("bad luck")
            return super().start_fit(rows, *known)

    result = run([MEMBERS[1], FeatureMember("moody", ("color",), Sometimes())], allow_failures=True)
    assert [(failure.member, failure.fold) for failure in result.failures] == [("moody", 1)]
    assert result.out_of_fold.members == ("flat",)
    assert set(result.fitted) == {"flat"}


def test_nothing_is_left_when_all_fail():
    with pytest.raises(FitError, match="every member failed; the first: 'broken'"):
        run([FeatureMember("broken", ("lite0",), Failing())], allow_failures=True)


def test_a_defect_is_no_failure_of_the_member():
    class Defective(FlatClassifier):
        def decompose(self, y, names, Z, groups):
            raise AttributeError("a bug")

    with pytest.raises(AttributeError, match="a bug"):
        run([FeatureMember("defective", ("lite0",), Defective())], allow_failures=True)


def test_a_fold_that_holds_all_rows_of_a_class():
    with pytest.raises(FitError, match="'flat' failed in fold 4: no training row of class pyrite"):
        run(MEMBERS[1:2], folds=np.array([5, 6, 4])[specimens()[1]])


def test_members_need_names_of_their_own():
    with pytest.raises(ValueError, match="two members are named 'flat'"):
        run([MEMBERS[1], MEMBERS[1]])


def test_an_interrupted_fit_runs_only_what_is_missing(tmp_path, tasks, whole):
    first = run(checkpoint=tmp_path)
    assert len(tasks) == 9  # three sets of features in three folds
    assert len(list(tmp_path.iterdir())) == 15
    np.testing.assert_array_equal(first.out_of_fold.member_proba, whole.out_of_fold.member_proba)

    for name in ("tree.1", "mlp.1", "flat.0", "against.0"):
        (tmp_path / f"{name}.safetensors").unlink()
    (tmp_path / "flat.0.part").write_bytes(b"written when the power went")
    tasks.clear()
    progress = []
    resumed = run(checkpoint=tmp_path, on_step=lambda done, total: progress.append(done))
    assert sorted(tasks) == [(("flat", "against"), 0), (("tree", "mlp"), 1)]
    assert progress[0] == 11

    tasks.clear()
    again = run(checkpoint=tmp_path)
    assert tasks == []
    new = RowData(specimens(seed=3)[0])
    for other in (resumed, again):
        np.testing.assert_array_equal(other.out_of_fold.member_proba, whole.out_of_fold.member_proba)
        assert other.notes == whole.notes
        for member in MEMBERS:
            for mine, fresh in zip(other.fitted[member.name], whole.fitted[member.name], strict=True):
                np.testing.assert_array_equal(mine.fitted.log_proba(new), fresh.fitted.log_proba(new))


QUICK = [member for member in MEMBERS if member.name != "mlp"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """The cache after a fit."""
    folder = tmp_path_factory.mktemp("cache")
    run(QUICK, cache_dir=folder)
    return folder


def test_a_fit_of_the_same_rows_finds_members_in_the_cache(cache, tasks):
    first = run(QUICK)
    assert len(tasks) == 9
    tasks.clear()
    again = run([replace(QUICK[0], name="renamed"), *QUICK[1:]], cache_dir=cache)
    assert tasks == []
    np.testing.assert_array_equal(again.out_of_fold.member_proba, first.out_of_fold.member_proba)
    assert again.notes == [("renamed" if name == "tree" else name, note) for name, note in first.notes]


def test_trouble_with_the_cache_is_said_once_and_costs_time_only(tmp_path, tasks, caplog):
    (tmp_path / "members").write_text("somebody else's")
    run(QUICK[1:2], cache_dir=tmp_path)
    run(QUICK[1:2], cache_dir=tmp_path)
    assert len(tasks) == 6
    assert [record.getMessage().startswith(str(tmp_path / "members")) for record in caplog.records] == [
        True
    ] * 2


def changed_seed(blocks, inputs, members):
    members[1] = replace(members[1], strategy=FlatClassifier(random_state=1))


def changed_head(blocks, inputs, members):
    members[1] = replace(members[1], strategy=FlatClassifier(head=LogisticHead(C=2.0)))


def changed_feature(blocks, inputs, members):
    blocks["color"][5, 2] += 1e-3


def changed_label(blocks, inputs, members):
    inputs.y[np.flatnonzero(inputs.y == 0)[0]] = 1


def changed_group(blocks, inputs, members):
    inputs.groups[inputs.groups == 7] = 1000


def changed_fold(blocks, inputs, members):
    inputs.folds[inputs.groups == 7] = (inputs.folds[inputs.groups == 7] + 1) % 3


@pytest.mark.parametrize(
    ("change", "anew"),
    [
        (changed_seed, {("flat", "against")}),
        (changed_head, {("flat", "against")}),  # what is solved together is kept together
        (changed_feature, {("flat", "against"), ("auto",)}),
        (changed_label, {("tree",), ("flat", "against"), ("auto",)}),
        (changed_group, {("tree",), ("flat", "against"), ("auto",)}),
        (changed_fold, {("tree",), ("flat", "against"), ("auto",)}),
    ],
)
def test_whatever_decides_a_member_is_part_of_what_it_is_found_by(cache, tasks, change, anew):
    blocks, y, groups, folds = specimens()
    inputs, members = FoldInputs(y, groups, folds, CLASSES), list(QUICK)
    change(blocks, inputs, members)
    cross_fit(members, RowData(blocks), inputs, runtime(cache_dir=cache))
    assert sorted(tasks) == sorted((names, fold) for names in anew for fold in range(3))


def test_members_of_other_code_are_not_found(cache, tasks, monkeypatch):
    monkeypatch.setattr(cached_rows, "code_digest", lambda: "before")
    run(QUICK[1:2], cache_dir=cache)
    assert len(tasks) == 3
    theirs = [FeatureMember("bayes", ("color",), FlatClassifier(head=GaussianNB()))]
    for _ in range(2):  # the head may change behind our back
        run(theirs, cache_dir=cache)
    assert len(tasks) == 9


def test_finished_tasks_outlive_a_failure(tmp_path, tasks):
    with pytest.raises(FitError):
        run(
            [MEMBERS[0], MEMBERS[1], FeatureMember("broken", ("lite0", "color"), Failing())],
            checkpoint=tmp_path,
        )
    finished = {(names[0], fold) for names, fold in tasks if names != ("broken",)}
    assert finished
    tasks.clear()
    run(MEMBERS[:2], checkpoint=tmp_path)
    assert finished.isdisjoint((name, fold) for names, fold in tasks for name in names)


@pytest.mark.parametrize("how", DAMAGES, ids=lambda how: how.__name__)
def test_a_damaged_file_is_made_again_and_it_is_said(tmp_path, tasks, whole, caplog, how):
    run(MEMBERS[1:2], checkpoint=tmp_path)
    file = tmp_path / "flat.2.safetensors"
    kept = file.read_bytes()
    for seed in range(3):
        file.write_bytes(how(kept, np.random.default_rng(seed)))
        tasks.clear()
        caplog.clear()
        result = run(MEMBERS[1:2], checkpoint=tmp_path)
        assert tasks == [(("flat",), 2)]
        assert "flat.2.safetensors is damaged" in caplog.text
        expected = whole.out_of_fold.member_proba[1]
        np.testing.assert_array_equal(result.out_of_fold.member_proba[0], expected)


def test_a_foreign_head_cannot_be_kept_for_later(tmp_path):
    members = [FeatureMember("bayes", ("color",), FlatClassifier(head=GaussianNB()))]
    assert run(members).out_of_fold.member_proba.shape == (1, 90, 3)
    with pytest.raises(Exception, match="foreign classifier"):
        run(members, checkpoint=tmp_path)
