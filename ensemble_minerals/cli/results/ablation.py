"""Prints the arms of an ablation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console

from ensemble_minerals.cli.console import say
from ensemble_minerals.cli.results.remarks import warn_synthetic
from ensemble_minerals.cli.tables import Column, table
from ensemble_minerals.system.durations import format_duration

if TYPE_CHECKING:
    from ensemble_minerals.workflows.ablate import AblationResult


def show_ablation(where: Console, result: AblationResult, *, synthetic: bool) -> None:
    """Print every arm, effect first and p second, then the findings."""
    from ensemble_minerals.reports.wording import show

    if synthetic:
        warn_synthetic(where)
    ablation = result.ablation
    rows = []
    for arm in ablation["arms"]:
        difference = arm.get("difference")
        rows.append(
            (
                arm["title"],
                show(arm["scores"]["accuracy"], "percent"),
                difference and show(difference["accuracy"]["estimate"], "points"),
                _verdict(arm, "accuracy"),
                show(arm["scores"]["log_loss"], "decimal"),
                difference and show(difference["log_loss"]["estimate"], "signed"),
                _verdict(arm, "log_loss"),
            )
        )
    table(
        where,
        f"{ablation['n']} photos, each answered out of its outer fold",
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
    findings = ablation["findings"]
    for sentence in (
        f"{findings['title']}.",
        findings["resolution"],
        *findings["gain"],
        f"{findings['ingredients']['title']}.",
    ):
        say(where)
        say(where, sentence)
    say(where, f"Took {format_duration(result.seconds)}.")


def _verdict(arm: Mapping[str, Any], score: str) -> str:
    if score not in arm.get("p_holm", {}):
        return "" if "difference" not in arm else "no model"
    from ensemble_minerals.ablation.wording import outcome, p_value

    verdict = outcome(arm, score)
    if verdict == "same":
        return "the same answers"
    p = p_value(arm["p_holm"][score], short=True)
    return f"{p} {'significant' if verdict in ('better', 'worse') else 'not significant'}"
