"""What a stated probability is worth: reliability, abstaining, and conformal prediction sets."""

from __future__ import annotations

from typing import Any

import numpy as np

from ensemble_minerals.ensemble.conformal import ConformalSets, cross_fitted_sets, set_coverage
from ensemble_minerals.evaluation.answers import Answers
from ensemble_minerals.evaluation.curves import ReliabilityBins, reliability, risk_coverage
from ensemble_minerals.evaluation.intervals import wilson

ERROR_LIMITS = (0.01, 0.02, 0.05)
LEVELS = (0.90, 0.95)
MOST_POINTS = 400
"""Points of the risk-coverage curve that are kept; the eye cannot tell more apart."""


def reliability_section(answers: Answers, temperature: float | None) -> dict[str, Any]:
    """Stated against observed frequency, of the answer and of each class.

    Args:
        answers: The rows.
        temperature: Of the final ensemble, carried along.

    Returns:
        ``after`` and ``before`` the temperature (None where that is not known), ``by_class`` with ten bins each,
        and by how much the mean ``confidence`` lies above the ``accuracy``.
    """
    y, proba = answers.y, answers.proba
    before = answers.uncalibrated
    return {
        "temperature": temperature,
        "confidence": float(proba.max(axis=1).mean()),
        "accuracy": float(answers.right.mean()),
        "after": _bins(reliability(y, proba)),
        "before": None if before is None else _bins(reliability(y, before)),
        "by_class": [
            {"name": name, **_bins(reliability(y, proba, of_class=k, n_bins=10))}
            for k, name in enumerate(answers.classes)
        ],
    }


def _bins(found: ReliabilityBins) -> dict[str, Any]:
    """Bins that hold rows, each observed frequency with Wilson's interval."""
    bins = []
    for k in np.flatnonzero(found.count):
        count = int(found.count[k])
        observed = wilson(round(float(found.frequency[k]) * count), count)
        bins.append(
            {
                "from": float(found.edges[k]),
                "to": float(found.edges[k + 1]),
                "count": count,
                "stated": min(float(found.confidence[k]), 1.0),
                "observed": observed,
            }
        )
    return {"error": found.error, "bins": bins}


def abstention_section(answers: Answers) -> dict[str, Any]:
    """What leaving the doubtful photos to a person buys.

    Args:
        answers: The rows.

    Returns:
        The risk-coverage ``curve`` thinned to `MOST_POINTS`, its area ``aurc``, and for each accepted error the
        largest ``coverage``, its count ``answered`` and the ``threshold`` of confidence (None if there is none).
    """
    found = risk_coverage(answers.y, answers.proba)
    kept = np.unique(np.linspace(0, len(found.coverage) - 1, MOST_POINTS).astype(int))
    limits = []
    for limit in ERROR_LIMITS:
        coverage, threshold = found.at_risk(limit)
        limits.append(
            {
                "error": limit,
                "coverage": coverage,
                "answered": round(coverage * len(answers)),
                "threshold": min(threshold, 1.0) if np.isfinite(threshold) else None,
            }
        )
    return {
        "aurc": found.aurc,
        "error": float(found.risk[-1]),
        "limits": limits,
        "curve": {"coverage": found.coverage[kept], "risk": found.risk[kept]},
    }


def sets_section(answers: Answers, calibration: Answers | None = None) -> dict[str, Any]:
    """Conformal prediction sets and whether they hold what they state.

    Args:
        answers: The rows to score.
        calibration: Rows to calibrate on; by default those of `answers` outside the row's own fold.

    Returns:
        ``levels`` with coverage (Wilson), mean size and number of sets by size, overall and by class; empty with
        a ``reason`` where there is only one fold.
    """
    if calibration is None and len(np.unique(answers.folds)) < 2:
        return {"levels": [], "reason": "Sets are calibrated on other folds, and all rows are of one fold."}
    return {"levels": [_level(answers, calibration, level) for level in LEVELS], "reason": None}


def _level(answers: Answers, calibration: Answers | None, level: float) -> dict[str, Any]:
    y = answers.y
    if calibration is None:
        sets = cross_fitted_sets(y, answers.proba, answers.folds, level=level, groups=answers.groups)
    else:
        fitted = ConformalSets().fit(calibration.y, calibration.proba, calibration.groups)
        sets = fitted.predict(answers.proba, level)
    scored, size = set_coverage(y, sets, level=level), sets.sum(axis=1)
    return {
        "level": level,
        "coverage": wilson(round(scored.coverage * len(y)), len(y)),
        "mean_size": scored.mean_size,
        "sizes": scored.sizes,
        "by_class": [
            {
                "name": name,
                "support": int(n),
                "coverage": wilson(round(float(share) * int(n)) if n else 0, int(n)),
                "mean_size": float(size[y == k].mean()) if n else None,
            }
            for k, (name, n, share) in enumerate(
                zip(answers.classes, scored.support, scored.by_class, strict=True)
            )
        ],
    }
