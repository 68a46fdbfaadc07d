"""The table of an ablation: flat rows for CSV, and Markdown for a paper."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from ensemble_minerals.ablation.comparison import COMPARED, TESTED, ArmResult, Comparison, PairedComparison
from ensemble_minerals.ablation.header import AblationHeader
from ensemble_minerals.ablation.wording import AblationFindings
from ensemble_minerals.evaluation.intervals import Interval
from ensemble_minerals.evaluation.metrics import jsonable
from ensemble_minerals.reports.wording import p_value, show, span
from ensemble_minerals.system.foreign_text import markdown as as_markdown

_NOTHING = Interval(math.nan, math.nan, math.nan)

_COLUMNS = (
    ("arm", False),
    ("accuracy", True),
    ("full minus arm, points (95 % interval)", True),
    ("p", True),
    ("", False),
    ("log-loss", True),
    ("full minus arm (95 % interval)", True),
    ("p", True),
    ("", False),
    ("balanced accuracy", True),
    ("macro F1", True),
    ("calibration error", True),
    ("fit s", True),
    ("ms a photo", True),
    ("MB", True),
)


def flat_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """One row an arm; cells that an arm does not have are None.

    Args:
        comparison: Of `compare_arms`.
    """
    return [_flat(result) for result in comparison.arms]


def _flat(result: ArmResult) -> dict[str, Any]:
    arm, paired = result.arm, result.paired
    row: dict[str, Any] = {
        "name": arm.name,
        "kind": arm.kind,
        "title": arm.title,
        "description": arm.description,
        "members": "; ".join(arm.members),
        **result.scores,
        **asdict(result.cost),
    }
    for score in COMPARED:
        row[f"{score}_difference"] = jsonable(_NOTHING if paired is None else paired.difference[score])
    for score in TESTED:
        row[f"{score}_p"] = None if paired is None else paired.p[score]
        row[f"{score}_p_holm"] = None if paired is None else paired.p_holm.get(score)
        row[f"{score}_verdict"] = None if paired is None else paired.verdict.get(score)
    return row


def markdown(header: AblationHeader, comparison: Comparison, findings: AblationFindings) -> str:
    """The table for a paper, what the data can resolve above it, and how it was tested below.

    Args:
        header: What was measured on what.
        comparison: Of `compare_arms`.
        findings: The comparison in words.
    """
    lines = [
        f"**{findings.title}.** {findings.resolution}",
        "",
        _line([name for name, _ in _COLUMNS]),
        _line(["---:" if number else "---" for _, number in _COLUMNS]),
        *(_line(_cells(result)) for result in comparison.arms if result.arm.kind != "protocol"),
        "",
        f"{as_markdown(header.data)}: {comparison.n:,} photos in {comparison.row_groups:,} row groups, "
        f"{len(comparison.classes)} classes; {_times(comparison.repeats, 'outer cross-validation')} of "
        f"{comparison.folds} folds, {header.inner_folds} inner folds, seed {header.seed}. Every choice is "
        "made inside the outer training rows. Intervals: bootstrap over row groups, paired. p: McNemar's exact test "
        "over row groups (accuracy) and the Nadeau-Bengio corrected t test over folds (log-loss), both "
        f"adjusted by Holm for {comparison.family} comparisons. Times on this machine, without decoding.",
    ]
    if findings.rejection:
        lines += ["", findings.rejection]
    if findings.leak:
        lines += ["", f"Not a model: {findings.leak}"]
    return "\n".join(lines) + "\n"


def _cells(result: ArmResult) -> list[str]:
    scores, cost, title = result.scores, result.cost, as_markdown(result.arm.title)
    return [
        f"**{title}**" if result.paired is None else title,
        show(scores["accuracy"], "percent"),
        *_difference(result.paired, "accuracy", "points"),
        show(scores["log_loss"], "decimal"),
        *_difference(result.paired, "log_loss", "signed"),
        show(scores["balanced_accuracy"], "percent"),
        show(scores["macro_f1"], "decimal"),
        show(scores["ece"], "decimal"),
        show(cost.fit_seconds, "one"),
        show(cost.predict_ms, "one"),
        show(cost.megabytes, "one"),
    ]


def _difference(paired: PairedComparison | None, score: str, kind: str) -> list[str]:
    """Effect, p-value and verdict; empty cells for the full ensemble."""
    if paired is None:
        return ["", "", ""]
    interval, found = paired.difference[score], paired.outcome(score)
    words = {"better": "significant", "worse": "significant", "same": "the same answers"}
    return [
        f"{show(interval.estimate, kind)} ({span(interval, kind)})",
        p_value(paired.p_holm[score], short=True),
        words.get(found, found),
    ]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _times(number: int, what: str) -> str:
    return f"one {what}" if number == 1 else f"{number} {what}s"
