"""Rows of named cells as CSV files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import chain
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ensemble_minerals.evaluation.answers import AnsweredPhoto
from ensemble_minerals.evaluation.metrics import jsonable
from ensemble_minerals.system.csv_file import write_csv

Row = Mapping[str, Any]


def photo_cells(photo: AnsweredPhoto) -> dict[str, Any]:
    """A photo as a row of a table; all votes are one cell, the last."""
    cells = {field.name: getattr(photo, field.name) for field in fields(photo) if field.name != "votes"}
    cells["votes"] = "; ".join(f"{vote.member}: {vote.answer}" for vote in photo.votes)
    return cells


def matrix_rows(names: Sequence[str], values: NDArray[Any]) -> list[dict[str, Any]]:
    """A square matrix as rows of a table; the first cell names the row, and what is not defined is None.

    >>> import numpy as np
    >>> matrix_rows(["a", "b"], np.array([[1, 0.5], [np.nan, 1]]))
    [{'': 'a', 'a': 1.0, 'b': 0.5}, {'': 'b', 'a': None, 'b': 1.0}]
    """
    return [
        {"": name, **dict(zip(names, row, strict=True))}
        for name, row in zip(names, jsonable(values), strict=True)
    ]


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
    write_csv(file, first, chain([first], flat))
    return True


def _flattened(row: Row, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Cells of a row; an interval becomes three columns, named after it."""
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _flattened(value, f"{prefix}{name}_")
        elif name != "level" or not prefix:
            yield f"{prefix}{name}".removesuffix("_estimate"), value
