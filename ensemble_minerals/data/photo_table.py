"""A user's table of photos: a CSV with the columns path and label, and perhaps group and split."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ensemble_minerals.data.labels import nearest, normal_label
from ensemble_minerals.data.layouts import split_kind
from ensemble_minerals.data.text_files import read_text
from ensemble_minerals.errors import DataError
from ensemble_minerals.system.csv_file import unescaped

_COLUMNS = ("path", "label", "group", "split")
_TRAINED_ON = ("train", "validation")
_SHOWN_PROBLEMS = 5


class Entry(NamedTuple):
    """One file of a data set.

    Attributes:
        path: Relative to the root of the data set, with forward slashes.
        label: Class name.
        group: Group that the user named; empty where none was.
        split: ``"train"``, ``"test"``, or empty where the user named none.
    """

    path: str
    label: str
    group: str = ""
    split: str = ""


def read_photo_table(path: Path) -> list[Entry]:
    """Read a CSV, with commas, semicolons or tabs between its cells.

    Args:
        path: The file, UTF-8, or UTF-16 with a byte order mark. The paths in it are relative to its folder.

    Raises:
        DataError: If it cannot be read, has wrong columns, no rows, or rows that cannot be used.
    """
    rows = table_rows(path)
    header = _check_header(path, next(rows, (0, []))[1])
    entries, problems = _read_rows(rows, header)
    if problems:
        raise problems_of_table(path, problems)
    if not entries:
        raise DataError(f"{path} has no rows below its header; add one for each photo: path,label")
    return entries


def read_path_column(path: Path) -> list[str]:
    """The column path of a CSV, whatever other columns it has; empty cells are left out.

    Raises:
        DataError: If it cannot be read, or has no such column.
    """
    rows = table_rows(path)
    header = [cell.strip().lower() for cell in next(rows, (0, []))[1]]
    if "path" not in header:
        raise DataError(
            f"the first line of {path} names no column path; name the column of the photos so, or give a text file "
            "with a path on each line"
        )
    position = header.index("path")
    return [cells[position] for _, cells in rows if len(cells) > position and cells[position].strip()]


def table_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Rows of a CSV with their numbers, from 1; Excel's line ``sep=;`` is no row.

    Raises:
        DataError: If it cannot be read.
    """
    text = read_text(path)
    first, _, rest = text.partition("\n")
    skipped = 0
    if first.strip().lower() in ("sep=;", "sep=,", "sep=\t", "sep="):
        text, skipped = rest, 1
        first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    try:
        for number, cells in enumerate(reader, start=1 + skipped):
            yield number, [unescaped(cell) for cell in cells]
    except csv.Error as error:
        raise DataError(f"{path} is no CSV that can be read: {error}") from error


def problems_of_table(path: Path, problems: Sequence[str]) -> DataError:
    """The error that lists what is wrong with the rows of a table."""
    shown = "\n".join(f"  - {problem}" for problem in problems[:_SHOWN_PROBLEMS])
    more = len(problems) - _SHOWN_PROBLEMS
    rest = f"\n  - and {more} more" if more > 0 else ""
    lines = "1 line" if len(problems) == 1 else f"{len(problems)} lines"
    return DataError(f"{lines} of {path} cannot be used:\n{shown}{rest}")


def _check_header(path: Path, cells: Sequence[str]) -> list[str]:
    header = [cell.strip().lower() for cell in cells]
    while header and not header[-1]:  # spreadsheets write delimiters of empty columns, too
        header.pop()
    unknown = [name for name in header if name not in _COLUMNS]
    missing = [name for name in ("path", "label") if name not in header]
    if missing or unknown or len(set(header)) != len(header):
        hints = ", ".join(f"{name!r}{nearest(name, _COLUMNS)}" for name in unknown)
        problems = [
            f"lacks {' and '.join(missing)}" if missing else "",
            f"has unknown columns {hints}" if unknown else "",
            "" if missing or unknown else "names a column twice",
        ]
        raise DataError(
            f"the first line of {path} {' and '.join(filter(None, problems))}; it must name the columns path "
            "and label, and may name group and split"
        )
    return header


def _read_rows(
    rows: Iterable[tuple[int, Sequence[str]]], header: Sequence[str]
) -> tuple[list[Entry], list[str]]:
    """Rows that can be used, and what is wrong with the others."""
    entries: list[Entry] = []
    problems: list[str] = []
    for number, all_cells in rows:
        if not any(cell.strip() for cell in all_cells):
            continue
        empty = not any(cell.strip() for cell in all_cells[len(header) :])
        cells = all_cells[: len(header)] if empty else all_cells
        if len(cells) != len(header):
            problems.append(f"row {number} has {len(cells)} cells, the header has {len(header)}")
            continue
        row = dict(zip(header, cells, strict=True))
        path, label = row["path"], normal_label(row["label"])
        group, split = row.get("group", "").strip(), row.get("split", "").strip()
        kind = split_kind(split)
        if not path.strip():
            problems.append(f"row {number} has no path")
        elif not label:
            problems.append(f"row {number} ({path}) has no label")
        elif split and kind is None:
            problems.append(f"row {number} ({path}) has the split {split!r}; it must be train, test or empty")
        else:
            trained_on = "train" if kind in _TRAINED_ON else ""
            entries.append(
                Entry(Path(path).as_posix(), label, group, "test" if kind == "test" else trained_on)
            )
    return entries, problems
