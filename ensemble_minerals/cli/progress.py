"""Shows progress on standard error: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import Progress as RichProgress
from rich.text import Text

from ensemble_minerals.cli.console import literal, say, stderr
from ensemble_minerals.system.durations import format_duration
from ensemble_minerals.system.progress import Progress, StageProgress


class ProgressDisplay(Progress, Protocol):
    """Progress with a beginning and an end."""

    def __enter__(self) -> Self:
        """Start to show progress."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop, whether the work succeeded or failed."""
        ...


def show_progress(where: Console | None = None, *, notes: bool = True) -> ProgressDisplay:
    """Choose bars with the time left on a terminal, and lines elsewhere, see `Lines`.

    Args:
        where: Standard error if None.
        notes: Whether to print notes at once; false for a command that prints them at its end.
    """
    where = stderr() if where is None else where
    return (Bars if where.is_terminal and not where.is_dumb_terminal else Lines)(where, notes=notes)


class _Display(logging.Handler):
    """Shows what the package warns of while it works, such as a cache that is damaged, as notes."""

    def __init__(self, where: Console, *, notes: bool = True) -> None:
        super().__init__(logging.WARNING)
        self._where = where
        self._notes = notes

    def __enter__(self) -> Self:
        logging.getLogger("ensemble_minerals").addHandler(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        logging.getLogger("ensemble_minerals").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Print a warning."""
        self._print(record.getMessage())

    def note(self, text: str) -> None:
        """Print a note."""
        if self._notes:
            self._print(text)

    def _print(self, text: str) -> None:
        say(self._where, f"note: {text}")


class Lines(_Display):
    """One line for each finished stage and each note, and one now and then for a stage that takes long."""

    interval = 30.0
    """Seconds between two lines of one stage."""

    def __init__(self, where: Console, *, notes: bool = True) -> None:
        super().__init__(where, notes=notes)
        self._ended = threading.Event()
        self._current: _Stage | None = None

    def __enter__(self) -> Self:
        threading.Thread(target=self._repeat, name="progress", daemon=True).start()
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        super().__exit__(kind, error, traceback)

    def stage(self, name: str) -> StageProgress:
        """Begin a stage, which ends the one before."""
        self._current = stage = _Stage(name, time.monotonic())

        def proceed(done: int, total: int) -> None:
            stage.done, stage.total = done, total
            if done == total and not stage.is_finished:
                stage.is_finished = True
                if self._current is stage:
                    self._current = None
                say(self._where, f"{name}: {total} in {format_duration(time.monotonic() - stage.started)}")

        return proceed

    def _repeat(self) -> None:
        """Say how far the current stage is, also where its work does not call for minutes."""
        while not self._ended.wait(self.interval):
            stage = self._current
            if stage is not None and (seconds := time.monotonic() - stage.started) >= self.interval:
                of = f"{stage.done} of {stage.total}" if stage.total else "begun"
                say(self._where, f"{stage.name}: {of} after {format_duration(seconds)}")


@dataclass
class _Stage:
    """A stage under way."""

    name: str
    started: float
    done: int = 0
    total: int = 0
    is_finished: bool = False


class Bars(_Display):
    """A bar for each stage, with the time left; notes go above them."""

    def __init__(self, where: Console, *, notes: bool = True) -> None:
        super().__init__(where, notes=notes)
        self._progress = RichProgress(
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
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self._finish()
        self._progress.stop()
        super().__exit__(kind, error, traceback)

    def stage(self, name: str) -> StageProgress:
        """Begin a stage, which ends the one before."""
        self._finish()
        task = self._progress.add_task(name, total=None)
        self._current = task
        return lambda done, total: self._progress.update(task, completed=done, total=total)

    def _print(self, text: str) -> None:
        self._where.print(Text("note: ", style="yellow") + literal(text))

    def _finish(self) -> None:
        """End the current stage. One without work never reported a total; its bar would pulse for ever."""
        for task in self._progress.tasks:
            if task.id == self._current and task.total is None:
                self._progress.remove_task(task.id)
            elif task.id == self._current:
                self._progress.stop_task(task.id)
        self._current = None


class _TimeLeft(ProgressColumn):
    """Time left, as soon as it can be estimated."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        if task.finished or task.time_remaining is None:
            return Text()
        return Text(f"{format_duration(task.time_remaining)} left", style="progress.remaining")
