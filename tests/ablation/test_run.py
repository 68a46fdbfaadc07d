"""The runner of an ablation: every choice is made inside, and it can be resumed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from drawn.runtimes import runtime
from sklearn.base import clone

from ensemble_minerals.ablation.arms import (
    BUDGET,
    COMBINATIONS,
    FULL,
    HINDSIGHT,
    LEAKY,
    ONE_MODEL,
    AblationPlan,
    list_arms,
    one_models,
)
from ensemble_minerals.ablation.comparison import compare_arms
from ensemble_minerals.ablation.outer_fold import OuterFold, count_fits
from ensemble_minerals.ablation.run import Ablation
from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.data.folds import NO_FOLD
from ensemble_minerals.data.oversampling import OverSampler
from ensemble_minerals.ensemble.calibration import TemperatureScaling
from ensemble_minerals.ensemble.meta_learner import MetaLearner
from ensemble_minerals.ensemble.stacked import StackedEnsemble
from ensemble_minerals.errors import DataError, FitError
from ensemble_minerals.evaluation.intervals import Interval
from ensemble_minerals.log_space import log_normalize
from ensemble_minerals.members.feature_member import FeatureMember
from ensemble_minerals.members.flat import FlatClassifier
from ensemble_minerals.members.heads.logistic import LogisticHead
from ensemble_minerals.members.hierarchical import HierarchicalClassifier
from ensemble_minerals.members.one_vs_rest import OneVsRestClassifier
from ensemble_minerals.members.rows import RowData

HEAD = LogisticHead(C=3.0)
MEMBERS = (
    FeatureMember("a-flat", ("a",), FlatClassifier(HEAD)),
    FeatureMember("b-ovr", ("b",), OneVsRestClassifier(HEAD, OverSampler("random"))),
    FeatureMember(
        "ab-tree", ("a", "b"), HierarchicalClassifier("auto", head=HEAD, sampler=OverSampler("smote", 3))
    ),
)
CLASSES = np.array(["mica", "pyrite", "quartz"])


def draw(counts=(36, 30, 24), seed=0, signal=1.0, alike=2):
    """Two feature matrices, labels, and row groups of `alike` rows that are nearly the same photo."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(counts)), counts)
    groups = np.arange(len(y)) // alike
    blocks = {}
    for name, width in (("a", 6), ("b", 4)):
        centers = rng.normal(size=(len(counts), width))
        own = rng.normal(size=(groups.max() + 1, width))[groups] + 0.1 * rng.normal(size=(len(y), width))
        blocks[name] = signal * centers[y] + own
    return RowData(blocks), known(y, groups)


def known(y, groups):
    return FoldInputs(y, groups, np.full(len(y), NO_FOLD), CLASSES)


def plan(members=MEMBERS, wanted=None, **changes):
    return AblationPlan(members, list_arms(members, wanted), **{"n_splits": 3, "n_inner": 2, **changes})


@pytest.fixture(scope="module")
def problem():
    return draw()


@pytest.fixture(scope="module")
def run(problem):
    return Ablation(plan(repeats=2), *problem).run()


def outer(problem, wanted=None, y=None, **changes):
    data, own = problem
    rows = FoldInputs(own.y if y is None else y, own.groups, own.groups % 3, CLASSES)
    return OuterFold(plan(wanted=wanted, **changes), data, rows, 0, seed=(7,))


def fitted_inside(fold, number=0, members=MEMBERS, **settings):
    """What `fit` makes of the training rows of an outer fold."""
    inner = fold.inner(number)
    training = fold.data.take(fold.known.training(fold.fold))
    return StackedEnsemble(members, **settings).fit(training, CLASSES[inner.y], inner.groups, inner.folds)


def held_out(fold):
    return fold.data.take(fold.known.held_out(fold.fold))


# -- answers ----------------------------------------------------------------------------------------------


def test_every_row_is_answered_by_every_arm(run, problem):
    n = len(problem[1])
    assert list(run.proba) == [arm.name for arm in list_arms(MEMBERS)]
    for proba in run.proba.values():
        assert proba.shape == (2, n, 3)
        np.testing.assert_allclose(proba.sum(axis=2), 1.0, atol=1e-9)


def test_each_outer_fold_answers_its_own_rows_only(problem, monkeypatch):
    seen = []
    answer = OuterFold.answer

    def spy(self):
        seen.append((self.leaky, self.known.folds == self.fold))
        return answer(self)

    monkeypatch.setattr(OuterFold, "answer", spy)
    Ablation(plan(wanted=["uniform", LEAKY]), *problem).run()
    for leaky in (False, True):
        tests = np.array([test for own, test in seen if own == leaky])
        assert (tests.sum(axis=0) == 1).all()
    groups = problem[1].groups
    straddling = [bool(set(groups[test]) & set(groups[~test])) for own, test in seen if not own]
    assert straddling == [False] * 3
    assert any(set(groups[test]) & set(groups[~test]) for own, test in seen if own)


def test_repeats_have_folds_of_their_own(run):
    assert not np.array_equal(run.folds[0], run.folds[1])
    assert not np.allclose(run.proba[FULL][0], run.proba[FULL][1])


@pytest.mark.parametrize("refit", [False, True])
def test_the_full_arm_is_what_fit_makes(problem, refit):
    fold = outer(problem, wanted=["uniform"], refit=refit)
    ensemble = fitted_inside(fold, refit=refit)
    expected = ensemble.predict_proba(held_out(fold))
    found = fold.answer()
    np.testing.assert_allclose(found.proba[FULL], expected, atol=1e-12)
    assert found.combination == ensemble.meta_.chosen_


def test_an_arm_of_one_combination_always_uses_it(problem):
    fold = outer(problem, wanted=["combination"])
    found = fold.answer()
    for name in ("uniform", "greedy", "log_pool", "stacked"):
        ensemble = fitted_inside(fold, meta=MetaLearner([COMBINATIONS[name]]))
        expected = ensemble.predict_proba(held_out(fold))
        np.testing.assert_allclose(found.proba[name], expected, atol=1e-12, err_msg=name)


def test_labels_of_the_test_rows_influence_nothing(problem):
    wanted = [arm.name for arm in list_arms(MEMBERS) if arm.name != LEAKY]
    fold = outer(problem, wanted)
    shuffled, test = problem[1].y.copy(), fold.known.held_out(0)
    shuffled[test] = np.random.default_rng(5).permutation(shuffled[test])
    assert (shuffled != problem[1].y).any()
    found, again = fold.answer(), outer(problem, wanted, shuffled).answer()
    assert set(found.proba) == set(wanted) - {HINDSIGHT}
    for name, proba in found.proba.items():
        np.testing.assert_array_equal(proba, again.proba[name], err_msg=name)
    assert (found.best_single, found.combination) == (again.best_single, again.combination)


def test_labels_of_the_training_rows_do_influence_every_arm(problem):
    fold = outer(problem)
    shuffled, training = problem[1].y.copy(), fold.known.training(0)
    shuffled[training] = np.random.default_rng(5).permutation(shuffled[training])
    found, again = fold.answer(), outer(problem, None, shuffled).answer()
    assert not any(np.array_equal(proba, again.proba[name]) for name, proba in found.proba.items())


def test_the_best_single_is_the_one_with_the_lowest_loss_inside(problem):
    found = outer(problem).answer()
    np.testing.assert_allclose(found.proba["best_single"], found.proba[f"single:{found.best_single}"])
    assert found.used["best_single"] == (found.best_single,) == found.used[BUDGET]
    assert found.used["uniform"] == ("a-flat", "b-ovr", "ab-tree")


def test_the_budget_matched_control_is_the_mean_over_partitions(problem):
    fold = outer(problem, wanted=[BUDGET])
    found = fold.answer()
    best = next(member for member in MEMBERS if member.name == found.best_single)
    fits = []
    for number in range(len(MEMBERS)):
        ensemble = fitted_inside(fold, number, [replace(best, strategy=clone(best.strategy))])
        test = ensemble.fitted_ensemble_.member_log_proba(held_out(fold))
        fits.append((ensemble.out_of_fold_.log_proba()[:, 0], test[:, 0]))
    out_of_fold, test = (np.mean(values, axis=0) for values in zip(*fits, strict=True))
    temperature = TemperatureScaling().fit(log_normalize(out_of_fold), fold.inner(0).y).temperature_
    np.testing.assert_allclose(found.proba[BUDGET], np.exp(log_normalize(test / temperature)), atol=1e-6)


def test_one_model_is_the_regression_on_everything_whose_penalty_is_best_inside(problem):
    fold = outer(problem, wanted=[ONE_MODEL])
    found = fold.answer()
    models = one_models(MEMBERS)
    ensemble = fitted_inside(fold, 0, list(models))
    inside = ensemble.out_of_fold_.log_proba()
    y = fold.inner(0).y
    best = int(inside[np.arange(len(y)), :, y].mean(axis=0).argmax())
    assert found.used[ONE_MODEL] == (models[best].name,)
    temperature = TemperatureScaling().fit(inside[:, best], y).temperature_
    test = ensemble.fitted_ensemble_.member_log_proba(held_out(fold))[:, best]
    np.testing.assert_allclose(found.proba[ONE_MODEL], np.exp(log_normalize(test / temperature)), atol=1e-4)


def test_an_ingredient_is_left_out_and_nothing_else(problem):
    found = outer(problem, meta=MetaLearner(("log_pool",))).answer()
    only = outer(problem, wanted=["single"]).answer()
    uniform = outer(problem, wanted=["source"], meta=MetaLearner(("uniform",))).answer()
    np.testing.assert_allclose(uniform.proba["without:a"], only.proba["single:b-ovr"])
    np.testing.assert_allclose(uniform.proba["without:b"], only.proba["single:a-flat"])
    np.testing.assert_allclose(found.proba["log_pool"], found.proba[FULL])
    for name in ("without_oversampling", "without_prior_correction", "without_calibration", "without_flat"):
        assert not np.allclose(found.proba[name], found.proba[FULL]), name
    answers = found.proba["without_calibration"].argmax(axis=1), found.proba[FULL].argmax(axis=1)
    np.testing.assert_array_equal(*answers)


def test_hindsight_takes_the_winner_on_the_test_rows(run, problem):
    y = problem[1].y
    for repeat in range(2):
        losses = {
            name: -np.log(proba[repeat][np.arange(len(y)), y]).mean()
            for name, proba in run.proba.items()
            if name.startswith("single:")
        }
        winner = min(losses, key=losses.get)
        np.testing.assert_array_equal(run.proba[HINDSIGHT][repeat], run.proba[winner][repeat])


def test_every_arm_knows_its_cost(run):
    assert set(run.costs) == set(run.proba)
    for cost in run.costs.values():
        assert all(cost[kind] > 0 for kind in ("fit_seconds", "predict_ms", "megabytes"))
    assert run.costs[FULL]["megabytes"] > run.costs["single:a-flat"]["megabytes"]
    assert len(run.choices) == 6
    assert {choice["repeat"] for choice in run.choices} == {0, 1}


def test_answers_do_not_depend_on_the_number_of_jobs(problem):
    chosen = plan(wanted=["stacked", "without_oversampling"])
    one, two = (Ablation(chosen, *problem, runtime(n_jobs=n_jobs)).run() for n_jobs in (1, 2))
    for name, proba in one.proba.items():
        np.testing.assert_array_equal(proba, two.proba[name])


def test_progress_counts_every_fit_and_ends_once(problem):
    steps = []
    told = runtime(lambda done, total: steps.append((done, total)))
    ablation = Ablation(plan(wanted=[BUDGET, "without_oversampling", LEAKY]), *problem, told)
    ablation.run()
    # three members, two of them once more without oversampling, one twice more; then the leaky protocol
    per_fold = (3 + 2 + 2) * 2, 3 * 2
    assert (count_fits(ablation.plan, leaky=False), count_fits(ablation.plan, leaky=True)) == per_fold
    total = 3 * sum(per_fold)
    assert {whole for _, whole in steps} == {total} == {ablation.count_fits()}
    done = [one for one, _ in steps]
    assert done == sorted(done)
    assert done.count(total) == 1


# -- resuming ---------------------------------------------------------------------------------------------


def test_a_resumed_run_does_only_what_is_missing(problem, tmp_path, monkeypatch):
    chosen = plan(wanted=["best_single", "uniform", LEAKY])
    first = Ablation(chosen, *problem, checkpoint=tmp_path)
    assert first.count_fits(left=True) == first.count_fits() > 0
    run = first.run()
    kept = sorted(file.name for file in tmp_path.iterdir())
    assert len(kept) == 6
    (tmp_path / "0.grouped.1.safetensors").unlink()
    (tmp_path / "0.leaky.2.safetensors").write_bytes(b"cut off")
    answered = []
    answer = OuterFold.answer
    monkeypatch.setattr(OuterFold, "answer", lambda self: answered.append(self.seed[1:]) or answer(self))
    again = Ablation(chosen, *problem, checkpoint=tmp_path).run()
    assert answered == [(0, 0, 1), (0, 1, 2)]
    assert sorted(file.name for file in tmp_path.iterdir()) == kept
    for name, proba in run.proba.items():
        np.testing.assert_array_equal(proba, again.proba[name])
    assert (run.choices, run.used) == (again.choices, again.used)
    assert run.costs["uniform"].keys() == again.costs["uniform"].keys()


def test_a_killed_run_leaves_whole_folds_only(problem, tmp_path, monkeypatch):
    answer, count = OuterFold.answer, iter(range(9))

    def killed(self):
        if next(count) == 2:
            raise KeyboardInterrupt
        return answer(self)

    monkeypatch.setattr(OuterFold, "answer", killed)
    ablation = Ablation(plan(wanted=["uniform"]), *problem, checkpoint=tmp_path / "deep")
    with pytest.raises(KeyboardInterrupt):
        ablation.run()
    assert sorted(file.name for file in (tmp_path / "deep").iterdir()) == [
        "0.grouped.0.safetensors",
        "0.grouped.1.safetensors",
    ]
    assert ablation.count_fits(left=True) == ablation.count_fits() // 3


# -- what cannot be done ----------------------------------------------------------------------------------


def test_too_few_row_groups_are_found_before_anything_is_fitted():
    problem = draw(counts=(30, 30, 6))
    with pytest.raises(DataError, match=r"3 outer folds 'quartz' has 2 row groups left.*3 inner folds"):
        Ablation(plan(n_inner=3), *problem)


class Broken(FlatClassifier):
    def decompose(self, y, names, Z, groups):
        raise ValueError("no")


def test_a_member_that_fails_stops_the_ablation_and_is_named(problem):
    members = (MEMBERS[0], FeatureMember("broken", ("b",), Broken(HEAD)))
    with pytest.raises(FitError, match=r"'broken' failed in fold 0(?s:.)*mend or remove") as caught:
        Ablation(plan(members, ["uniform"]), *problem).run()
    assert "allow-failures" not in str(caught.value)


def test_the_estimate_is_for_what_is_left(problem, tmp_path):
    ablation = Ablation(plan(wanted=["uniform"]), *problem, checkpoint=tmp_path)
    assert ablation.estimate_seconds() > 0
    ablation.run()
    assert ablation.estimate_seconds() == 0


# -- honest statistics, from end to end -------------------------------------------------------------------


def test_identical_arms_are_never_significant(problem):
    chosen = plan(wanted=["uniform"], meta=MetaLearner(("uniform",)))
    run = Ablation(chosen, *problem).run()
    compared = compare_arms(run, {}, n_replicates=50)
    paired = compared.by_name()["uniform"].against
    assert paired.identical
    assert paired.p == paired.p_holm == {"accuracy": 1.0, "log_loss": 1.0}
    assert paired.difference["accuracy"] == Interval(0.0, 0.0, 0.0)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_permuted_labels_give_no_arm_a_significant_gain(seed):
    data, drawn = draw(counts=(30, 30, 30), alike=1)
    y, groups = np.random.default_rng(seed).permutation(drawn.y), drawn.groups
    wanted = ["single", "choice", "combination", "ingredient", "source"]
    run = Ablation(plan(wanted=wanted), data, known(y, groups)).run()
    compared = compare_arms(run, {}, n_replicates=50)
    for result in compared.arms[1:]:
        assert result.against.outcome("accuracy") in ("same", "not significant"), result.arm.name
        assert result.against.outcome("log_loss") != "worse", result.arm.name
    assert abs(compared.arms[0].scores["accuracy"] - 1 / 3) < 0.17


# -- additions ----------------------------------------------------------------------------------------------


def in_views(matrix, seed=1):
    """Two views of each row, whose mean it is."""
    shift = np.random.default_rng(seed).normal(size=matrix.shape)
    return np.stack([matrix - shift, matrix + shift], axis=1)


def test_views_as_rows_change_members_on_these_views_alone(problem):
    data, _ = problem
    views = {"a": in_views(data.matrices["a"])}
    arms = list_arms(MEMBERS, ["views_as_rows"], viewed=views)
    assert [arm.name for arm in arms] == [FULL, "views_as_rows"]
    fold = outer(problem)
    fold.plan, fold.views = replace(fold.plan, arms=arms), views
    answers = fold.answer()
    inner = fold.inner(0)
    training = replace(data, views=views).take(fold.known.training(fold.fold))
    expected = StackedEnsemble(MEMBERS).fit(training, CLASSES[inner.y], inner.groups, inner.folds)
    np.testing.assert_allclose(
        answers.proba["views_as_rows"], expected.predict_proba(held_out(fold)), atol=1e-4
    )
    assert np.abs(answers.proba["views_as_rows"] - answers.proba[FULL]).max() > 0.01
    assert count_fits(fold.plan, leaky=False, viewed=views) == (3 + 1) * 2


def test_rejection_answers_the_same_and_its_cost_is_counted(problem):
    run = Ablation(plan(wanted=["rejection"]), *problem).run()
    np.testing.assert_array_equal(run.proba["rejection"], run.proba[FULL])
    for kind in ("fit_seconds", "megabytes"):
        assert run.costs["rejection"][kind] > run.costs[FULL][kind]
    assert ((run.typicality > 0) & (run.typicality <= 1)).all()
    refused = compare_arms(run, {}, refuse=0.2).refused
    assert refused.share.estimate == pytest.approx(np.mean(run.typicality <= 0.2))
    assert 0.05 < refused.share.estimate < 0.45
    assert refused.share.low < refused.share.estimate < refused.share.high
    right = run.proba[FULL][0].argmax(axis=1) == problem[1].y
    assert refused.right_of_answered == pytest.approx(right[run.typicality[0] > 0.2].mean())
    assert compare_arms(Ablation(plan(wanted=["uniform"]), *problem).run(), {}).refused is None


def test_typicality_is_kept_with_an_outer_fold(problem, tmp_path):
    first = Ablation(plan(wanted=["rejection"]), *problem, checkpoint=tmp_path).run()
    again = Ablation(plan(wanted=["rejection"]), *problem, checkpoint=tmp_path)
    assert again.count_fits(left=True) == 0
    np.testing.assert_array_equal(again.run().typicality, first.typicality)
