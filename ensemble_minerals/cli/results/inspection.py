"""Prints what an inspection of photos found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console

from ensemble_minerals.cli.console import say
from ensemble_minerals.cli.results.remarks import show_unreadable
from ensemble_minerals.cli.tables import Column, first_rows, table
from ensemble_minerals.system.plural import counted

if TYPE_CHECKING:
    from ensemble_minerals.workflows.inspect import Inspection


def show_inspection(where: Console, inspection: Inspection) -> None:
    """Print counts by class, sizes, photos of one object, conflicts, unreadable files and warnings."""
    from ensemble_minerals.data.manifest import Status
    from ensemble_minerals.data.same_object.wording import GRADE_WORDS, count_grades, describe

    columns = {
        "usable": "usable",
        "row_groups": "groups",
        "copies": "copies",
        "conflicts": "conflicts",
        "left_out": "left out",
        "unreadable": "unreadable",
        "files": "files",
    }
    if not inspection.rows(Status.CONTAMINATED):
        del columns["left_out"]
    rows = [(label, *(row[key] for key in columns)) for label, row in inspection.classes.items()]
    manifest = inspection.manifest
    groups = len(set(manifest.row_group[manifest.usable].tolist()))
    sums = {key: sum(row[key] for row in inspection.classes.values()) for key in columns} | {
        "row_groups": groups
    }
    table(
        where,
        f"Photos in {manifest.root}",
        [Column("class"), *(Column(heading, number=True) for heading in columns.values())],
        [*rows, ("all", *sums.values())],
        last_apart=True,
    )
    excluded = len(inspection.rows(Status.EXCLUDED))
    if excluded:
        say(where, f"{counted(excluded, 'file')} of classes that were not chosen left out.")
    _show_statistics(where, inspection.statistics)
    if inspection.conflicts:
        first_rows(
            where,
            "The same photo under several classes",
            [
                Column("group", number=True),
                Column("photo"),
                Column("and"),
                Column("grade"),
                Column("evidence"),
            ],
            [
                (
                    group.number,
                    manifest.path[pair.first],
                    manifest.path[pair.second],
                    GRADE_WORDS[pair.grade],
                    "equal pixels" if pair.evidence is None else describe(pair.evidence),
                )
                for group in inspection.conflicts
                for pair in group.pairs
            ],
        )
    if inspection.object_groups:
        copies = len(inspection.rows(Status.DUPLICATE))
        first_rows(
            where,
            f"Photos of one object: {counted(len(inspection.object_groups), 'group')}"
            + (f", with {copies} exact {'copy' if copies == 1 else 'copies'} set aside" if copies else ""),
            [
                Column("group", number=True),
                Column("photos", number=True),
                Column("grades"),
                Column("class"),
                Column("such as"),
            ],
            [
                (
                    group.number,
                    len(group.rows),
                    count_grades(pair.grade for pair in group.pairs),
                    ", ".join(inspection.labels(group)),
                    _examples(inspection, group.rows),
                )
                for group in inspection.object_groups
            ],
        )
    unreadable = inspection.rows(Status.UNREADABLE)
    if unreadable:
        show_unreadable(where, [(manifest.path[row], manifest.reason[row]) for row in unreadable])
    if inspection.warnings:
        say(where)
        say(where, "To know before training", "bold")
        for warning in inspection.warnings:
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
        numbers = ", ".join(f"{name} {number}" for name, number in statistics[heading].items())
        say(where, f"{heading.capitalize()}: {numbers}")


def _examples(inspection: Inspection, rows: Sequence[int]) -> str:
    names = [str(inspection.manifest.path[row]) for row in rows[:2]]
    return ", ".join(names) + (", ..." if len(rows) > len(names) else "")
