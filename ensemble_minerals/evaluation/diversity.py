"""How differently the members of an ensemble err.

Measures over pairs of members as in Kuncheva and Whitaker, "Measures of Diversity in Classifier
Ensembles", Machine Learning 51 (2003) 181-207.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ensemble_minerals.evaluation.confusion import ratio
from ensemble_minerals.evaluation.metrics import METRICS, Floats, check_rows


@dataclass(frozen=True)
class Diversity:
    """Pairwise diversity of M members, in the order of `members`.

    Attributes:
        members: Names.
        accuracy: (M,) share of rows each member answers right.
        error_correlation: (M, M) correlation of being wrong; NaN for a member that is never or always wrong.
        double_fault: (M, M) share of rows both have wrong; the diagonal is each member's error.
        disagreement: (M, M) share of rows exactly one has right.
        oracle: Share of rows that some member has right: no choice among the members can beat it.
        all_right: Share of rows that every member has right.
    """

    members: tuple[str, ...]
    accuracy: Floats
    error_correlation: Floats
    double_fault: Floats
    disagreement: Floats
    oracle: float
    all_right: float


def diversity(y_true: ArrayLike, probas: Mapping[str, ArrayLike]) -> Diversity:
    """Compare the errors of members over the same rows.

    Args:
        y_true: (n,) class positions.
        probas: (n, K) class probabilities of each member.

    Returns:
        The measures.

    >>> both = {"a": [[0.9, 0.1], [0.2, 0.8]], "b": [[0.3, 0.7], [0.1, 0.9]]}
    >>> diversity([0, 1], both).oracle, diversity([0, 1], both).all_right
    (1.0, 0.5)

    Raises:
        ValueError: No members, or rows that are not labels and distributions.
    """
    if not probas:
        raise ValueError("there are no members to compare")
    answers = []
    for proba in probas.values():
        y, p = check_rows(y_true, proba)
        answers.append(p.argmax(axis=1) != y)
    wrong = np.array(answers, dtype=np.float64)
    n = wrong.shape[1]
    both, rate = wrong @ wrong.T / n, wrong.mean(axis=1)
    deviation = np.sqrt(rate * (1 - rate))
    correlation = ratio(both - np.outer(rate, rate), np.outer(deviation, deviation))
    return Diversity(
        members=tuple(probas),
        accuracy=1 - rate,
        error_correlation=np.clip(correlation, -1.0, 1.0),
        double_fault=both,
        disagreement=np.clip(rate[:, None] + rate[None, :] - 2 * both, 0.0, 1.0),
        oracle=float(1 - wrong.all(axis=0).mean()),
        all_right=float(1 - wrong.any(axis=0).mean()),
    )


def uniform_mean(probas: Mapping[str, Floats]) -> Floats:
    """The plain average of the members' probabilities, (n, K)."""
    return np.asarray(np.mean(list(probas.values()), axis=0))


def leave_one_member_out(y_true: ArrayLike, probas: Mapping[str, ArrayLike]) -> dict[str, dict[str, float]]:
    """What each member brings to the plain average: its scores without the member, minus those with all.

    Args:
        y_true: (n,) class positions.
        probas: (n, K) class probabilities of each member; two members or more.

    Returns:
        For each member the change of every score of `metrics.METRICS` when it is left out: a fall in
        accuracy or a rise in log-loss is what the member is worth.

    Raises:
        ValueError: Fewer than two members, or rows that are not labels and distributions.
    """
    if len(probas) < 2:
        raise ValueError(f"leaving one of {len(probas)} members out leaves nothing to combine")
    y, _ = check_rows(y_true, next(iter(probas.values())))
    checked = {name: check_rows(y, proba)[1] for name, proba in probas.items()}

    def scores(members: Mapping[str, Floats]) -> dict[str, float]:
        combined = uniform_mean(members)
        return {name: float(build(*check_rows(y, combined)).estimate) for name, build in METRICS.items()}

    whole = scores(checked)
    result = {}
    for left_out in checked:
        rest = scores({name: proba for name, proba in checked.items() if name != left_out})
        result[left_out] = {name: rest[name] - whole[name] for name in METRICS}
    return result
