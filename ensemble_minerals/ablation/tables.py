"""The table of an ablation: flat rows for CSV, and Markdown for a paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ensemble_minerals.ablation.arms import FULL
from ensemble_minerals.ablation.wording import outcome, p_value
from ensemble_minerals.evaluation.intervals import Interval
from ensemble_minerals.reports.wording import show, span

Row = Mapping[str, Any]

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
    ("ECE", True),
    ("fit s", True),
    ("ms a photo", True),
    ("MB", True),
)


def flat_rows(comparison: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row an arm; cells that an arm does not have are None.

    Args:
        comparison: Of `comparison.compare_arms`.
    """
    return [_flat(arm) for arm in comparison["arms"]]


def _flat(arm: Row) -> dict[str, Any]:
    nothing = {"estimate": None, "low": None, "high": None}
    row: dict[str, Any] = {name: arm[name] for name in ("name", "kind", "title", "description")}
    row["members"] = "; ".join(arm["members"])
    row |= arm["scores"]
    row |= {name: arm["cost"][name] for name in ("fit_seconds", "predict_ms", "megabytes")}
    for score in ("accuracy", "balanced_accuracy", "macro_f1", "log_loss"):
        row[f"{score}_difference"] = arm.get("difference", {}).get(score, nothing)
    for score in ("accuracy", "log_loss"):
        row[f"{score}_p"] = arm.get("p", {}).get(score)
        row[f"{score}_p_holm"] = arm.get("p_holm", {}).get(score)
        row[f"{score}_verdict"] = arm.get("verdict", {}).get(score)
    return row


def markdown(ablation: Mapping[str, Any]) -> str:
    """The table for a paper, what the data can resolve above it, and how it was tested below.

    Args:
        ablation: A comparison with its ``header`` and ``findings``.
    """
    header = ablation["header"]
    lines = [
        f"**{ablation['findings']['title']}.** {ablation['findings']['resolution']}",
        "",
        _line([name for name, _ in _COLUMNS]),
        _line(["---:" if number else "---" for _, number in _COLUMNS]),
        *(_line(_cells(arm)) for arm in ablation["arms"] if arm["kind"] != "protocol"),
        "",
        f"{header['data']}: {ablation['n']:,} photos in {ablation['row_groups']:,} row groups, "
        f"{len(ablation['classes'])} classes; {_times(ablation['repeats'], 'outer cross-validation')} of "
        f"{ablation['folds']} folds, {header['inner_folds']} inner folds, seed {header['seed']}. Every choice is "
        "made inside the outer training rows. Intervals: bootstrap over row groups, paired. p: McNemar's exact test "
        "over row groups (accuracy) and the Nadeau-Bengio corrected t test over folds (log-loss), both "
        f"adjusted by Holm for {ablation['family']} comparisons. Times on this machine, without decoding.",
    ]
    if ablation["findings"]["leak"]:
        lines += ["", f"Not a model: {ablation['findings']['leak']}"]
    return "\n".join(lines) + "\n"


def _cells(arm: Row) -> list[str]:
    scores, cost = arm["scores"], arm["cost"]
    title = f"**{arm['title']}**" if arm["name"] == FULL else arm["title"]
    return [
        title.replace("|", "\\|"),
        show(scores["accuracy"], "percent"),
        *_difference(arm, "accuracy", "points"),
        show(scores["log_loss"], "decimal"),
        *_difference(arm, "log_loss", "signed"),
        show(scores["balanced_accuracy"], "percent"),
        show(scores["macro_f1"], "decimal"),
        show(scores["ece"], "decimal"),
        show(cost["fit_seconds"], "one"),
        show(cost["predict_ms"], "one"),
        show(cost["megabytes"], "one"),
    ]


def _difference(arm: Row, score: str, kind: str) -> list[str]:
    """Effect, p-value and verdict."""
    if arm["name"] == FULL:
        return ["", "", ""]
    interval, found = arm["difference"][score], outcome(arm, score)
    words = {"better": "significant", "worse": "significant", "same": "the same answers"}
    return [
        f"{show(interval['estimate'], kind)} ({span(Interval.read(interval), kind)})",
        p_value(arm["p_holm"][score], short=True),
        words.get(found, found),
    ]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _times(number: int, what: str) -> str:
    return f"one {what}" if number == 1 else f"{number} {what}s"
