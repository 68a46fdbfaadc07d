"""Prints answers."""

from __future__ import annotations

import numpy as np
from rich.console import Console

from ensemble_minerals.cli.console import say
from ensemble_minerals.cli.results.remarks import show_unreadable
from ensemble_minerals.cli.tables import FEW, Column, decimal, table
from ensemble_minerals.ensemble.rejection import IN_WORDS
from ensemble_minerals.prediction.table import Predictions
from ensemble_minerals.system.plural import counted, listed


def show_predictions(
    where: Console, predictions: Predictions, *, top_k: int = 1, synthetic: bool = False
) -> None:
    """Print a row for each of a few photos, or a summary by class of many, and what could not be read."""
    if synthetic:
        say(where)
        say(
            where,
            "SYNTHETIC: the bundle was trained on the demonstration set; it knows nothing of real minerals.",
            "bold yellow",
        )
    answered = np.flatnonzero(predictions.answered).tolist()
    many = len(predictions) > FEW
    if not many or top_k > 1 or predictions.sets is not None:
        _show_each(where, predictions, answered[:FEW], top_k)
        if len(answered) > FEW:
            say(where, f"... and {len(answered) - FEW:,} more; --out or --gallery shows all")
        if answered and predictions.not_asked:
            say(where, f"Not asked, being of no weight: {', '.join(predictions.not_asked)}.")
    if not many:
        for row in answered:
            for text in predictions.remarks(row):
                say(where, f"{predictions.paths[row]}: {text}")
    elif answered:
        from ensemble_minerals.reports.gallery import count_by_class

        table(
            where,
            "",
            [
                Column("label"),
                Column("group"),
                Column("photos", number=True),
                Column("mean confidence", number=True),
            ],
            [
                (
                    entry.label,
                    entry.group,
                    entry.photos,
                    "" if entry.confidence is None else decimal(entry.confidence),
                )
                for entry in count_by_class(predictions)
            ],
        )
        _show_remarks(where, predictions, answered)
    unreadable = [
        (predictions.paths[row], predictions.reasons[row]) for row in np.flatnonzero(~predictions.answered)
    ]
    if unreadable:
        show_unreadable(where, unreadable)
    say(where)
    if predictions.sets is not None and many and answered:
        sizes = predictions.sets[answered].sum(axis=1)
        say(
            where,
            f"Sets at {predictions.level:.4g}: {int((sizes == 1).sum()):,} of {len(answered):,} name one class, "
            f"{sizes.mean():.1f} classes on average.",
        )
    without = f", {len(unreadable)} could not be read" if unreadable else ""
    refused = int(predictions.refused.sum())
    unlike = (
        f", {refused:,} of them as none of these: they are unlike the photos of the fit" if refused else ""
    )
    say(where, f"{counted(len(answered), 'photo')} answered{unlike}{without}.")


def _show_remarks(where: Console, predictions: Predictions, rows: list[int]) -> None:
    """Say of many photos how many have remarks, and where those are."""
    if predictions.evidence is not None:
        noted = sum(bool(predictions.evidence.notes[row]) for row in rows)
        without = sum(not predictions.evidence.fits[row] for row in rows)
        say(
            where,
            f"Evidence: of {counted(noted, 'photo')} it does not fit ({without} without an answer); see the columns "
            "with_evidence_* and evidence_note of --out.",
        )
    if predictions.advice is not None:
        advised = sum(bool(predictions.advice[row]) for row in rows)
        say(where, f"Advice for {counted(advised, 'photo')}: see the column advice of --out, or --gallery.")


def _show_each(where: Console, predictions: Predictions, rows: list[int], top_k: int) -> None:
    if not rows:
        return
    guesses = min(top_k, len(predictions.classes))
    columns = [Column("photo"), Column("label"), Column("confidence", number=True), Column("members")]
    rejects = any(predictions.typicality_of(row) is not None for row in rows)
    if rejects:
        columns.append(Column("typicality", number=True))
    for _ in range(1, guesses):
        columns += [Column("or"), Column("", number=True)]
    if predictions.sets is not None:
        columns.append(Column(f"set at {predictions.level:.4g}"))
    if predictions.evidence is not None:
        columns += [Column("with evidence"), Column("", number=True)]
    table(where, "", columns, [_cells(predictions, row, guesses, rejects=rejects) for row in rows])
    if any(2 * _agreeing(predictions, row) < len(predictions.members) for row in rows):
        say(
            where,
            "Votes are not counted: the ensemble weighs how probable each member finds every class, so one that many "
            "find second best can win.",
        )


def _cells(predictions: Predictions, row: int, guesses: int, *, rejects: bool) -> list[object]:
    first, *others = predictions.top(row, guesses)
    cells: list[object] = [
        predictions.paths[row],
        predictions.shown_label(row),
        decimal(first[1]),
        f"{_agreeing(predictions, row)} of {len(predictions.members)} chose it",
    ]
    if rejects:
        cells.append(decimal(predictions.typicality_of(row)))
    for label, share in others:
        cells += [label, decimal(share)]
    if predictions.sets is not None:
        rest = listed(predictions.set_of(row))
        cells.append(f"{IN_WORDS}, else: {rest}" if predictions.refused[row] else rest)
    if predictions.evidence is not None:
        best = predictions.top_with_evidence(row)
        cells += ["none fits", ""] if best is None else [best[0], decimal(best[1])]
    return cells


def _agreeing(predictions: Predictions, row: int) -> int:
    """Members whose most probable class is the answer."""
    answer = predictions.top(row)[0][0]
    return sum(label == answer for _, label, _ in predictions.votes(row))
