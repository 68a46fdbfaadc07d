"""Prints what one bundle gains over another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

from ensemble_minerals.cli.console import say
from ensemble_minerals.cli.tables import FEW, Column, table

if TYPE_CHECKING:
    from ensemble_minerals.evaluation.intervals import Interval
    from ensemble_minerals.evaluation.paired import PairedScores
    from ensemble_minerals.workflows.compare import BundleComparison

_TITLES = {
    "accuracy": ("accuracy", "percent", "points"),
    "balanced_accuracy": ("balanced accuracy", "percent", "points"),
    "macro_f1": ("macro F1", "percent", "points"),
    "log_loss": ("log-loss", "decimal", "signed"),
    "ece": ("calibration error", "decimal", "signed"),
}
"""Of each score: its title, and how its values and differences are printed."""


def show_comparison(where: Console, result: BundleComparison) -> None:
    """Print the scores of both, what changed for each class, and the photos where the label lost most."""
    from ensemble_minerals.reports.wording import p_value, show

    rows = score_rows(result.paired)
    numbers = [Column(heading, number=True) for heading in ("A", "B", "B minus A (95 % interval)", "p")]
    say(where, f"A  {result.first}")
    say(where, f"B  {result.second}")
    table(where, f"On the {result.source}" if result.source.startswith("out") else f"By {result.source}",
          [Column("score"), *numbers], rows)  # fmt: skip
    classes = sorted(result.paired.classes, key=lambda change: change.difference.estimate)
    table(
        where,
        "Photos of each class answered right; what lost most first",
        [Column("class"), Column("photos", number=True), *numbers[:3],
         Column("mended", number=True), Column("broken", number=True), Column("corrected p", number=True)],
        [
            (
                change.name,
                change.n,
                show(change.first, "percent"),
                show(change.second, "percent"),
                _difference(change.difference, "points"),
                change.mended,
                change.broken,
                p_value(change.p, short=True),
            )
            for change in classes
        ],
    )  # fmt: skip
    if result.changed:
        table(
            where,
            f"{len(result.changed)} photos have another answer; those where the label lost most",
            [Column("photo"), Column("label"), Column("A"), Column("B")],
            [(photo.path, photo.given, photo.first, photo.second) for photo in result.changed[:FEW]],
        )
    say(where)
    say(where, _why(result))
    for note in result.notes:
        say(where, f"Note: {note}")


def score_rows(paired: PairedScores) -> list[tuple[str, ...]]:
    """Rows of a table: score, first, second, their difference with its interval, and p."""
    from ensemble_minerals.reports.wording import p_value, show

    rows: list[tuple[str, ...]] = []
    for name, (title, plain, signed) in _TITLES.items():
        score = paired.scores[name]
        p = "" if score.p is None else p_value(score.p, short=True)
        values = show(score.first, plain), show(score.second, plain)
        rows.append((title, *values, _difference(score.difference, signed), p))
    return rows


def _difference(difference: Interval, kind: str) -> str:
    from ensemble_minerals.reports.wording import show

    return (
        f"{show(difference.estimate, kind)} ({show(difference.low, kind)} to {show(difference.high, kind)})"
    )


def _why(result: BundleComparison) -> str:
    """Accuracy in a sentence; where interval and test of a score disagree, why that can be."""
    from ensemble_minerals.evaluation.significance import doubt, verdict

    accuracy = result.paired.scores["accuracy"]
    p = 1.0 if accuracy.p is None else accuracy.p
    words = verdict(accuracy.difference, p, first="B", second="A")
    for name, test in (("accuracy", "exact"), ("log_loss", "signs")):
        score = result.paired.scores[name]
        why = "" if score.p is None else doubt(score.difference, score.p, test)
        if why:
            words += (
                f" The interval of {_TITLES[name][0]} leaves 0 out and its test is not significant: {why}."
            )
    return words
