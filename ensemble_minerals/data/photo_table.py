"""A user's table of photos: a CSV with the columns path and label, and perhaps group and split."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ensemble_minerals.data.labels import nearest, normal_label
from ensemble_minerals.errors import DataError

_COLUMNS = ("path", "label", "group", "split")
_SPLITS = frozenset({"", "train", "test"})
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
        path: The file, UTF-8. The paths in it are relative to its folder.

    Raises:
        DataError: If it cannot be read, has wrong columns, no rows, or rows that cannot be used.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            delimiter = max(",;\t", key=first.count)
            file.seek(0)
            reader = csv.reader(file, delimiter=delimiter, skipinitialspace=True, strict=True)
            header = _check_header(path, next(reader, []))
            entries, problems = _read_rows(reader, header)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text ({error}); save it as 'CSV UTF-8'") from error
    except csv.Error as error:
        raise DataError(f"{path} is no CSV that can be read: {error}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be opened: {error.strerror}") from error
    if problems:
        shown = "\n".join(f"  - {problem}" for problem in problems[:_SHOWN_PROBLEMS])
        more = len(problems) - _SHOWN_PROBLEMS
        rest = f"\n  - and {more} more" if more > 0 else ""
        lines = "1 line" if len(problems) == 1 else f"{len(problems)} lines"
        raise DataError(f"{lines} of {path} cannot be used:\n{shown}{rest}")
    if not entries:
        raise DataError(f"{path} has no rows below its header; add one for each photo: path,label")
    return entries


def _check_header(path: Path, cells: Sequence[str]) -> list[str]:
    header = [cell.strip().lower() for cell in cells]
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


def _read_rows(reader: Iterable[Sequence[str]], header: Sequence[str]) -> tuple[list[Entry], list[str]]:
    """Rows that can be used, and what is wrong with the others."""
    entries: list[Entry] = []
    problems: list[str] = []
    for number, cells in enumerate(reader, start=2):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            problems.append(f"row {number} has {len(cells)} cells, the header has {len(header)}")
            continue
        row = dict(zip(header, cells, strict=True))
        path, label = row["path"], normal_label(row["label"])
        group, split = row.get("group", "").strip(), row.get("split", "").strip().lower()
        if not path.strip():
            problems.append(f"row {number} has no path")
        elif not label:
            problems.append(f"row {number} ({path}) has no label")
        elif split not in _SPLITS:
            problems.append(f"row {number} ({path}) has the split {split!r}; it must be train, test or empty")
        else:
            entries.append(Entry(Path(path).as_posix(), label, group, split))
    return entries, problems
