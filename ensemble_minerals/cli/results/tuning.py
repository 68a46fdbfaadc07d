"""Prints what a tuning found and gained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

from ensemble_minerals.cli.console import say
from ensemble_minerals.cli.results.comparison import score_rows
from ensemble_minerals.cli.results.remarks import warn_synthetic
from ensemble_minerals.cli.tables import Column, table
from ensemble_minerals.system.durations import format_duration

if TYPE_CHECKING:
    from ensemble_minerals.workflows.tune import TuneResult


def show_tuning(where: Console, result: TuneResult, *, synthetic: bool) -> None:
    """Print both configurations' scores on rows that the search never saw, and what changed."""
    if synthetic:
        warn_synthetic(where)
    report = result.report
    paired, changes = report.tuning.paired, report.changes
    numbers = [
        Column(title, number=True) for title in ("first", "tuned", "tuned minus first (95 % interval)", "p")
    ]
    table(
        where,
        f"{paired.n:,} photos that the searches of {len(report.tuning.of_folds)} outer folds never saw",
        [Column("score"), *numbers],
        score_rows(paired),
    )
    if changes:
        table(
            where,
            f"The best of {len(report.tuning.whole.trials)} configurations",
            [Column("part"), Column("first"), Column("tuned")],
            changes,
        )
    say(where)
    say(where, f"{report.title}.")
    for sentence in report.sentences():
        say(where, sentence)
    say(
        where,
        f"The search itself believes in {report.claimed:.3f} less log-loss: it chose by that figure, which flatters.",
    )
    say(where, f"Took {format_duration(result.seconds)}.")
