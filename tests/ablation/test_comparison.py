"""Arms against the full ensemble: differences and tests with known answers, false findings counted, plain words."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ensemble_minerals.ablation.arms import BUDGET, FULL, LEAKY, Arm
from ensemble_minerals.ablation.comparison import compare_arms
from ensemble_minerals.ablation.run import AblationRun
from ensemble_minerals.ablation.wording import describe
from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.ensemble.oof import OutOfFold
from ensemble_minerals.evaluation.costs import Cost
from ensemble_minerals.evaluation.intervals import detectable_difference
from ensemble_minerals.evaluation.significance import corrected_resampled_t, holm
from ensemble_minerals.reports.wording import p_value

NAMES = np.array(["mica", "quartz"])


def arm(name, kind="single", subject=""):
    return Arm(name, f"The {name}", "as drawn", kind, ("m1", "m2"), subject)


def answers(y, right, sure=0.8):
    """Probabilities that give the true class `sure` where right, else one minus that."""
    true = np.where(right, sure, 1 - sure)
    proba = np.empty((len(y), 2))
    proba[np.arange(len(y)), y] = true
    proba[np.arange(len(y)), 1 - y] = 1 - true
    return proba


def made(proba, kinds=None, folds=None, **metadata):
    """How to make a run, from labels and row groups, of arms with these answers, (repeats, n, 2) each."""
    arms = tuple(
        arm(name, "full" if name == FULL else (kinds or {}).get(name, "single"), f"part {name}")
        for name in proba
    )
    repeats, n = next(iter(proba.values())).shape[:2]
    if folds is None:
        folds = np.tile(np.arange(n) % 5, (repeats, 1))

    def run(y, groups):
        answered = tuple(
            OutOfFold(FoldInputs(y, groups, fold, NAMES), list(proba), member_proba=np.array(own))
            for fold, *own in zip(folds, *proba.values(), strict=True)
        )
        return AblationRun(arms, answered, **metadata)

    return run


def compared(run, y, groups=None, costs=None, replicates=100):
    groups = np.arange(len(y)) if groups is None else groups
    return compare_arms(run(y, groups), costs or {}, n_replicates=replicates)


def by_name(comparison):
    return comparison.by_name()


# -- known answers ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ten():
    """Of 20 photos the full ensemble has 16 right, the other 10: eight alone, two the other way round."""
    y = np.arange(20) % 2
    full = np.array([True] * 16 + [False] * 4)
    other = np.array([True] * 8 + [False] * 8 + [True] * 2 + [False] * 2)
    run = made({FULL: answers(y, full)[None], "other": answers(y, other, 0.9)[None]})
    return y, compared(run, y)


def test_the_difference_is_full_minus_arm(ten):
    _, found = ten
    other = by_name(found)["other"]
    assert by_name(found)[FULL].scores["accuracy"] == pytest.approx(0.8)
    assert other.scores["accuracy"] == pytest.approx(0.5)
    assert other.against.difference["accuracy"].estimate == pytest.approx(0.3)
    loss = [-(16 * math.log(0.8) + 4 * math.log(0.2)) / 20, -(10 * math.log(0.9) + 10 * math.log(0.1)) / 20]
    assert other.against.difference["log_loss"].estimate == pytest.approx(loss[0] - loss[1])
    assert other.against.difference["accuracy"].low < 0.3 < other.against.difference["accuracy"].high
    assert by_name(found)[FULL].paired is None


def test_mcnemar_counts_rows(ten):
    (counts,) = by_name(ten[1])["other"].against.mcnemar
    assert (counts.only_first, counts.only_second, counts.n) == (8, 2, 20)
    tail = sum(math.comb(10, k) for k in range(3)) / 2**10
    assert by_name(ten[1])["other"].against.p["accuracy"] == pytest.approx(2 * tail)


def test_mcnemar_counts_row_groups(ten):
    y = ten[0]
    full = np.array([True] * 16 + [False] * 4)
    other = np.array([True] * 8 + [False] * 8 + [True] * 2 + [False] * 2)
    run = made({FULL: answers(y, full)[None], "other": answers(y, other)[None]})
    groups = np.r_[np.arange(8), [50] * 8, 60, 61, 62, 63]  # the eight wins are eight views of one specimen
    found = compared(run, y, groups)
    (counts,) = by_name(found)["other"].against.mcnemar
    assert (counts.only_first, counts.only_second, counts.n) == (1, 2, 13)
    assert found.row_groups == 13
    assert by_name(found)["other"].against.p["accuracy"] == 1.0


def test_the_t_test_is_over_folds_and_repeats():
    rng = np.random.default_rng(0)
    y, folds = rng.integers(2, size=30), np.array([np.arange(30) % 5, np.arange(30) // 6])
    proba = {name: rng.dirichlet([2, 1], size=(2, 30)) for name in (FULL, "other")}
    found = by_name(compared(made(proba, folds=folds), y))["other"].against
    gaps = np.zeros((2, 5))
    for repeat in range(2):
        for fold in range(5):
            rows = np.flatnonzero(folds[repeat] == fold)
            one, two = (-np.log(proba[name][repeat][rows, y[rows]]).mean() for name in (FULL, "other"))
            gaps[repeat, fold] = one - two
    expected = corrected_resampled_t(gaps)
    assert found.t["log_loss"].p == found.p["log_loss"] == pytest.approx(expected.p)
    assert found.t["log_loss"].t == pytest.approx(expected.t)
    assert found.t["log_loss"].degrees == 9
    assert len(found.mcnemar) == 2
    p = [test.p for test in found.mcnemar]
    assert found.p["accuracy"] == pytest.approx(min(1.0, p[0] + p[1]))  # twice the median of two


def test_holm_over_the_table_without_the_leaky_protocol():
    rng = np.random.default_rng(3)
    y = np.arange(60) % 2
    full = np.ones(60, dtype=bool)
    proba = {FULL: answers(y, full)[None]}
    for number, name in enumerate(("a", "b", "c", LEAKY)):
        right = full.copy()
        right[rng.permutation(60)[: 5 + 3 * number]] = False
        proba[name] = answers(y, right)[None]
    found = compared(made(proba, kinds={LEAKY: "protocol"}), y)
    arms = by_name(found)
    assert found.family == 3
    for score in ("accuracy", "log_loss"):
        expected = holm([arms[name].against.p[score] for name in "abc"])
        assert [arms[name].against.p_holm[score] for name in "abc"] == pytest.approx(expected)
        assert all(arms[name].against.p_holm[score] >= arms[name].against.p[score] for name in "abc")
    assert arms[LEAKY].against.p_holm == {} == arms[LEAKY].against.verdict
    assert (
        arms["c"]
        .against.verdict["accuracy"]
        .startswith("the full ensemble is better than The c by 18.3 points")
    )
    assert arms["c"].against.verdict["accuracy"].endswith(": significant.")


def test_identical_arms_are_never_significant():
    rng = np.random.default_rng(1)
    y = rng.integers(2, size=200)
    proba = answers(y, rng.random(200) < 0.9)[None]
    found = by_name(compared(made({FULL: proba, "twin": proba.copy()}), y))["twin"].against
    assert found.identical
    assert found.p_holm == {"accuracy": 1.0, "log_loss": 1.0}
    assert found.outcome("accuracy") == found.outcome("log_loss") == "same"


def test_chance_makes_few_false_findings():
    """Six arms as good as the full ensemble: one finding in twenty tables at most, but for chance."""
    rng = np.random.default_rng(11)
    tables, corrected, alone = 100, 0, 0
    y = np.arange(150) % 2
    for _ in range(tables):
        proba = {name: answers(y, rng.random(150) < 0.85)[None] for name in (FULL, *"abcdef")}
        arms = compared(made(proba), y, replicates=2).arms[1:]
        corrected += any(min(one.against.p_holm.values()) < 0.05 for one in arms)
        alone += any(min(one.against.p.values()) < 0.05 for one in arms)
    assert corrected / tables <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / tables)
    assert alone / tables > 0.11  # without the correction there would be more


def test_a_true_difference_is_found():
    rng = np.random.default_rng(12)
    y = np.arange(400) % 2
    proba = {FULL: answers(y, rng.random(400) < 0.95)[None], "worse": answers(y, rng.random(400) < 0.8)[None]}
    found = by_name(compared(made(proba), y))["worse"].against
    assert found.outcome("accuracy") == found.outcome("log_loss") == "better"


# -- what the data can resolve ----------------------------------------------------------------------------


def test_the_resolution_is_that_of_mcnemar(ten):
    rng = np.random.default_rng(2)
    y = np.arange(500) % 2
    proba = {name: answers(y, rng.random(500) < 0.9)[None] for name in (FULL, "other", "best_single")}
    found = compared(made(proba, kinds={"best_single": "choice"}), y).resolution
    differ = (proba[FULL][0].argmax(1) == y) != (proba["best_single"][0].argmax(1) == y)
    assert found.reference == "The best_single"
    assert found.discordance == pytest.approx(differ.mean())
    assert found.detectable == pytest.approx(detectable_difference(500, differ.mean()))
    assert found.detectable_in_table == pytest.approx(detectable_difference(500, differ.mean(), alpha=0.025))
    assert found.detectable_in_table > found.detectable


def test_the_resolution_in_words():
    rng = np.random.default_rng(2)
    y = np.arange(500) % 2
    proba = {name: answers(y, rng.random(500) < 0.9)[None] for name in (FULL, "other", "best_single")}
    found = compared(made(proba, kinds={"best_single": "choice"}), y)
    sentence = describe(found, 0).resolution
    points = 100 * found.resolution.detectable
    assert (
        f"a true difference of {points:.1f} points of accuracy is found with a probability of 80 %"
        in sentence
    )
    assert "after the correction for all 2 comparisons" in sentence
    assert sentence.endswith("Smaller differences may be real and be missed.")


def test_arms_that_never_disagree_resolve_nothing():
    y = np.arange(20) % 2
    proba = {FULL: answers(y, y == 0)[None], "other": answers(y, y == 0, 0.9)[None]}
    found = compared(made(proba), y)
    assert found.resolution.detectable is None
    assert describe(found, 0).resolution.startswith("These data can resolve no difference")


def test_one_arm_compares_with_nothing():
    y = np.arange(20) % 2
    found = compared(made({FULL: answers(y, y == 0)[None]}), y)
    assert found.family == 0
    told = describe(found, 0)
    assert told.resolution == "There is one arm only, so nothing is compared."
    assert (told.gain, told.leak, told.cost) == ((), "", "")


# -- in words ---------------------------------------------------------------------------------------------


def table(rights, n=400, kinds=None, costs=None, **metadata):
    """A comparison of arms that have so many of `n` photos right, the same ones as far as they go."""
    y = np.arange(n) % 2
    proba = {name: answers(y, np.arange(n) < right)[None] for name, right in rights.items()}
    return compared(made(proba, kinds=kinds, **metadata), y, costs=costs)


KINDS = {"best_single": "choice", BUDGET: "control", LEAKY: "protocol"}


def told(rights, alike=12, **options):
    kinds = (
        KINDS | {name: "ingredient" for name in rights if name.startswith("without")} | {LEAKY: "protocol"}
    )
    return describe(table(rights, kinds=kinds, **options), alike)


def test_a_gain_is_told_with_interval_and_p():
    found = told({FULL: 360, "best_single": 330, BUDGET: 334, "single": 330})
    assert found.title == "The ensemble beats the best single model by 7.5 points of accuracy"
    first, second, third, last = found.gain
    assert "90.0\N{NO-BREAK SPACE}% of the photos right" in first
    assert "82.5\N{NO-BREAK SPACE}%: +7.5 points (95 % interval +" in first
    assert "p < 0.001, corrected < 0.001), significant." in first
    assert second.startswith("Its log-loss is")
    assert third.endswith("comes from different members, not from more training.")
    assert "significantly better than 1, significantly worse than none." in last


def test_no_gain_is_told_as_plainly():
    found = told({FULL: 361, "best_single": 360, BUDGET: 360})
    assert (
        found.title
        == "The ensemble is 0.2 points of accuracy ahead of the best single model: not significant"
    )
    assert "not significant" in found.gain[0]
    assert found.gain[2].endswith("could come from more training alone.")


def test_a_loss_is_told_as_plainly():
    assert told({FULL: 330, "best_single": 360}).title == (
        "The best single model beats the ensemble by 7.5 points of accuracy"
    )
    assert told({FULL: 360, "best_single": 361}).title.endswith(
        "0.2 points of accuracy behind the best single model: not significant"
    )
    assert (
        told({FULL: 360, "best_single": 360}).title == "The ensemble is as accurate as the best single model"
    )


def test_ingredients_help_hurt_or_neither():
    found = told({FULL: 350, "without_a": 310, "without_b": 390, "without_c": 351, "without_d": 350})
    changes = {change.name: change for change in found.ingredients.changes}
    assert [changes[f"without_{name}"].effect for name in "abcd"] == [
        "helps",
        "hurts",
        "unclear",
        "unclear",
    ]
    assert changes["without_a"].sentence.startswith(
        "10.0 points of accuracy gained (significant), log-loss 0.139 lower, which is better (not significant)."
    )
    assert changes["without_a"].sentence.endswith("40 row groups are right only with, 0 only without.")
    assert changes["without_b"].sentence.startswith("10.0 points of accuracy lost")
    assert (
        "neither is significant. 0 row groups are right only with, 1 only without."
        in changes["without_c"].sentence
    )
    assert changes["without_d"].sentence == "No answer changes at all."
    assert changes["without_a"].significant == ("accuracy",)
    assert found.ingredients.title == (
        "Significantly better with part without_a (accuracy); significantly better without part without_b "
        "(accuracy); the other 2 make no significant difference"
    )


def test_no_ingredient_matters():
    title = told({FULL: 350, "without_a": 349, "without_b": 350}).ingredients.title
    assert title == (
        "None of 2 ingredients makes a significant difference; the largest is that of part without_a, +0.2 points"
    )


def test_the_leak_is_no_model():
    sentence = told({FULL: 350, LEAKY: 370}, alike=40).leak
    assert "the 40 photos that look like another one" in sentence
    assert (
        "92.5\N{NO-BREAK SPACE}% instead of 87.5\N{NO-BREAK SPACE}% (+5.0 points, 95 % interval +" in sentence
    )
    assert "no better model" in sentence


def test_the_cost_names_the_cheaper_arm_that_is_as_good():
    rights = {FULL: 360, "best_single": 330, "without_a": 358, "without_b": 340}
    milliseconds = {FULL: 100.0, "best_single": 20.0, "without_a": 60.0, "without_b": 30.0}
    costs = {name: Cost(predict_ms=ms, megabytes=ms / 2) for name, ms in milliseconds.items()}
    sentence = told(rights, costs=costs).cost
    assert "5.0 times the time for +7.5 points" in sentence
    assert (
        "\N{LEFT DOUBLE QUOTATION MARK}The without_a\N{RIGHT DOUBLE QUOTATION MARK}: 60 ms and 30 MB"
        in sentence
    )


def test_choices_are_tallied():
    choices = [
        {"repeat": 0, "fold": fold, "best_single": "m2" if fold == 1 else "m1", "combination": "log_pool"}
        for fold in range(3)
    ]
    assert told({FULL: 360, "best_single": 350}, choices=choices).choices == (
        "Of 3 outer folds the full ensemble chose the weighted product in 3; the best single member was m1 in 2 and "
        "m2 in 1."
    )


@pytest.mark.parametrize(
    ("p", "long", "short"),
    [(0.0004, "p < 0.001", "< 0.001"), (0.0314, "p = 0.031", "0.031"), (1.0, "p = 1.000", "1.000")],
)
def test_p_values_as_printed(p, long, short):
    assert (p_value(p), p_value(p, short=True)) == (long, short)
