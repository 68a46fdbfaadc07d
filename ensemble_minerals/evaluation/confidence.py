"""How reliable stated probabilities are, what abstention brings, and whether prediction sets hold the true class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ensemble_minerals.ensemble.conformal import (
    ConformalSets,
    groups_needed,
    leave_one_out_sets,
    set_coverage,
)
from ensemble_minerals.evaluation.answers import Answers
from ensemble_minerals.evaluation.curves import ReliabilityBins, reliability, risk_coverage
from ensemble_minerals.evaluation.intervals import Interval, wilson
from ensemble_minerals.evaluation.metrics import Floats

ERROR_LIMITS = (0.01, 0.02, 0.05)
"""Shares of wrong answers that one may accept."""

LEVELS = (0.90, 0.95)
"""How often a prediction set shall hold the true class."""

MOST_POINTS = 400
"""Points of the risk-coverage curve that are kept; more look the same."""


@dataclass(frozen=True)
class ReliabilityBin:
    """Photos whose stated probability lies between two edges.

    Attributes:
        start: Lower edge.
        end: Upper edge, which belongs to the bin.
        count: Photos; at least one.
        stated: Mean stated probability.
        observed: How often it came true, with Wilson's interval.
    """

    start: float
    end: float
    count: int
    stated: float
    observed: Interval


@dataclass(frozen=True)
class ReliabilityCurve:
    """Stated against observed frequency.

    Attributes:
        error: Expected calibration error.
        bins: Those that hold photos.
    """

    error: float
    bins: tuple[ReliabilityBin, ...]


@dataclass(frozen=True)
class Reliability:
    """The reliability of all answers, and of each class.

    Attributes:
        temperature: Of the final ensemble; None if not known.
        confidence: Mean probability of the answers.
        accuracy: Share of right answers.
        after: Of the answers, with the temperature.
        before: The same without the temperature; None where that is not known.
        by_class: For each class, its probability against its presence, in ten bins.
    """

    temperature: float | None
    confidence: float
    accuracy: float
    after: ReliabilityCurve
    before: ReliabilityCurve | None
    by_class: Mapping[str, ReliabilityCurve]


def assess_reliability(answers: Answers, temperature: float | None) -> Reliability:
    """Compare stated with observed frequencies.

    Args:
        answers: The rows.
        temperature: Of the final ensemble; passed on.
    """
    y, proba = answers.y, answers.proba
    before = answers.uncalibrated
    return Reliability(
        temperature=temperature,
        confidence=float(proba.max(axis=1).mean()),
        accuracy=float(answers.right.mean()),
        after=_curve(reliability(y, proba)),
        before=None if before is None else _curve(reliability(y, before)),
        by_class={
            name: _curve(reliability(y, proba, of_class=k, n_bins=10))
            for k, name in enumerate(answers.classes)
        },
    )


def _curve(diagram: ReliabilityBins) -> ReliabilityCurve:
    bins = []
    for k in np.flatnonzero(diagram.count):
        count = int(diagram.count[k])
        bins.append(
            ReliabilityBin(
                start=float(diagram.edges[k]),
                end=float(diagram.edges[k + 1]),
                count=count,
                stated=min(float(diagram.confidence[k]), 1.0),
                observed=wilson(round(float(diagram.frequency[k]) * count), count),
            )
        )
    return ReliabilityCurve(diagram.error, tuple(bins))


@dataclass(frozen=True)
class AbstentionLimit:
    """How many photos can be answered if a share of errors is accepted.

    Attributes:
        error: The accepted share of wrong answers.
        coverage: The largest share of photos that can be answered.
        answered: The same as a number of photos.
        threshold: The confidence from which on a photo is answered; None if none can be.
    """

    error: float
    coverage: float
    answered: int
    threshold: float | None


@dataclass(frozen=True, eq=False)
class RiskCurve:
    """Errors among the answered photos, when only the surest are answered.

    Attributes:
        coverage: (m,) share of answered photos, rising to 1.
        risk: (m,) share of wrong answers among them.
    """

    coverage: Floats
    risk: Floats


@dataclass(frozen=True, eq=False)
class Abstention:
    """How many errors are avoided when the doubtful photos are left to a person.

    Attributes:
        aurc: Area under the risk-coverage curve.
        error: Share of wrong answers when all photos are answered.
        limits: One for each of `ERROR_LIMITS`.
        curve: Thinned to `MOST_POINTS`.
    """

    aurc: float
    error: float
    limits: tuple[AbstentionLimit, ...]
    curve: RiskCurve

    def limit(self, error: float) -> AbstentionLimit:
        """The limit for an accepted share of errors, one of `ERROR_LIMITS`."""
        return next(limit for limit in self.limits if limit.error == error)


def assess_abstention(answers: Answers) -> Abstention:
    """Find how many photos can be answered at which share of errors."""
    whole = risk_coverage(answers.y, answers.proba)
    kept = np.unique(np.linspace(0, len(whole.coverage) - 1, MOST_POINTS).astype(int))
    limits = []
    for error in ERROR_LIMITS:
        coverage, threshold = whole.at_risk(error)
        limits.append(
            AbstentionLimit(
                error=error,
                coverage=coverage,
                answered=round(coverage * len(answers)),
                threshold=min(threshold, 1.0) if np.isfinite(threshold) else None,
            )
        )
    return Abstention(
        aurc=whole.aurc,
        error=float(whole.risk[-1]),
        limits=tuple(limits),
        curve=RiskCurve(whole.coverage[kept], whole.risk[kept]),
    )


@dataclass(frozen=True)
class ClassCoverage:
    """How often the prediction sets of a class's photos hold it.

    Attributes:
        name: Of the class.
        support: Its photos.
        coverage: Share of sets that hold it, with Wilson's interval.
        mean_size: Mean number of classes in a set; None without photos.
    """

    name: str
    support: int
    coverage: Interval
    mean_size: float | None


@dataclass(frozen=True)
class SetLevel:
    """Prediction sets that shall hold the true class at one level.

    Attributes:
        level: How often they shall.
        coverage: How often they do, with Wilson's interval.
        mean_size: Mean number of classes in a set.
        sizes: Number of sets with 0, 1, ... K classes.
        by_class: The same for each class.
        groups_needed: Row groups that a class needs to be ruled out.
        never_ruled_out: Names of the classes with fewer.
    """

    level: float
    coverage: Interval
    mean_size: float
    sizes: tuple[int, ...]
    by_class: tuple[ClassCoverage, ...]
    groups_needed: int
    never_ruled_out: tuple[str, ...]


@dataclass(frozen=True)
class PredictionSets:
    """Conformal prediction sets, and whether they hold what they state.

    Attributes:
        levels: One for each of `LEVELS`.
    """

    levels: tuple[SetLevel, ...]


def assess_sets(answers: Answers, calibration: Answers | None = None) -> PredictionSets:
    """Score conformal prediction sets.

    Args:
        answers: The rows to score.
        calibration: Rows to calibrate on, which were answered out of fold, as for `predict`; by default those of
            `answers` outside the row's own group.
    """
    return PredictionSets(tuple(_set_level(answers, calibration, level) for level in LEVELS))


def _set_level(answers: Answers, calibration: Answers | None, level: float) -> SetLevel:
    y, known = answers.y, answers if calibration is None else calibration
    fitted = ConformalSets().fit(known.y, known.proba, known.groups)
    if calibration is None:
        sets = leave_one_out_sets(y, answers.proba, level=level, groups=answers.groups)
    else:
        sets = fitted.predict(answers.proba, level)
    scored, size = set_coverage(y, sets, level=level), sets.sum(axis=1)
    return SetLevel(
        level=level,
        coverage=wilson(round(scored.coverage * len(y)), len(y)),
        mean_size=scored.mean_size,
        sizes=tuple(int(count) for count in scored.sizes),
        by_class=tuple(
            ClassCoverage(
                name=name,
                support=int(n),
                coverage=wilson(round(float(share) * int(n)) if n else 0, int(n)),
                mean_size=float(size[y == k].mean()) if n else None,
            )
            for k, (name, n, share) in enumerate(
                zip(answers.classes, scored.support, scored.by_class, strict=True)
            )
        ),
        groups_needed=groups_needed(level),
        never_ruled_out=tuple(answers.classes[k] for k in fitted.never_ruled_out(level)),
    )
