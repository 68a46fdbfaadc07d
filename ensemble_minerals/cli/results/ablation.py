"""Prints the arms of an ablation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

from ensemble_minerals.cli.console import say
from ensemble_minerals.cli.results.remarks import warn_synthetic
from ensemble_minerals.cli.tables import Column, table
from ensemble_minerals.system.durations import format_duration

if TYPE_CHECKING:
    from ensemble_minerals.ablation.comparison import PairedComparison
    from ensemble_minerals.workflows.ablate import AblationResult


def show_ablation(where: Console, result: AblationResult, *, synthetic: bool) -> None:
    """Print every arm, effect first and p second, then the findings."""
    from ensemble_minerals.reports.wording import show

    if synthetic:
        warn_synthetic(where)
    comparison, findings = result.report.comparison, result.report.findings
    rows = []
    for arm in comparison.arms:
        difference = arm.paired and arm.paired.difference
        rows.append(
            (
                arm.arm.title,
                show(arm.scores["accuracy"], "percent"),
                difference and show(difference["accuracy"].estimate, "points"),
                _verdict(arm.paired, "accuracy"),
                show(arm.scores["log_loss"], "decimal"),
                difference and show(difference["log_loss"].estimate, "signed"),
                _verdict(arm.paired, "log_loss"),
            )
        )
    table(
        where,
        f"{comparison.n} photos, each answered out of its outer fold",
        [
            Column("arm"),
            Column("accuracy", number=True),
            Column("full minus arm", number=True),
            Column("corrected p"),
            Column("log-loss", number=True),
            Column("full minus arm", number=True),
            Column("corrected p"),
        ],
        rows,
    )
    for sentence in (
        f"{findings.title}.",
        findings.resolution,
        *findings.gain,
        f"{findings.ingredients.title}.",
        findings.rejection,
    ):
        if sentence:
            say(where)
            say(where, sentence)
    say(where, f"Took {format_duration(result.seconds)}.")


def _verdict(paired: PairedComparison | None, score: str) -> str:
    if paired is None:
        return ""
    if score not in paired.p_holm:
        return "no model"
    from ensemble_minerals.reports.wording import p_value

    if paired.outcome(score) == "same":
        return "the same answers"
    p = p_value(paired.p_holm[score], short=True)
    return f"{p} {'significant' if paired.is_significant(score) else 'not significant'}"
