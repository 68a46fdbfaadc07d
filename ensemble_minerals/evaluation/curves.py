"""Reliability bins and risk-coverage curves of stated probabilities.

Equal confidences are always taken together, so that no curve depends on the order of the rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ensemble_minerals.evaluation.metrics import N_BINS, Floats, Ints, bin_edges, bin_of, check_rows


@dataclass(frozen=True)
class ReliabilityBins:
    """A reliability diagram, bin by bin (m bins).

    Attributes:
        edges: (m + 1,) bin edges; the right edge of a bin belongs to it.
        count: (m,) rows in each bin; they sum to n.
        confidence: (m,) mean probability in each bin; NaN in an empty bin.
        frequency: (m,) how often it was right; NaN in an empty bin.
        error: Expected calibration error: the mean gap, weighted by the counts.
    """

    edges: Floats
    count: Ints
    confidence: Floats
    frequency: Floats
    error: float


def reliability(
    y_true: ArrayLike,
    proba: ArrayLike,
    *,
    of_class: int | None = None,
    n_bins: int = N_BINS,
) -> ReliabilityBins:
    """Compare stated with observed frequencies.

    Args:
        y_true: (n,) class positions.
        proba: (n, K) class probabilities.
        of_class: Compare the probability of this class with its presence; by default the probability of the
            answer with its being right.
        n_bins: How many bins, of equal width.

    Returns:
        The bins.

    Raises:
        ValueError: Rows that are not labels and distributions.
    """
    y, p = check_rows(y_true, proba)
    confidence = p.max(axis=1) if of_class is None else p[:, of_class]
    happened = (p.argmax(axis=1) == y) if of_class is None else (y == of_class)
    edges = bin_edges(confidence, n_bins=n_bins)
    bins, m = bin_of(confidence, edges), len(edges) - 1
    count = np.bincount(bins, minlength=m)
    stated, observed = (np.bincount(bins, weights=w, minlength=m) for w in (confidence, happened))
    safe = np.where(count, count, np.nan)
    error = float(np.abs(stated - observed).sum() / len(y))
    return ReliabilityBins(edges, count.astype(np.int64), stated / safe, observed / safe, error)


@dataclass(frozen=True)
class RiskCoverage:
    """Errors among the answers whose confidence reaches a threshold (m thresholds).

    Attributes:
        threshold: (m,) the distinct confidences, falling.
        coverage: (m,) share of rows answered at each threshold; the last is 1.
        risk: (m,) share of wrong answers among those answered.
        aurc: Area under the curve over all n rows (Geifman and El-Yaniv 2017), ties in random order.
    """

    threshold: Floats
    coverage: Floats
    risk: Floats
    aurc: float

    def at_risk(self, limit: float) -> tuple[float, float]:
        """The largest coverage whose share of wrong answers is at most `limit`, and its threshold.

        Args:
            limit: Share of wrong answers that is accepted, e.g. 0.02.

        Returns:
            (coverage, threshold); (0.0, inf) when no threshold keeps to the limit. The threshold is chosen
            on the rows it is scored on, so on new rows expect slightly more errors.
        """
        kept = np.flatnonzero(self.risk <= limit + 1e-12)
        if not len(kept):
            return 0.0, float("inf")
        return float(self.coverage[kept[-1]]), float(self.threshold[kept[-1]])


def risk_coverage(y_true: ArrayLike, proba: ArrayLike) -> RiskCoverage:
    """The risk-coverage curve, with the probability of the answer as confidence.

    Args:
        y_true: (n,) class positions.
        proba: (n, K) class probabilities.

    Returns:
        The curve from the most confident rows to all rows.

    >>> curve = risk_coverage([0, 0, 0], [[0.9, 0.1], [0.8, 0.2], [0.4, 0.6]])
    >>> curve.at_risk(0.0)[1]
    0.8

    Raises:
        ValueError: Rows that are not labels and distributions.
    """
    y, p = check_rows(y_true, proba)
    wrong = p.argmax(axis=1) != y
    values, block = np.unique(-p.max(axis=1), return_inverse=True)
    size = np.bincount(block)
    errors = np.bincount(block, weights=wrong)
    answered = np.cumsum(size)
    # a row of a tied block stands for the block's mean error: the expectation over all orders of the block
    expected = np.cumsum(np.repeat(errors / size, size))
    aurc = float((expected / np.arange(1, len(y) + 1)).mean())
    return RiskCoverage(-values, answered / len(y), np.cumsum(errors) / answered, aurc)
