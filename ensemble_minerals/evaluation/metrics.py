"""Scores of a classifier: pure functions of (true class, class probabilities).

Every score that is a function of sums over rows is written once, over row weights (`weighted_metric`).
The point estimate is that function at weights of one; a bootstrap replicate is the same function at
resampled weights. So an interval always belongs to the same definition as its estimate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel
from scipy import sparse

from ensemble_minerals.evaluation import confusion
from ensemble_minerals.evaluation.confusion import ratio

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

N_BINS = 15
"""Bins of the expected calibration error."""

SMALLEST_PROBABILITY = float(np.finfo(np.float64).eps)
"""Lower bound of a probability in the log-loss, as in scikit-learn: one of 0 costs 36 nats, not infinity."""


def check_rows(y_true: ArrayLike, proba: ArrayLike) -> tuple[Ints, Floats]:
    """Check labels and probabilities, and bring them to one form.

    Args:
        y_true: (n,) class positions, 0..K-1.
        proba: (n, K) class probabilities; each row sums to one.

    Returns:
        `y_true` as int64 and `proba` as float64.

    Raises:
        ValueError: No rows, shapes that do not fit, a class position out of range, or a row that is not a
            distribution (NaN means that it was never predicted).
    """
    y, p = np.asarray(y_true), np.asarray(proba, dtype=np.float64)
    if p.ndim != 2 or y.shape != p.shape[:1]:
        raise ValueError(f"expected labels (n,) and probabilities (n, K), got {y.shape} and {p.shape}")
    if not len(y):
        raise ValueError("there are no rows to score")
    if not np.issubdtype(y.dtype, np.integer):
        raise ValueError(f"labels must be class positions (integers), got {y.dtype}")
    if y.min() < 0 or y.max() >= p.shape[1]:
        raise ValueError(f"labels run from {y.min()} to {y.max()}, but there are {p.shape[1]} classes")
    missing = np.flatnonzero(np.isnan(p).any(axis=1))
    if len(missing):
        raise ValueError(
            f"{len(missing)} rows have NaN probabilities (the first is row {missing[0]}): they were never "
            "predicted; leave them out before scoring"
        )
    broken = np.flatnonzero((p < 0).any(axis=1) | (np.abs(p.sum(axis=1) - 1) > 1e-3))
    if len(broken):
        raise ValueError(f"row {broken[0]} is not a probability distribution: {p[broken[0]].tolist()}")
    return y.astype(np.int64), p


# -- scores over row weights --------------------------------------------------------------------------------


@dataclass(frozen=True)
class WeightedMetric:
    """A score that is a function of weighted sums over rows.

    Attributes:
        parts: (n, q) what each row adds to the sums; dense or sparse.
        value: Sums (b, q) -> scores (b,), or (b, K) for a score of each class.
    """

    parts: Any
    value: Callable[[Floats], Floats]

    def __call__(self, weights: Floats) -> Floats:
        """Scores at row weights (b, n): shape (b,) or (b, K)."""
        return self.value(np.asarray(weights @ self.parts))

    @property
    def n_rows(self) -> int:
        """Rows that the score is over."""
        return int(self.parts.shape[0])

    @property
    def estimate(self) -> Floats:
        """The score with every row counted once: shape () or (K,)."""
        return np.asarray(self(np.ones((1, self.n_rows)))[0])


def _confusion_metric(formula: Callable[[Floats], Floats]) -> Callable[[Ints, Floats], WeightedMetric]:
    def build(y: Ints, p: Floats) -> WeightedMetric:
        n, k = p.shape
        cells = (np.arange(n), y * k + p.argmax(axis=1))
        parts = sparse.csr_array((np.ones(n), cells), shape=(n, k * k))
        return WeightedMetric(parts, lambda sums: formula(sums.reshape(-1, k, k)))

    return build


def _mean_metric(loss: Callable[[Ints, Floats], Floats]) -> Callable[[Ints, Floats], WeightedMetric]:
    def build(y: Ints, p: Floats) -> WeightedMetric:
        parts = np.column_stack([loss(y, p), np.ones(len(y))])
        return WeightedMetric(parts, lambda sums: ratio(sums[:, 0], sums[:, 1]))

    return build


def row_log_loss(y: Ints, p: Floats) -> Floats:
    """Minus the logarithm of each row's probability of its true class, (n,) in nats.

    >>> row_log_loss(np.array([0, 1]), np.array([[0.5, 0.5], [0.75, 0.25]])).round(3)
    array([0.693, 1.386])
    """
    true = p[np.arange(len(y)), y]
    return -np.log(np.clip(true, SMALLEST_PROBABILITY, 1.0))


def row_brier(y: Ints, p: Floats) -> Floats:
    """Squared distance of each row's probabilities to the truth, summed over classes, (n,) in 0..2.

    >>> row_brier(np.array([0, 1]), np.array([[0.5, 0.5], [1.0, 0.0]]))
    array([0.5, 2. ])
    """
    return np.asarray(((p - np.eye(p.shape[1])[y]) ** 2).sum(axis=1))


def bin_edges(confidence: Floats, *, n_bins: int = N_BINS, adaptive: bool = False) -> Floats:
    """Edges of the reliability bins; the right edge of a bin belongs to it.

    Args:
        confidence: (n,) probabilities in 0..1.
        n_bins: How many bins.
        adaptive: Bins of equal count instead of equal width (Nguyen and O'Connor 2015). Equal
            probabilities stay in one bin, so there may be fewer bins than asked for.

    Returns:
        (m + 1,) increasing edges from 0 to 1.

    >>> bin_edges(np.array([0.2, 0.4, 0.9, 0.9]), n_bins=2, adaptive=True)
    array([0. , 0.4, 1. ])
    """
    if not adaptive:
        return np.linspace(0.0, 1.0, n_bins + 1)
    inner = np.quantile(confidence, np.linspace(0, 1, n_bins + 1)[1:-1], method="inverted_cdf")
    return np.asarray(np.unique(np.concatenate([[0.0], inner, [1.0]])))


def bin_of(confidence: Floats, edges: Floats) -> Ints:
    """The bin (0-based) of each probability under `bin_edges`.

    >>> bin_of(np.array([0.0, 0.5, 0.51, 1.0]), np.array([0.0, 0.5, 1.0]))
    array([0, 0, 1, 1])
    """
    return np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, len(edges) - 2)


def calibration_gaps(y: Ints, p: Floats, *, adaptive: bool) -> WeightedMetric:
    """Stated minus observed frequency of the answer in each bin, as a share of all rows: (m,) bins."""
    n, confidence = len(y), p.max(axis=1)
    edges = bin_edges(confidence, adaptive=adaptive)
    gap = confidence - (p.argmax(axis=1) == y)
    by_bin = sparse.csr_array((gap, (np.arange(n), bin_of(confidence, edges))), shape=(n, len(edges) - 1))
    parts = sparse.hstack([by_bin, np.ones((n, 1))], format="csr")
    return WeightedMetric(parts, lambda sums: ratio(sums[:, :-1], sums[:, -1:]))


def _ece_metric(adaptive: bool) -> Callable[[Ints, Floats], WeightedMetric]:
    def build(y: Ints, p: Floats) -> WeightedMetric:
        gaps = calibration_gaps(y, p, adaptive=adaptive)
        return WeightedMetric(gaps.parts, lambda sums: np.abs(gaps.value(sums)).sum(axis=1))

    return build


def _mean_true_probability(y: Ints, p: Floats) -> WeightedMetric:
    n, k = p.shape
    rows = np.arange(n)
    sums = sparse.csr_array((p[rows, y], (rows, y)), shape=(n, k))
    counts = sparse.csr_array((np.ones(n), (rows, y)), shape=(n, k))
    parts = sparse.hstack([sums, counts], format="csr")
    return WeightedMetric(parts, lambda total: ratio(total[:, :k], total[:, k:]))


METRICS: Mapping[str, Callable[[Ints, Floats], WeightedMetric]] = {
    "accuracy": _confusion_metric(confusion.accuracy),
    "balanced_accuracy": _confusion_metric(confusion.balanced_accuracy),
    "macro_f1": _confusion_metric(confusion.macro_f1),
    "log_loss": _mean_metric(row_log_loss),
    "brier": _mean_metric(row_brier),
    "ece": _ece_metric(adaptive=False),
    "ece_adaptive": _ece_metric(adaptive=True),
    "kappa": _confusion_metric(confusion.kappa),
    "mcc": _confusion_metric(confusion.mcc),
}
"""One number for all rows. ECE is of the answered class (Guo et al. 2017); Brier sums over classes, 0..2."""

CLASS_METRICS: Mapping[str, Callable[[Ints, Floats], WeightedMetric]] = {
    "precision": _confusion_metric(confusion.precision),
    "recall": _confusion_metric(confusion.recall),
    "f1": _confusion_metric(confusion.f1),
    "mean_true_probability": _mean_true_probability,
}
"""One number for each class."""

LOWER_IS_BETTER = frozenset({"log_loss", "brier", "ece", "ece_adaptive"})


def weighted_metric(name: str, y_true: ArrayLike, proba: ArrayLike) -> WeightedMetric:
    """A score of `METRICS` or `CLASS_METRICS` as a function of row weights.

    The edges of adaptive calibration bins are those of the unweighted rows. For an interval of `ece` or
    `ece_adaptive` use `intervals.ece_interval`: their replicates are not centered on the estimate.

    Args:
        name: The score.
        y_true: (n,) class positions.
        proba: (n, K) class probabilities.

    Returns:
        The score; its `estimate` weighs all rows alike.

    Raises:
        ValueError: An unknown name, or rows that `check_rows` refuses.

    >>> score = weighted_metric("accuracy", [0, 1], [[0.9, 0.1], [0.8, 0.2]])
    >>> float(score.estimate), score(np.array([[3.0, 1.0]]))
    (0.5, array([0.75]))
    """
    known = {**METRICS, **CLASS_METRICS}
    if name not in known:
        raise ValueError(f"no metric is called {name!r}; there are: {', '.join(known)}")
    return known[name](*check_rows(y_true, proba))


# -- tables -----------------------------------------------------------------------------------------------


def confusion_counts(y_true: ArrayLike, proba: ArrayLike) -> Ints:
    """Rows by (given label, answer), (K, K).

    >>> confusion_counts([0, 1, 1], [[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])
    array([[1, 0],
           [1, 1]])
    """
    y, p = check_rows(y_true, proba)
    k = p.shape[1]
    return np.bincount(y * k + p.argmax(axis=1), minlength=k * k).reshape(k, k).astype(np.int64)


def average_precision(y_true: ArrayLike, proba: ArrayLike) -> Floats:
    """Average precision of each class against the rest, (K,); NaN for a class without rows."""
    y, p = check_rows(y_true, proba)
    return np.array([_average_precision(y == k, p[:, k]) for k in range(p.shape[1])])


def _average_precision(is_own: NDArray[np.bool_], score: Floats) -> float:
    """Precision at each rank of a row of its own, averaged; NaN without one. Rows of one score have one rank.

    scikit-learn's takes most of its time to check its arguments: a tenth of a second for 14 sets of answers.
    """
    order = np.argsort(-score, kind="stable")
    last = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))
    found = np.cumsum(is_own[order])[last]
    if not found[-1]:
        return np.nan
    return float(np.sum(np.diff(found, prepend=0) * found / (last + 1)) / found[-1])


def summary(y_true: ArrayLike, proba: ArrayLike, classes: Sequence[str]) -> dict[str, Any]:
    """All scores of one set of predictions, as written to `metrics.json`.

    Args:
        y_true: (n,) class positions.
        proba: (n, K) class probabilities.
        classes: The K class names, in the order of the columns.

    Returns:
        `n`, the scores of `METRICS`, and `per_class` with precision, recall, F1, support, number answered,
        average precision and mean probability of the true class. Plain numbers; None where not defined.

    Raises:
        ValueError: Rows that `check_rows` refuses, or another number of classes than columns.
    """
    y, p = check_rows(y_true, proba)
    if len(classes) != p.shape[1]:
        raise ValueError(f"{len(classes)} class names for {p.shape[1]} columns of probabilities")
    counts = confusion_counts(y, p)
    columns: dict[str, NDArray[Any]] = {name: build(y, p).estimate for name, build in CLASS_METRICS.items()}
    columns |= {"support": counts.sum(axis=1), "answered": counts.sum(axis=0)}
    columns["average_precision"] = average_precision(y, p)
    result: dict[str, Any] = {"n": len(y)} | {name: build(y, p).estimate for name, build in METRICS.items()}
    result["per_class"] = {c: {name: col[k] for name, col in columns.items()} for k, c in enumerate(classes)}
    plain: dict[str, Any] = jsonable(result)
    return plain


def jsonable(value: Any) -> Any:
    """The same tree in plain JSON values: records as mappings, arrays as lists, NaN and infinities as None.

    >>> jsonable({"scores": np.array([0.5, np.nan]), "n": np.int64(2)})
    {'scores': [0.5, None], 'n': 2}
    """
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, BaseModel):
        value = value.model_dump()
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
