"""Scores: known answers, agreement with scikit-learn, and nothing undefined left unsaid."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn import metrics as sk

from ensemble_minerals.evaluation.metrics import (
    CLASS_METRICS,
    LOWER_IS_BETTER,
    METRICS,
    average_precision,
    jsonable,
    summary,
    weighted_metric,
)


def draw(n, k, seed=0, strength=1.5):
    rng = np.random.default_rng(seed)
    y = np.r_[np.arange(k), rng.integers(k, size=n - k)]
    z = rng.normal(size=(n, k))
    z[np.arange(n), y] += strength
    p = np.exp(z)
    return y, p / p.sum(axis=1, keepdims=True)


def names(k):
    return [f"class {i}" for i in range(k)]


@pytest.mark.parametrize("k", [2, 7, 30])
def test_every_score_agrees_with_scikit_learn(k):
    y, p = draw(400, k)
    answer = p.argmax(axis=1)
    found = summary(y, p, names(k))
    expected = {
        "accuracy": sk.accuracy_score(y, answer),
        "balanced_accuracy": sk.balanced_accuracy_score(y, answer),
        "macro_f1": sk.f1_score(y, answer, average="macro"),
        "log_loss": sk.log_loss(y, p, labels=np.arange(k)),
        "brier": ((p - np.eye(k)[y]) ** 2).sum(axis=1).mean(),
        "kappa": sk.cohen_kappa_score(y, answer),
        "mcc": sk.matthews_corrcoef(y, answer),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    if k == 2:
        assert found["brier"] == pytest.approx(2 * sk.brier_score_loss(y, p[:, 1]))
    rows = found["per_class"].values()
    columns = sk.precision_recall_fscore_support(y, answer, labels=np.arange(k), zero_division=np.nan)
    for name, column in zip(("precision", "recall", "f1", "support"), columns, strict=True):
        got = [np.nan if row[name] is None else row[name] for row in rows]
        np.testing.assert_allclose(got, column, atol=1e-12)
    ranked = [sk.average_precision_score(y == c, p[:, c]) for c in range(k)]
    np.testing.assert_allclose([row["average_precision"] for row in rows], ranked)
    np.testing.assert_allclose(
        [row["mean_true_probability"] for row in rows], [p[y == c, c].mean() for c in range(k)]
    )


def test_a_hand_worked_example():
    y = [0, 0, 0, 1, 1]
    p = [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7], [0.6, 0.4]]  # right, right, wrong, right, wrong
    found = summary(y, p, ["quartz", "pyrite"])
    assert found["n"] == 5
    assert found["accuracy"] == pytest.approx(3 / 5)
    assert found["balanced_accuracy"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert found["per_class"]["quartz"] == pytest.approx(
        {
            "precision": 2 / 3,
            "recall": 2 / 3,
            "f1": 2 / 3,
            "support": 3,
            "answered": 3,
            "average_precision": 1 / 3 * 1 + 1 / 3 * 2 / 3 + 1 / 3 * 3 / 5,
            "mean_true_probability": (0.9 + 0.6 + 0.2) / 3,
        }
    )
    assert found["log_loss"] == pytest.approx(-np.log([0.9, 0.6, 0.2, 0.7, 0.4]).mean())
    # bins of width 1/15: {0.6, 0.6} right once, and 0.7, 0.8, 0.9 alone
    assert found["ece"] == pytest.approx((abs(1.2 - 1) + abs(0.7 - 1) + abs(0.8 - 0) + abs(0.9 - 1)) / 5)


def test_a_confidence_on_an_edge_lies_in_the_lower_bin():
    y, p = [0, 1], [[0.6, 0.4], [0.600001, 0.399999]]  # 0.6 is 9/15: another bin than 0.600001
    assert summary(y, p, ["a", "b"])["ece"] == pytest.approx((0.4 + 0.600001) / 2)
    assert summary(y, p, ["a", "b"])["ece_adaptive"] == pytest.approx((0.4 + 0.600001) / 2)


def test_adaptive_bins_keep_equal_confidences_together():
    y = np.array([0, 1] * 30)
    p = np.tile([0.5, 0.5], (60, 1))
    assert summary(y, p, ["a", "b"])["ece_adaptive"] == pytest.approx(0.0)  # half of the ties are right


@pytest.mark.parametrize("name", sorted({*METRICS, *CLASS_METRICS} - {"ece_adaptive"}))
def test_a_weight_counts_like_so_many_rows(name):
    y, p = draw(60, 4, seed=3)
    times = np.random.default_rng(1).integers(0, 4, size=60)
    weighted = weighted_metric(name, y, p)(np.vstack([times, np.ones(60)]).astype(float))
    repeated = weighted_metric(name, np.repeat(y, times), np.repeat(p, times, axis=0)).estimate
    np.testing.assert_allclose(weighted[0], repeated, atol=1e-12)
    np.testing.assert_allclose(weighted[1], weighted_metric(name, y, p).estimate, atol=1e-12)


def test_no_score_depends_on_the_order_of_the_rows():
    y, p = draw(200, 5, seed=2)
    p = np.round(p, 1) + 1e-3  # many ties
    p /= p.sum(axis=1, keepdims=True)
    order = np.random.default_rng(0).permutation(200)
    one, other = (summary(y[i], p[i], names(5)) for i in (np.arange(200), order))
    assert one["per_class"] == {c: pytest.approx(row) for c, row in other["per_class"].items()}
    assert {m: one[m] for m in METRICS} == pytest.approx({m: other[m] for m in METRICS})


@pytest.mark.parametrize("k", [2, 7, 30])
def test_perfect_predictions(k):
    y, _ = draw(90, k)
    found = summary(y, np.eye(k)[y], names(k))
    for name in METRICS:
        assert found[name] == pytest.approx(0.0 if name in LOWER_IS_BETTER else 1.0, abs=1e-12), name
    for row in found["per_class"].values():
        assert all(row[m] == 1.0 for m in ("precision", "recall", "f1", "average_precision"))


def test_classes_of_one_photo_or_none_and_never_answered():
    y = np.array([0] * 20 + [1])  # one photo of b, none of c
    p = np.tile([0.8, 0.15, 0.05], (21, 1))
    found = summary(y, p, ["a", "b", "c"])
    assert found["per_class"]["b"]["precision"] is None  # never answered
    assert found["per_class"]["b"]["recall"] == 0.0
    assert found["per_class"]["b"]["f1"] == 0.0
    assert found["per_class"]["b"]["average_precision"] == pytest.approx(1 / 21)
    none = found["per_class"]["c"]
    assert none.pop("support") == none.pop("answered") == 0
    assert set(none.values()) == {None}
    assert found["balanced_accuracy"] == pytest.approx(0.5)  # over the classes that have rows
    assert found["macro_f1"] == pytest.approx((2 * 20 / 41 + 0) / 2)
    assert found["mcc"] == 0.0
    assert found["kappa"] == 0.0
    json.dumps(found, allow_nan=False)


def test_rows_of_a_single_class_have_no_kappa():
    found = summary([0, 0], [[0.9, 0.1], [0.7, 0.3]], ["a", "b"])
    assert found["kappa"] is None
    assert found["mcc"] == 0.0
    assert found["accuracy"] == 1.0


def test_an_impossible_truth_costs_a_finite_loss():
    assert summary([0], [[0.0, 1.0]], ["a", "b"])["log_loss"] == pytest.approx(36.04, abs=0.01)


def test_average_precision_of_a_class_without_rows_is_undefined():
    assert np.isnan(average_precision([0, 0], [[1.0, 0.0], [0.5, 0.5]])[1])


@pytest.mark.parametrize(
    ("y", "p", "message"),
    [
        ([0, 1], [[0.5, 0.5], [np.nan, np.nan]], "first is row 1"),
        ([0, 2], [[0.5, 0.5], [0.5, 0.5]], "labels run from 0 to 2"),
        ([0, -1], [[0.5, 0.5], [0.5, 0.5]], "labels run from -1"),
        ([0], [[0.5, 0.5], [0.5, 0.5]], "expected labels"),
        ([0], [[0.5, 0.9]], "row 0 is not a probability distribution"),
        ([0], [[1.5, -0.5]], "row 0 is not a probability distribution"),
        ([0], [[np.inf, 0.0]], "row 0 is not a probability distribution"),
        ([0.0], [[0.5, 0.5]], "integers"),
        ([], np.empty((0, 2)), "no rows"),
    ],
)
def test_rows_that_cannot_be_scored_are_refused(y, p, message):
    with pytest.raises(ValueError, match=message):
        summary(np.asarray(y, dtype=int if len(y) == 0 else None), p, ["a", "b"])


def test_the_number_of_names_must_fit():
    with pytest.raises(ValueError, match="3 class names for 2 columns"):
        summary([0], [[0.5, 0.5]], ["a", "b", "c"])


def test_an_unknown_score_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'acuracy'; there are: accuracy, "):
        weighted_metric("acuracy", [0], [[0.5, 0.5]])


def test_jsonable_gives_plain_values():
    tree = {
        1: np.float32(0.5),
        "x": [np.int64(3), float("inf"), np.array([1.0, np.nan])],
        "t": (True, "s", None),
    }
    plain = jsonable(tree)
    assert plain == {"1": 0.5, "x": [3, None, [1.0, None]], "t": [True, "s", None]}
    json.dumps(plain, allow_nan=False)
