"""What fit, predict and inspect found, as tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from ensemble_minerals.cli.console import Column, duration, say, table
from ensemble_minerals.prediction.table import Predictions

if TYPE_CHECKING:  # each command loads what it shows, and no other's
    from ensemble_minerals.workflows.ablate import AblationResult
    from ensemble_minerals.workflows.distill import DistillResult
    from ensemble_minerals.workflows.fit import FitResult
    from ensemble_minerals.workflows.inspect import Inspection

FEW = 20
"""Rows of a table on the terminal, at most; files hold the rest."""

SYNTHETIC = (
    "SYNTHETIC: figures of the demonstration set, which is drawn by code; they say nothing of real minerals."
)


def show_fit(where: Console, result: FitResult, *, synthetic: bool) -> None:
    """Leaderboard of the members, the ensemble, how it is formed, and the time it took."""
    metrics = result.metrics
    if synthetic:
        say(where)
        say(where, SYNTHETIC, "bold yellow")
    members = sorted(metrics["members"].items(), key=lambda entry: _order(entry[1]["log_loss"]))
    seconds = metrics["member_seconds"]
    oof = metrics["oof"]
    once = metrics["protocol"] == "holdout"
    table(
        where,
        f"{'Hold-out' if once else 'Out-of-fold'} figures of {oof['n']} photos",
        [
            Column("member"),
            Column("accuracy", number=True),
            Column("log-loss", number=True),
            Column("fit", number=True),
        ],
        [
            *(
                (name, _figure(s["accuracy"]), _figure(s["log_loss"]), duration(seconds.get(name, 0.0)))
                for name, s in members
            ),
            (
                "ENSEMBLE",
                _figure(oof["accuracy"]),
                _figure(oof["log_loss"]),
                duration(metrics["seconds"]["total"]),
            ),
        ],
        last_apart=True,
    )
    meta = metrics["meta"]
    others = ", ".join(
        f"{name} {_figure(s['log_loss'])}" for name, s in meta["candidates"].items() if name != meta["chosen"]
    )
    say(where)
    say(
        where,
        f"Combined by {meta['chosen']} (log-loss {_figure(meta['candidates'][meta['chosen']]['log_loss'])}"
        f"{'; ' + others if others else ''}), temperature {meta['temperature']:.2f}.",
    )
    say(
        where,
        f"Balanced accuracy {_figure(oof['balanced_accuracy'])}, macro F1 {_figure(oof['macro_f1'])}, expected "
        f"calibration error {_figure(oof['ece'])}.",
    )
    if "test" in metrics:
        test = metrics["test"]
        say(
            where,
            f"On the {test['n']} photos put aside before: accuracy {_figure(test['accuracy'])}, log-loss "
            f"{_figure(test['log_loss'])}.",
        )
    if result.failures:
        table(
            where,
            "Left out, and why",
            [Column("member"), Column("fold", number=True), Column("reason")],
            [(failure.member, failure.fold, failure.reason) for failure in result.failures],
        )
    parts = ", ".join(f"{name} {duration(s)}" for name, s in metrics["seconds"].items() if name != "total")
    say(where, f"Took {duration(metrics['seconds']['total'])} ({parts}).")


def show_student(where: Console, result: DistillResult) -> None:
    """A student beside its teacher, and what it weighs."""
    student, teacher = result.metrics["oof"], result.metrics["teacher"]
    scores = {"accuracy": "accuracy", "log-loss": "log_loss", "calibration error": "ece"}
    table(
        where,
        f"Out-of-fold figures of {student['n']} photos",
        [Column(""), *(Column(name, number=True) for name in scores)],
        [
            ("teacher", *(_figure(teacher[key]) for key in scores.values())),
            ("STUDENT", *(_figure(student[key]) for key in scores.values())),
        ],
        last_apart=True,
    )
    say(where)
    say(
        where,
        f"{result.metrics['megabytes']:.1f} MB, {result.metrics['predict_ms']:.0f} ms a photo on one core. "
        f"Took {duration(result.metrics['seconds'])}.",
    )


def show_predictions(
    where: Console, predictions: Predictions, *, top_k: int = 1, synthetic: bool = False
) -> None:
    """A row each for a few photos, a summary by class for more; and what could not be read."""
    if synthetic:
        say(where)
        say(
            where,
            "SYNTHETIC: the bundle was trained on the demonstration set; it knows nothing of real minerals.",
            "bold yellow",
        )
    answered = np.flatnonzero(predictions.answered).tolist()
    if len(predictions) <= FEW:
        _show_each(where, predictions, answered, top_k)
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
                (entry.label, entry.group, entry.photos, _figure(entry.confidence))
                for entry in count_by_class(predictions)
            ],
        )
    unreadable = [
        (predictions.paths[row], predictions.reasons[row]) for row in np.flatnonzero(~predictions.answered)
    ]
    if unreadable:
        _show_unreadable(where, unreadable)
    say(where)
    without = f", {len(unreadable)} could not be read" if unreadable else ""
    say(where, f"{_count(len(answered), 'photo')} answered{without}.")


def _show_each(where: Console, predictions: Predictions, rows: list[int], top_k: int) -> None:
    if not rows:
        return
    guesses = min(top_k, len(predictions.classes))
    columns = [Column("photo"), Column("label"), Column("confidence", number=True), Column("members")]
    for _ in range(1, guesses):
        columns += [Column("or"), Column("", number=True)]
    if predictions.sets is not None:
        columns.append(Column("set"))
    cells = []
    for row in rows:
        first, *others = predictions.top(row, guesses)
        votes = predictions.votes(row)
        agreeing = sum(label == first[0] for _, label, _ in votes)
        line: list[object] = [
            predictions.paths[row],
            first[0],
            _figure(first[1]),
            f"{agreeing} of {len(votes)} agree",
        ]
        for label, share in others:
            line += [label, _figure(share)]
        if predictions.sets is not None:
            line.append(", ".join(predictions.set_of(row)))
        cells.append(line)
    table(where, "", columns, cells)


def show_ablation(where: Console, result: AblationResult, *, synthetic: bool) -> None:
    """What was found, and every arm: effect first, p second."""
    from ensemble_minerals.reports.wording import show

    if synthetic:
        say(where)
        say(where, SYNTHETIC, "bold yellow")
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
    told = ablation["findings"]
    for sentence in (
        f"{told['title']}.",
        told["resolution"],
        *told["gain"],
        f"{told['ingredients']['title']}.",
    ):
        say(where)
        say(where, sentence)
    say(where, f"Took {duration(result.seconds)}.")


def _verdict(arm: Mapping[str, Any], score: str) -> str:
    if score not in arm.get("p_holm", {}):
        return "" if "difference" not in arm else "no model"
    from ensemble_minerals.ablation.wording import outcome, p_value

    found = outcome(arm, score)
    if found == "same":
        return "the same answers"
    p = p_value(arm["p_holm"][score], short=True)
    return f"{p} {'significant' if found in ('better', 'worse') else 'not significant'}"


def show_inspection(where: Console, found: Inspection) -> None:
    """Counts by class, sizes, what is alike, what is in conflict, what cannot be read, warnings."""
    from ensemble_minerals.data.manifest import Status

    columns = {
        "usable": "usable",
        "row_groups": "groups",
        "copies": "copies",
        "conflicts": "conflicts",
        "unreadable": "unreadable",
        "files": "files",
    }
    rows = [(label, *(row[key] for key in columns)) for label, row in found.classes.items()]
    manifest = found.manifest
    groups = len(set(manifest.row_group[manifest.usable].tolist()))
    sums = {key: sum(row[key] for row in found.classes.values()) for key in columns} | {"row_groups": groups}
    table(
        where,
        f"Photos in {manifest.root}",
        [Column("class"), *(Column(heading, number=True) for heading in columns.values())],
        [*rows, ("all", *sums.values())],
        last_apart=True,
    )
    excluded = len(found.rows(Status.EXCLUDED))
    if excluded:
        say(where, f"{_count(excluded, 'file')} of classes that were not chosen left out.")
    _show_statistics(where, found.statistics)
    if found.conflicts:
        _first_of(
            where,
            "The same picture under several classes",
            [Column("group", number=True), Column("class"), Column("photo")],
            [
                (group.number, manifest.label[row], manifest.path[row])
                for group in found.conflicts
                for row in group.rows
            ],
        )
    if found.duplicate_groups:
        copies = len(found.rows(Status.DUPLICATE))
        _first_of(
            where,
            f"Alike: {_count(len(found.duplicate_groups), 'group')}"
            + (f", with {copies} exact {'copy' if copies == 1 else 'copies'} set aside" if copies else ""),
            [Column("group", number=True), Column("photos", number=True), Column("class"), Column("such as")],
            [
                (
                    group.number,
                    len(group.rows),
                    ", ".join(found.labels(group)),
                    _examples(found, group.rows),
                )
                for group in found.duplicate_groups
            ],
        )
    unreadable = found.rows(Status.UNREADABLE)
    if unreadable:
        _show_unreadable(where, [(manifest.path[row], manifest.reason[row]) for row in unreadable])
    if found.warnings:
        say(where)
        say(where, "To know before training", "bold")
        for warning in found.warnings:
            say(where, f"- {warning}")


def _show_statistics(where: Console, statistics: Mapping[str, Any]) -> None:
    if not statistics["sizes"]:
        return
    names = list(next(iter(statistics["sizes"].values())))
    table(
        where,
        "Sizes in pixels",
        [Column(""), *(Column(name, number=True) for name in names)],
        [(measure, *(f"{v:g}" for v in row.values())) for measure, row in statistics["sizes"].items()],
    )
    for heading in ("formats", "modes"):
        counted = ", ".join(f"{name} {number}" for name, number in statistics[heading].items())
        say(where, f"{heading.capitalize()}: {counted}")


def _show_unreadable(where: Console, rows: Sequence[tuple[object, object]]) -> None:
    _first_of(where, "Could not be read", [Column("file"), Column("reason")], rows)


def _first_of(
    where: Console, title: str, columns: Sequence[Column], rows: Sequence[tuple[object, ...]]
) -> None:
    """The first rows as a table, and how many more there are."""
    table(where, title, columns, rows[:FEW])
    if len(rows) > FEW:
        say(where, f"... and {len(rows) - FEW} more")


def _examples(found: Inspection, rows: list[int]) -> str:
    names = [str(found.manifest.path[row]) for row in rows[:2]]
    return ", ".join(names) + (", ..." if len(rows) > len(names) else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _order(value: float | None) -> float:
    return float("inf") if value is None else value
