"""How the commands speak: results on standard output, progress and errors on standard error.

On a terminal there are bars and ruled tables; into a file or a pipe go plain lines. Names that come from outside
are shown literally, without markup and control characters.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Protocol, Self

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from ensemble_minerals.system import progress


def literal(value: object, style: str = "") -> Text:
    """A text from outside, fit for a terminal: what cannot be printed shows as a replacement character."""
    plain = str(value).replace("\N{NO-BREAK SPACE}", " ")
    shown = "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in plain)
    return Text(shown, style=style)


def console(*, stderr: bool = False) -> Console:
    """Where to print."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def say(where: Console, text: object = "", style: str = "") -> None:
    """Print a line, wrapped by the terminal itself, so that paths and commands can be copied."""
    where.print(literal(text, style), soft_wrap=True)


def error(text: object, prefix: str = "error: ") -> None:
    """Print why a command failed, on standard error."""
    where = console(stderr=True)
    where.print(Text(prefix, style="bold red") + literal(text), soft_wrap=True)


@dataclass(frozen=True)
class Column:
    """Of a table: its heading, and whether it holds numbers."""

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
        title: Line above it; none if empty.
        columns: Headings.
        rows: Cells, shown literally; None is left empty.
        last_apart: Whether the last row is a total or the like.
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
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for column in columns:
        justify: Literal["left", "right"] = "right" if column.number else "left"
        made.add_column(column.heading, justify=justify, overflow="fold", no_wrap=column.number)
    for position, row in enumerate(cells):
        if last_apart and position == len(cells) - 1:
            made.add_section()
            made.add_row(*row, style="bold")
        else:
            made.add_row(*row)
    return made


def _print_aligned(where: Console, columns: Sequence[Column], cells: Sequence[Sequence[Text]]) -> None:
    lines = [[Text(column.heading) for column in columns], *cells]
    widths = [max(line[position].cell_len for line in lines) for position in range(len(columns))]
    for line in lines:
        for cell, column, width in zip(line, columns, widths, strict=True):
            cell.align("right" if column.number else "left", width)
        joined = Text("  ").join(line)
        joined.rstrip()
        where.print(joined, soft_wrap=True)


class Reporter(progress.Progress, Protocol):
    """Progress that is told when work begins and ends."""

    def __enter__(self) -> Self:
        """Work begins."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Work ends, well or not."""
        ...


def reporter(where: Console, *, notes: bool = True) -> Reporter:
    """Bars with the time left on a terminal, else one line a finished stage.

    Args:
        where: Standard error, as a rule.
        notes: Whether to print notes as they come; not for those who print them at the end.
    """
    return (Bars if where.is_terminal and not where.is_dumb_terminal else Lines)(where, notes=notes)


class Lines:
    """One line for each finished stage and each note."""

    def __init__(self, where: Console, *, notes: bool = True) -> None:
        self._where = where
        self._notes = notes

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None

    def stage(self, name: str) -> progress.StageProgress:
        """A stage begins."""
        started = time.monotonic()

        def proceed(done: int, total: int) -> None:
            if done == total:
                say(self._where, f"{name}: {total} in {duration(time.monotonic() - started)}")

        return proceed

    def note(self, text: str) -> None:
        """Print a note."""
        if self._notes:
            say(self._where, f"note: {text}")


class Bars:
    """A bar for each stage, with the time left; notes go above them."""

    def __init__(self, where: Console, *, notes: bool = True) -> None:
        self._where = where
        self._notes = notes
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            _TimeLeft(),
            console=where,
        )
        self._current: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self._finish()
        self._progress.stop()

    def stage(self, name: str) -> progress.StageProgress:
        """A stage begins, and with it the one before has ended."""
        self._finish()
        task = self._progress.add_task(name, total=None)
        self._current = task
        return lambda done, total: self._progress.update(task, completed=done, total=total)

    def note(self, text: str) -> None:
        """Print a note above the bars."""
        if self._notes:
            self._where.print(Text("note: ", style="yellow") + literal(text))

    def _finish(self) -> None:
        """End the current stage; one that had nothing to do never called back, and would pulse for ever."""
        for task in self._progress.tasks:
            if task.id == self._current and task.total is None:
                self._progress.remove_task(task.id)
            elif task.id == self._current:
                self._progress.stop_task(task.id)
        self._current = None


class _TimeLeft(ProgressColumn):
    """Time left in words, once it can be told."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        if task.finished or task.time_remaining is None:
            return Text()
        return Text(f"{duration(task.time_remaining)} left", style="progress.remaining")


def duration(seconds: float) -> str:
    """Seconds in words: ``0.4 s``, ``12 s``, ``3 min 05 s``, ``1 h 02 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
