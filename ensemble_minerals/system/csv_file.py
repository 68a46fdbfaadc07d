"""CSV files of which a spreadsheet runs nothing, and how their cells are read back.

A spreadsheet takes a cell that begins with ``=``, ``+``, ``-`` or ``@`` for a formula, and the names of files and
classes come from outside. Such text gets an apostrophe in front; numbers do not.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_FORMULA = re.compile(r"[\s']*[=+\-@＝＋－＠]|'*[\t\r\n]")  # noqa: RUF001  # spreadsheets know the wide ones, too
_is_raw = ContextVar("is_raw", default=False)


@contextmanager
def raw_cells(wanted: bool = True) -> Iterator[None]:
    """Let `write_csv` keep cells as they are until the block ends, for programs that are no spreadsheets.

    One that `unescaped` would change gets its apostrophe even so, or the program would read another name.

    Args:
        wanted: False changes nothing.
    """
    token = _is_raw.set(wanted or _is_raw.get())
    try:
        yield
    finally:
        _is_raw.reset(token)


def write_csv(
    file: Path, columns: Iterable[str], rows: Iterable[Mapping[str, object] | Iterable[object]]
) -> None:
    """Write a table as CSV in UTF-8; bytes of a file name that are no UTF-8 pass through as they are.

    Args:
        file: Where to; within `atomic_file` or `atomic_folder`.
        columns: Names of the columns, the first line.
        rows: Cells in the order of the columns, or by their names.

    Raises:
        ValueError: If a row has more cells than there are columns; KeyError if it lacks one.
    """
    names = list(columns)
    cell = _raw if _is_raw.get() else escaped
    with file.open("w", encoding="utf-8", errors="surrogateescape", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(map(cell, names))
        for row in rows:
            if isinstance(row, Mapping) and len(row) > len(names):
                raise ValueError(f"a row has {len(row)} cells, but there are {len(names)} columns")
            cells = [row[name] for name in names] if isinstance(row, Mapping) else row
            writer.writerow(map(cell, cells))


def append_csv(file: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Add rows to a CSV, in one write that is on the disk when this returns; a new file gets its header first.

    Args:
        file: In UTF-8; made if it is not there.
        columns: Names of the columns, in the order of the file.
        rows: Cells by the names of the columns.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    with file.open("ab+") as handle:
        if handle.tell() == 0:
            writer.writerow(columns)
        else:
            handle.seek(-1, os.SEEK_END)
            if handle.read(1) != b"\n":  # whoever wrote the last row by hand did not end it
                text.write("\r\n")
        for row in rows:
            writer.writerow(escaped(row[name]) for name in columns)
        handle.write(text.getvalue().encode())
        handle.flush()
        os.fsync(handle.fileno())


def escaped(cell: object) -> object:
    """A cell that no spreadsheet takes for a formula; `unescaped` is the way back.

    >>> escaped("=1+1"), escaped("-0.5"), escaped("quartz"), escaped(-0.5)
    ("'=1+1", '-0.5', 'quartz', -0.5)
    """
    if not isinstance(cell, str | Path):
        return cell
    text = str(cell)
    return f"'{text}" if _FORMULA.match(text) and not _is_number(text) else text


def unescaped(text: str) -> str:
    """Text of a cell as it was before `escaped`.

    >>> unescaped("'=1+1"), unescaped("'quoted'")
    ('=1+1', "'quoted'")
    """
    return text[1:] if text.startswith("'") and _FORMULA.match(text[1:]) else text


def _raw(cell: object) -> object:
    return escaped(cell) if unescaped(str(cell)) != str(cell) else cell


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
