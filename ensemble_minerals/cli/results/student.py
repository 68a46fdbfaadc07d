"""Prints the figures of a student."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

from ensemble_minerals.cli.console import say
from ensemble_minerals.cli.tables import Column, decimal, table
from ensemble_minerals.system.durations import format_duration

if TYPE_CHECKING:
    from ensemble_minerals.workflows.distill import DistillResult


def show_student(where: Console, result: DistillResult) -> None:
    """Print the figures of a student beside its teacher's, its size and its speed."""
    student, teacher = result.metrics["oof"], result.metrics["teacher"]
    scores = {"accuracy": "accuracy", "log-loss": "log_loss", "calibration error": "ece"}
    table(
        where,
        f"Out-of-fold figures of {student['n']} photos",
        [Column(""), *(Column(name, number=True) for name in scores)],
        [
            ("teacher", *(decimal(teacher[key]) for key in scores.values())),
            ("STUDENT", *(decimal(student[key]) for key in scores.values())),
        ],
        last_apart=True,
    )
    say(where)
    say(
        where,
        f"{result.metrics['megabytes']:.1f} MB, {result.metrics['predict_ms']:.0f} ms a photo on one core. "
        f"Took {format_duration(result.metrics['seconds'])}.",
    )
