from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.naive_bayes import GaussianNB

from ensemble_minerals.data.oversampling import OverSampler
from ensemble_minerals.ensemble import cross_fit as module
from ensemble_minerals.ensemble.cross_fit import cross_fit
from ensemble_minerals.ensemble.fold import fit_fold
from ensemble_minerals.ensemble.tasks import Member
from ensemble_minerals.errors import FitError
from ensemble_minerals.members.flat import FlatClassifier
from ensemble_minerals.members.heads.mlp import MLPHead
from ensemble_minerals.members.hierarchical import HierarchicalClassifier
from ensemble_minerals.members.one_vs_rest import OneVsRestClassifier

CLASSES = np.array(["bornite", "malachite", "pyrite"])
TREE = {"metallic": ["bornite", "pyrite"]}


class Failing(FlatClassifier):
    """Always fails."""

    def plan(self, y, names, Z, groups):
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
    Member("tree", ("lite0",), HierarchicalClassifier(TREE, sampler=OverSampler("smote"))),
    Member("flat", ("color",), FlatClassifier()),
    Member("auto", ("lite0", "color"), HierarchicalClassifier("auto")),
    Member("mlp", ("lite0",), OneVsRestClassifier(head=MLPHead(hidden=(4,), max_epochs=2))),
    Member("against", ("color",), OneVsRestClassifier(sampler=OverSampler("random"))),
]


def run(members=MEMBERS, **settings):
    blocks, y, groups, folds = specimens()
    return cross_fit(members, blocks, y, groups, folds, CLASSES, **settings)


@pytest.fixture(scope="module")
def whole():
    return run()


@pytest.fixture
def tasks(monkeypatch):
    """(members, fold) of every task that was run."""
    seen = []

    def spy(members, matrices, y, groups, folds, fold, classes):
        seen.append((tuple(member.name for member in members), fold))
        return fit_fold(members, matrices, y, groups, folds, fold, classes)

    monkeypatch.setattr(module, "fit_fold", spy)
    return seen


def test_every_row_is_predicted_once_by_a_model_of_the_other_folds(whole):
    blocks, y, groups, folds = specimens()
    assert whole.out_of_fold.members == ("tree", "flat", "auto", "mlp", "against")
    assert whole.out_of_fold.classes == tuple(CLASSES)
    for number, member in enumerate(MEMBERS):
        X = np.concatenate([blocks[name] for name in member.features], axis=1)
        for fold in range(3):
            rest = folds != fold
            alone = clone(member.strategy).fit(X[rest], CLASSES[y[rest]], groups=groups[rest])
            np.testing.assert_allclose(
                whole.out_of_fold.member_proba[number, ~rest], alone.predict_proba(X[~rest]), atol=1e-9
            )
        assert [fit.fold for fit in whole.fitted[member.name]] == [0, 1, 2]
        assert whole.out_of_fold.missing(member.name).size == 0


def test_answers_do_not_depend_on_the_number_of_jobs(whole):
    together = run(n_jobs=3)
    np.testing.assert_array_equal(together.out_of_fold.member_proba, whole.out_of_fold.member_proba)
    assert together.notes == whole.notes
    assert list(together.fitted) == list(whole.fitted)
    X = specimens(seed=3)[0]["color"]
    for mine, other in zip(together.fitted["flat"], whole.fitted["flat"], strict=True):
        np.testing.assert_array_equal(mine.predictor.log_proba(X), other.predictor.log_proba(X))


def test_progress_counts_members_times_folds():
    seen = []
    run(progress=lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, 15)
    assert seen[-1] == (15, 15)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_notes_are_told_once_a_member():
    blocks, y, groups, folds = specimens()
    sampler = OverSampler("smote", k_neighbors=12)
    member = Member("ovr", ("color",), OneVsRestClassifier(sampler=sampler))
    result = cross_fit([member], blocks, y, groups, folds, CLASSES)
    assert result.notes
    assert len(set(result.notes)) == len(result.notes)
    assert all(name == "ovr" and "random oversampling used" in note for name, note in result.notes)
    assert result.seconds["ovr"] > 0


def test_fold_numbers_may_be_any():
    blocks, y, groups, folds = specimens()
    result = cross_fit(MEMBERS[1:2], blocks, y, groups, np.array([7, 2, 40])[folds], CLASSES)
    np.testing.assert_array_equal(result.out_of_fold.member_proba, run(MEMBERS[1:2]).out_of_fold.member_proba)
    assert [fit.fold for fit in result.fitted["flat"]] == [2, 7, 40]


def test_a_failing_member_stops_the_fit():
    with pytest.raises(
        FitError, match=r"'broken' failed in fold 0: ValueError: no convergence(.|\n)*--allow"
    ):
        run([*MEMBERS[:2], Member("broken", ("lite0",), Failing())])


def test_a_failing_member_is_listed_and_left_out_where_that_is_allowed(whole):
    members = [MEMBERS[0], Member("broken", ("lite0",), Failing()), *MEMBERS[1:]]
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
        def begin_reduced(self, space, *rows):
            if abs(space.mean_[0] - blocks["color"][folds != 1, 0].mean()) < 1e-3:
                raise ValueError("bad luck")
            return super().begin_reduced(space, *rows)

    result = run([MEMBERS[1], Member("moody", ("color",), Sometimes())], allow_failures=True)
    assert [(failure.member, failure.fold) for failure in result.failures] == [("moody", 1)]
    assert result.out_of_fold.members == ("flat",)
    assert set(result.fitted) == {"flat"}


def test_nothing_is_left_when_all_fail():
    with pytest.raises(FitError, match="every member failed; the first: 'broken'"):
        run([Member("broken", ("lite0",), Failing())], allow_failures=True)


def test_a_defect_is_no_failure_of_the_member():
    class Defective(FlatClassifier):
        def plan(self, y, names, Z, groups):
            raise AttributeError("a bug")

    with pytest.raises(AttributeError, match="a bug"):
        run([Member("defective", ("lite0",), Defective())], allow_failures=True)


def test_a_fold_that_holds_all_rows_of_a_class():
    blocks, y, groups, _ = specimens()
    with pytest.raises(FitError, match="'flat' failed in fold 4: no training row of class pyrite"):
        cross_fit(MEMBERS[1:2], blocks, y, groups, np.array([5, 6, 4])[y], CLASSES)


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
    resumed = run(checkpoint=tmp_path, progress=lambda done, total: progress.append(done))
    assert sorted(tasks) == [(("flat", "against"), 0), (("tree", "mlp"), 1)]
    assert progress[0] == 11

    tasks.clear()
    again = run(checkpoint=tmp_path)
    assert tasks == []
    X = np.hstack(list(specimens(seed=3)[0].values()))
    for other in (resumed, again):
        np.testing.assert_array_equal(other.out_of_fold.member_proba, whole.out_of_fold.member_proba)
        assert other.notes == whole.notes
        for member in MEMBERS:
            width = {"tree": 8, "flat": 4, "auto": 12, "mlp": 8, "against": 4}[member.name]
            for mine, fresh in zip(other.fitted[member.name], whole.fitted[member.name], strict=True):
                np.testing.assert_array_equal(
                    mine.predictor.log_proba(X[:, :width]), fresh.predictor.log_proba(X[:, :width])
                )


def test_finished_tasks_outlive_a_failure(tmp_path, tasks):
    with pytest.raises(FitError):
        run([MEMBERS[0], MEMBERS[1], Member("broken", ("lite0", "color"), Failing())], checkpoint=tmp_path)
    tasks.clear()
    run(MEMBERS[:2], checkpoint=tmp_path)
    assert tasks == []


def test_a_damaged_file_is_made_again(tmp_path, tasks, whole):
    run(MEMBERS[1:2], checkpoint=tmp_path)
    (tmp_path / "flat.2.safetensors").write_bytes(b"")
    tasks.clear()
    result = run(MEMBERS[1:2], checkpoint=tmp_path)
    assert tasks == [(("flat",), 2)]
    np.testing.assert_array_equal(result.out_of_fold.member_proba[0], whole.out_of_fold.member_proba[1])


def test_a_foreign_head_cannot_be_kept_for_later(tmp_path):
    members = [Member("bayes", ("color",), FlatClassifier(head=GaussianNB()))]
    assert run(members).out_of_fold.member_proba.shape == (1, 90, 3)
    with pytest.raises(Exception, match="foreign classifier"):
        run(members, checkpoint=tmp_path)
