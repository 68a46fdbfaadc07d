"""Where the ensemble fails and why: everything a report shows, as plain JSON values. Computes, draws nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.data.manifest import Manifest
from ensemble_minerals.ensemble.combination import Combination
from ensemble_minerals.evaluation.answers import Answers
from ensemble_minerals.evaluation.class_analysis import class_sheets, class_table
from ensemble_minerals.evaluation.confidence import abstention_section, reliability_section, sets_section
from ensemble_minerals.evaluation.intervals import GroupBootstrap, Interval, ece_interval, wilson
from ensemble_minerals.evaluation.leaderboard import member_weights, members_section
from ensemble_minerals.evaluation.metrics import LOWER_IS_BETTER, METRICS, Floats, jsonable
from ensemble_minerals.evaluation.mistakes import confused_pairs, confusion_section
from ensemble_minerals.evaluation.slices import Measures, slice_table, slicings
from ensemble_minerals.evaluation.suspects import files_section, label_section
from ensemble_minerals.evaluation.training_curves import Logs, finding, training_section
from ensemble_minerals.reports.wording import findings

FORMAT = 1
"""Of the JSON that `analyze` returns."""

_CALIBRATION = ("ece", "ece_adaptive")


@dataclass(frozen=True, eq=False)
class Circumstances:
    """What is known of an ensemble and its photos beside its answers.

    Attributes:
        header: JSON values that say what was measured on what; shown as they are.
        manifest: Of the photos, with row groups.
        measures: Of the answered rows, see `slices.slicings`.
        unmeasured: Why photos could not be looked at; None where they were.
        combination: Of the final ensemble.
        temperature: Of the final ensemble.
        costs: Of each member, see `leaderboard.members_section`.
        cost: Of all members together.
        learning_curve: Of `learning_curve.learning_curve`, None where the fit made none.
        logs: Epochs of trained networks, see `training_curves.training_section`; empty where none was trained.
        calibration: Rows to calibrate prediction sets on; the answered rows themselves, across folds, if None.
    """

    header: Mapping[str, Any]
    manifest: Manifest
    measures: Measures
    unmeasured: str | None
    combination: Combination
    temperature: float
    costs: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    cost: Mapping[str, float | None] = field(default_factory=dict)
    learning_curve: Mapping[str, Any] | None = None
    logs: Logs = field(default_factory=dict)
    calibration: Answers | None = None


def analyze(answers: Answers, known: Circumstances, *, seed: int = 0) -> dict[str, Any]:
    """Compute the whole report.

    Args:
        answers: Rows with known classes, answered by models that never saw them.
        known: What else is known.
        seed: Of the bootstrap.

    Returns:
        JSON values, one entry a section of the report; an interval is a mapping of ``estimate``, ``low``,
        ``high`` and ``level``; None stands where a number is not defined. ``findings`` heads each section.
    """
    bootstrap = GroupBootstrap(answers.groups, seed=seed)
    weights, meaning = member_weights(known.combination, len(answers.members))
    sections: dict[str, Any] = {
        "format": FORMAT,
        "header": dict(known.header),
        "scores": score_section(answers, bootstrap),
        "classes": class_table(answers, bootstrap),
        "confusion": confusion_section(answers),
        "pairs": confused_pairs(answers),
        "sheets": class_sheets(answers),
        "reliability": reliability_section(answers, known.temperature),
        "abstention": abstention_section(answers),
        "sets": sets_section(answers, known.calibration),
        "labels": label_section(answers),
        "files": files_section(known.manifest),
        "slices": {
            "unmeasured": known.unmeasured,
            "accuracy": float(answers.right.mean()),
            "rows": slice_table(answers.right, answers.y, answers.confusion, slicings(known.measures)),
        },
        "members": {
            **members_section(answers, bootstrap, weights=weights, costs=known.costs, cost=known.cost),
            "combination": known.combination.kind,
            "weights_mean": meaning,
        },
        "learning_curve": known.learning_curve,
        "training": training_section(known.logs),
    }
    plain: dict[str, Any] = jsonable(sections)
    plain["findings"] = findings(plain)
    if plain["training"]:
        plain["findings"]["training"] = finding(plain["training"])
    return plain


def score_section(answers: Answers, bootstrap: GroupBootstrap) -> list[dict[str, Any]]:
    """The scores of `metrics.METRICS`, each with an interval from a bootstrap over row groups.

    A calibration error is the one freed of what chance alone adds (`intervals.ece_interval`); the raw one, as in
    ``metrics.json``, is its ``plug_in``.

    Args:
        answers: The rows.
        bootstrap: Draws of their row groups.

    Returns:
        For each score its name, estimate and interval, and whether lower is better.
    """
    built = {name: make(answers.y, answers.proba) for name, make in METRICS.items()}
    plain = [name for name in METRICS if name not in _CALIBRATION]

    def together(weights: Floats) -> Floats:
        return np.column_stack([built[name](weights) for name in plain])

    found = dict(zip(plain, bootstrap.intervals(together), strict=True))
    found["accuracy"] = _known_ends(found["accuracy"], answers.right, answers.n_groups)
    for name in _CALIBRATION:
        found[name] = ece_interval(answers.y, answers.proba, bootstrap, adaptive=name == "ece_adaptive")
    return [
        {
            "name": name,
            **jsonable(found[name]),
            "plug_in": float(built[name].estimate) if name in _CALIBRATION else None,
            "lower_is_better": name in LOWER_IS_BETTER,
        }
        for name in METRICS
    ]


def _known_ends(interval: Interval, right: NDArray[np.bool_], n_groups: int) -> Interval:
    """Where all rows are right, or none, the bootstrap is silent; Wilson's interval over row groups is not."""
    if np.isfinite(interval.low):
        return interval
    return wilson(n_groups if right.all() else 0, n_groups, level=interval.level)
