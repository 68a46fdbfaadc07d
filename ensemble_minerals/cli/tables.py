"""Prints tables: ruled on a terminal, in plain aligned columns into a file or a pipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ensemble_minerals.cli.console import literal, say

FEW = 20
"""Rows of a table on the terminal, at most; files hold the rest."""


@dataclass(frozen=True)
class Column:
    """A column of a table: its heading, and whether it holds numbers."""

    heading: str
    number: bool = False


def table(
    where: Console,
    title: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[object]],
    *,
    last_apart: bool = False,
) -> None:
    """Print a table.

    Args:
        where: Terminal or file.
        title: Line above the table; none if empty.
        columns: One for each cell of a row.
        rows: Cells, shown literally; None gives an empty cell.
        last_apart: Whether to set the last row apart, such as a total.
    """
    cells = [[literal("" if cell is None else cell) for cell in row] for row in rows]
    if title:
        say(where)
        say(where, title, "bold")
    if where.is_terminal:
        where.print(_ruled(columns, cells, last_apart=last_apart))
    else:
        _print_aligned(where, columns, cells)


def _ruled(columns: Sequence[Column], cells: Sequence[Sequence[Text]], *, last_apart: bool) -> Table:
    ruled = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for column in columns:
        justify: Literal["left", "right"] = "right" if column.number else "left"
        ruled.add_column(column.heading, justify=justify, overflow="fold", no_wrap=column.number)
    for position, row in enumerate(cells):
        if last_apart and position == len(cells) - 1:
            ruled.add_section()
            ruled.add_row(*row, style="bold")
        else:
            ruled.add_row(*row)
    return ruled


def _print_aligned(where: Console, columns: Sequence[Column], cells: Sequence[Sequence[Text]]) -> None:
    lines = [[Text(column.heading) for column in columns], *cells]
    widths = [max(line[position].cell_len for line in lines) for position in range(len(columns))]
    for line in lines:
        for cell, column, width in zip(line, columns, widths, strict=True):
            cell.align("right" if column.number else "left", width)
        joined = Text("  ").join(line)
        joined.rstrip()
        where.print(joined, soft_wrap=True)


def first_rows(
    where: Console, title: str, columns: Sequence[Column], rows: Sequence[tuple[object, ...]]
) -> None:
    """Print the first rows as a table, and how many more there are."""
    table(where, title, columns, rows[:FEW])
    if len(rows) > FEW:
        say(where, f"... and {len(rows) - FEW} more")


def decimal(value: float | None) -> str:
    """A figure with three decimals, or a dash where there is none.

    >>> decimal(0.25), decimal(None)
    ('0.250', '-')
    """
    return "-" if value is None else f"{value:.3f}"
