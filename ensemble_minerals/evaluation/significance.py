"""Tests of one arm against another, and their results in plain words.

McNemar's test is about these fitted models on other photos of the same kind. The corrected resampled t test is
about the recipe, fitted anew. Two arms that give the same answers have p = 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from ensemble_minerals.evaluation.intervals import Interval


@dataclass(frozen=True)
class McNemar:
    """An exact McNemar test.

    Attributes:
        only_first: Pairs that only the first arm has right.
        only_second: Pairs that only the second arm has right.
        n: All pairs.
        p: Two-sided p-value; 1 when no pair is discordant.
    """

    only_first: int
    only_second: int
    n: int
    p: float

    @property
    def discordance(self) -> float:
        """Share of pairs that exactly one arm has right."""
        return (self.only_first + self.only_second) / self.n


def mcnemar(first_right: ArrayLike, second_right: ArrayLike, groups: ArrayLike | None = None) -> McNemar:
    """Exact McNemar test of two arms over the same rows.

    Args:
        first_right: (n,) whether the first arm answers each row right.
        second_right: (n,) the same for the second arm.
        groups: (n,) row groups. The rows of a group are not independent, so with groups the pair is the
            group: it goes to the arm that has more of its rows right. By default the pair is the row.

    Returns:
        Discordant counts and the p-value.

    >>> mcnemar([True, True, True, False], [True, False, False, False])
    McNemar(only_first=2, only_second=0, n=4, p=0.5)

    Raises:
        ValueError: The two arms do not answer the same number of rows, or no rows.
    """
    first, second = np.asarray(first_right, dtype=bool), np.asarray(second_right, dtype=bool)
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise ValueError(f"the arms must answer the same rows, got shapes {first.shape} and {second.shape}")
    lead: NDArray[np.float64] = first.astype(np.float64) - second
    if groups is not None:
        _, group = np.unique(np.asarray(groups), return_inverse=True)
        lead = np.bincount(group.reshape(-1), weights=lead).astype(np.float64)
    wins, losses = int((lead > 0).sum()), int((lead < 0).sum())
    if wins + losses == 0:
        return McNemar(0, 0, len(lead), 1.0)
    return McNemar(wins, losses, len(lead), float(stats.binomtest(wins, wins + losses).pvalue))


@dataclass(frozen=True)
class CorrectedT:
    """A corrected resampled t test.

    Attributes:
        mean: Mean difference over folds and repeats.
        t: The statistic; NaN when the differences have no spread.
        degrees: Degrees of freedom.
        p: Two-sided p-value.
        low: Lower end of the interval of the mean difference.
        high: Upper end.
    """

    mean: float
    t: float
    degrees: int
    p: float
    low: float
    high: float


def corrected_resampled_t(differences: ArrayLike, *, test_share: float | None = None) -> CorrectedT:
    """The t test over folds and repeats, corrected for their shared training rows.

    Nadeau and Bengio, "Inference for the Generalization Error", Machine Learning 52 (2003) 239-281; for
    repeated cross-validation as in Bouckaert and Frank (2004): the variance s^2 / J of the mean of J
    differences becomes (1 / J + n_test / n_train) s^2, with J - 1 degrees of freedom.

    Args:
        differences: (repeats, folds) or (J,) difference of the two arms' scores in each test fold.
        test_share: n_test / n_train; by default 1 / (folds - 1), which needs the two-dimensional form.

    Returns:
        The test, with an interval of 95 %. Where the spread cannot be estimated (a single difference, or all the
        same, as can happen with accuracies of small folds), t is NaN and p is 1.

    >>> round(corrected_resampled_t([[0.02, 0.03, 0.01, 0.02, 0.03]]).p, 3)
    0.017

    Raises:
        ValueError: No differences, NaN among them, or no `test_share` where it cannot be derived.
    """
    table = np.asarray(differences, dtype=np.float64)
    if table.size == 0 or np.isnan(table).any():
        raise ValueError("the differences are empty or hold NaN: every fold needs both arms' scores")
    if test_share is None:
        if table.ndim != 2 or table.shape[1] < 2:
            raise ValueError(
                "give test_share, or differences of shape (repeats, folds) with two folds or more"
            )
        test_share = 1 / (table.shape[1] - 1)
    values = table.ravel()
    j, mean = len(values), float(values.mean())
    if j < 2:
        return CorrectedT(mean, math.nan, 0, 1.0, math.nan, math.nan)
    error = math.sqrt((1 / j + test_share) * float(values.var(ddof=1)))
    if error <= 1e-12 * abs(mean):  # also when both are zero: identical arms
        end = 0.0 if mean == 0 else math.nan
        return CorrectedT(mean, math.nan, j - 1, 1.0, end, end)
    t = mean / error
    reach = float(stats.t.ppf(0.975, j - 1)) * error
    return CorrectedT(mean, t, j - 1, float(2 * stats.t.sf(abs(t), j - 1)), mean - reach, mean + reach)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values (1979), which keep the chance of any false finding in the table below alpha.

    Args:
        p_values: The p-values of a table of comparisons.

    Returns:
        The adjusted p-values, in the same order.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]

    Raises:
        ValueError: A p-value outside 0..1 or NaN.
    """
    if not all(0 <= p <= 1 for p in p_values):
        raise ValueError(f"p-values must lie in 0..1, got {list(p_values)}")
    p, count = np.asarray(p_values, dtype=np.float64), len(p_values)
    order = np.argsort(p)
    adjusted = np.empty(count)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(count, 0, -1)), 1.0)
    return adjusted.tolist()


WHY: dict[str, str] = {
    "corrected": "the interval is for this comparison alone, p is corrected for all of the table",
    "exact": "the interval counts by how many photos each row group changed, the exact test only who won it",
    "folds": "the interval is of these fits, the test asks about the recipe fitted anew, from few folds",
    "signs": "near the limit: the interval is drawn from row groups, the test from their signs",
}
"""Why an interval can leave 0 out where the p-value beside it does not reach the level, by the test."""


def doubt(
    difference: Interval, p: float, test: str, *, alone: float | None = None, alpha: float = 0.05
) -> str:
    """Why an interval leaves 0 out and its test is not significant; empty where the two agree.

    Args:
        difference: With its interval.
        p: The p-value that decides.
        test: A key of `WHY`.
        alone: The p-value before the correction for a table.
        alpha: Level of the test.

    Example:
        >>> doubt(Interval(0.02, 0.001, 0.04), 0.2, "exact", alone=0.04)
        'the interval is for this comparison alone, p is corrected for all of the table'
        >>> doubt(Interval(0.02, -0.001, 0.04), 0.2, "exact")
        ''
    """
    if p < alpha or not difference.leaves_out_zero:
        return ""
    return WHY["corrected" if alone is not None and alone < alpha else test]


def verdict(
    difference: Interval,
    p: float,
    *,
    first: str,
    second: str,
    alpha: float = 0.05,
    lower_is_better: bool = False,
    percent: bool = True,
) -> str:
    """A comparison in one plain sentence, effect first and p second.

    Args:
        difference: First minus second arm, with its interval.
        p: The p-value, adjusted if it belongs to a table.
        first: Name of the first arm.
        second: Name of the second arm.
        alpha: Level of the test.
        lower_is_better: The score is a loss.
        percent: Print the difference in percentage points; else as a plain number.

    Returns:
        The sentence, ending in "significant." or "not significant."
    """
    scale, unit, form = (100, " points", ".1f") if percent else (1, "", ".3f")
    low, high = difference.low * scale, difference.high * scale
    size = f"{abs(difference.estimate) * scale:{form}}{unit}"
    gain = -difference.estimate if lower_is_better else difference.estimate
    if gain == 0:
        effect = f"{first} and {second} score the same"
    else:
        effect = f"{first} is {'better' if gain > 0 else 'worse'} than {second} by {size}"
    spread = f"95 % interval {low:+{form}} to {high:+{form}}, " if math.isfinite(low + high) else ""
    spread = spread.replace("95", f"{100 * difference.level:.0f}", 1)
    chance = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    return f"{effect} ({spread}{chance}): {'significant' if p < alpha else 'not significant'}."
