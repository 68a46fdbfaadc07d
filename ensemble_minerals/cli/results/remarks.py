"""Remarks that the results of several commands share."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from ensemble_minerals.cli.console import say
from ensemble_minerals.cli.tables import Column, first_rows


def warn_synthetic(where: Console) -> None:
    """Say that figures are those of the demonstration set."""
    say(where)
    say(
        where,
        "SYNTHETIC: figures of the demonstration set, which is drawn by code; they say nothing of real minerals.",
        "bold yellow",
    )


def show_unreadable(where: Console, rows: Sequence[tuple[object, object]]) -> None:
    """Print files that could not be read, and why.

    Args:
        where: Terminal or file.
        rows: Path and reason of each.
    """
    first_rows(where, "Could not be read", [Column("file"), Column("reason")], rows)
