"""One ensemble, measured in several ways: what is told apart is how much a test photo shares with the training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.evaluation.answers import Answers
from ensemble_minerals.evaluation.intervals import GroupBootstrap, Interval
from ensemble_minerals.evaluation.metrics import weighted_metric
from ensemble_minerals.evaluation.score_table import score_table

SplitKind = Literal["random", "objects_together", "test", "test_without_twins", "another_source"]
"""Ways to measure.

``random``: photos of one object on both sides. ``objects_together``: never. ``test``: the part that the user named or
that was drawn; ``test_without_twins``: of it the photos whose object is not in the training part.
``another_source``: other photos than those of the fit.
"""


@dataclass(frozen=True)
class SplitFigure:
    """The accuracy that one way to measure gives.

    Attributes:
        kind: The way.
        n: Photos; 0 where there is no figure.
        accuracy: With its interval, where it is known; all NaN where there is no figure.
        reason: Why there is none; else empty.
    """

    kind: SplitKind
    n: int
    accuracy: Interval
    reason: str = ""


@dataclass(frozen=True)
class SplitFigures:
    """What the ways to measure give.

    Attributes:
        figures: One a way, the most flattering first.
        flattery: Accuracy of the random split minus that of objects kept together, paired; None where there is no
            random split.
        twins: Accuracy of the whole test part minus that of its photos without a twin in the training part; None
            where there is no such difference.
    """

    figures: tuple[SplitFigure, ...]
    flattery: Interval | None = None
    twins: Interval | None = None


def split_figures(
    own: Answers,
    metrics: Mapping[str, Any],
    random_proba: NDArray[np.float64] | None,
    why_no_random: str,
    other: Answers | None,
    *,
    seed: int,
) -> SplitFigures:
    """Collect what is known of an ensemble.

    Args:
        own: The out-of-fold answers of the fit.
        metrics: Of the fit.
        random_proba: Answers to the same rows in a random split, (n, K); None where there is none.
        why_no_random: The reason of that.
        other: Answers to photos of another source; None where there are none.
        seed: Of the bootstrap.
    """
    bootstrap = GroupBootstrap(own.groups, seed=seed)
    together = score_table(own, bootstrap)["accuracy"].interval
    random, flattery = _missing("random", why_no_random), None
    if random_proba is not None:
        metric = weighted_metric("accuracy", own.y, random_proba)
        random = SplitFigure("random", len(own), bootstrap.interval(metric))
        flattery = bootstrap.interval(metric, minus=weighted_metric("accuracy", own.y, own.proba))
    figures = [random, SplitFigure("objects_together", len(own), together), *_test_part(metrics)]
    if other is None:
        figures.append(_missing("another_source", "give labeled photos of another source with --data"))
    else:
        accuracy = score_table(other, GroupBootstrap(other.groups, seed=seed))["accuracy"].interval
        figures.append(SplitFigure("another_source", len(other), accuracy))
    twins = metrics.get("test_twins", {}).get("difference")
    return SplitFigures(tuple(figures), flattery, None if twins is None else Interval.read(twins))


def _test_part(metrics: Mapping[str, Any]) -> list[SplitFigure]:
    """Figures of the test part, where the fit had one."""
    figures = []
    if "test" in metrics:
        interval = metrics.get("test_twins", {}).get("accuracy")
        accuracy = _without_ends(metrics["test"]) if interval is None else Interval.read(interval)
        figures.append(SplitFigure("test", metrics["test"]["n"], accuracy))
    if "test_without_twins" in metrics:
        scores = metrics["test_without_twins"]
        figures.append(SplitFigure("test_without_twins", scores["n"], _without_ends(scores)))
    return figures


def _without_ends(scores: Mapping[str, Any]) -> Interval:
    return Interval(scores["accuracy"], float("nan"), float("nan"))


def _missing(kind: SplitKind, reason: str) -> SplitFigure:
    return SplitFigure(kind, 0, Interval(float("nan"), float("nan"), float("nan")), reason)
