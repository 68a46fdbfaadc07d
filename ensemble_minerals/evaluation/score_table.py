"""The scores of an ensemble, each with an interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.evaluation.answers import Answers
from ensemble_minerals.evaluation.intervals import GroupBootstrap, Interval, ece_interval, wilson
from ensemble_minerals.evaluation.metrics import LOWER_IS_BETTER, METRICS, Floats

_CALIBRATION = ("ece", "ece_adaptive")


@dataclass(frozen=True)
class Score:
    """One score.

    Attributes:
        name: A name of `metrics.METRICS`.
        interval: From a bootstrap over row groups. A calibration error is freed of what chance alone adds, see
            `intervals.ece_interval`.
        plug_in: The raw calibration error, as in ``metrics.json``; None for every other score.
        lower_is_better: Whether it is an error.
    """

    name: str
    interval: Interval
    plug_in: float | None
    lower_is_better: bool


def score_table(answers: Answers, bootstrap: GroupBootstrap) -> dict[str, Score]:
    """The scores of `metrics.METRICS` by name.

    Args:
        answers: The rows.
        bootstrap: Draws of their row groups.
    """
    metrics = {name: build(answers.y, answers.proba) for name, build in METRICS.items()}
    plain = [name for name in METRICS if name not in _CALIBRATION]

    def all_plain(weights: Floats) -> Floats:
        return np.column_stack([metrics[name](weights) for name in plain])

    intervals = dict(zip(plain, bootstrap.intervals(all_plain), strict=True))
    intervals["accuracy"] = _with_ends(intervals["accuracy"], answers.right, answers.n_groups)
    for name in _CALIBRATION:
        intervals[name] = ece_interval(answers.y, answers.proba, bootstrap, adaptive=name == "ece_adaptive")
    return {
        name: Score(
            name=name,
            interval=intervals[name],
            plug_in=float(metrics[name].estimate) if name in _CALIBRATION else None,
            lower_is_better=name in LOWER_IS_BETTER,
        )
        for name in METRICS
    }


def _with_ends(interval: Interval, right: NDArray[np.bool_], n_groups: int) -> Interval:
    """Wilson's interval over row groups where all rows are right, or none: the bootstrap gives no ends then."""
    if interval.has_ends:
        return interval
    return wilson(n_groups if right.all() else 0, n_groups)
