"""The tables of a report as flat rows, for CSV: one row a class, pair, slice, suspect, file."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ensemble_minerals.evaluation.answers import Answers
from ensemble_minerals.evaluation.training_curves import training_rows

Row = Mapping[str, Any]


def write_tables(analysis: Mapping[str, Any], answers: Answers, folder: Path) -> list[str]:
    """Write every table that has rows.

    Args:
        analysis: Of `error_analysis.analyze`.
        answers: The rows it was made of; each becomes a row of ``answers.csv``.
        folder: Where the files go; it exists.

    Returns:
        Names of the files.
    """
    members, confusion = analysis["members"], analysis["confusion"]
    tables: dict[str, Iterable[Row]] = {
        "answers": _answers(answers),
        "scores": analysis["scores"],
        "classes": analysis["classes"]["classes"],
        "confusion_counts": _matrix(confusion["classes"], confusion["counts"]),
        "confusion_percentages": _matrix(confusion["classes"], confusion["percentages"]),
        "confused_pairs": [_plain(pair) for pair in analysis["pairs"]],
        "hardest_photos": [_plain(photo) for sheet in analysis["sheets"] for photo in sheet["worst"]],
        "reliability": _reliability(analysis["reliability"]),
        "risk_coverage": _columns(analysis["abstention"]["curve"]),
        "prediction_sets": [
            {"level": level["level"], **row}
            for level in analysis["sets"]["levels"]
            for row in level["by_class"]
        ],
        "suspected_labels": [_plain(photo) for photo in analysis["labels"]["suspects"]],
        "duplicates": _clusters(analysis["files"]["duplicates"]),
        "conflicts": _clusters(analysis["files"]["conflicts"]),
        "unreadable": analysis["files"]["unreadable"],
        "slices": analysis["slices"]["rows"],
        "members": members["members"],
        "error_correlation": _matrix(members["names"], members["error_correlation"]),
        "double_fault": _matrix(members["names"], members["double_fault"]),
        "learning_curve": (analysis["learning_curve"] or {"points": []})["points"],
        "training": training_rows(analysis["training"]),
    }
    written = []
    for name, rows in tables.items():
        if write_table(folder / f"{name}.csv", rows):
            written.append(f"{name}.csv")
    return written


def write_table(file: Path, rows: Iterable[Row]) -> bool:
    """Write rows as CSV; nested cells become columns, an interval three. Without rows there is no file.

    Args:
        file: Where to.
        rows: All with the cells of the first.

    Returns:
        Whether there was a row.
    """
    flat = iter(dict(_flattened(row)) for row in rows)
    first = next(flat, None)
    if first is None:
        return False
    # A file name that is no UTF-8 has stray bytes, which pass through as they are.
    with file.open("w", encoding="utf-8", errors="surrogateescape", newline="") as handle:
        writer = csv.DictWriter(handle, list(first))
        writer.writeheader()
        writer.writerow(first)
        writer.writerows(flat)
    return True


def _flattened(row: Row, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Cells of a row; an interval becomes three columns, named after it."""
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _flattened(value, f"{prefix}{name}_")
        elif name != "level" or not prefix:
            yield f"{prefix}{name}".removesuffix("_estimate"), value


def _plain(row: Row) -> dict[str, Any]:
    """Without photos; votes as one cell."""
    kept = {name: value for name, value in row.items() if not isinstance(value, list)}
    if "votes" in row:
        kept["votes"] = "; ".join(f"{vote['member']}: {vote['answer']}" for vote in row["votes"])
    return kept


def _matrix(names: list[str], values: list[list[Any]]) -> list[dict[str, Any]]:
    return [{"": name, **dict(zip(names, row, strict=True))} for name, row in zip(names, values, strict=True)]


def _columns(columns: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(columns, values, strict=True))


def _clusters(clusters: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for cluster in clusters:
        for file in cluster["files"]:
            yield {"group": cluster["group"], **file, "exact": cluster["exact"]}


def _reliability(section: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    shown = {"answer": section["after"], "answer before the temperature": section["before"]}
    shown |= {f"class {one['name']}": one for one in section["by_class"]}
    for name, one in shown.items():
        for bin_ in one["bins"] if one else []:
            yield {"probability_of": name, **bin_}


def _answers(answers: Answers) -> Iterator[dict[str, Any]]:
    for row, group in enumerate(answers.groups.tolist()):
        photo = _plain(answers.photo(row))
        proba = {f"p_{name}": float(p) for name, p in zip(answers.classes, answers.proba[row], strict=True)}
        yield {**photo, "row_group": group, **proba}
