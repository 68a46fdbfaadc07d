"""Progress reports: what a job calls as it proceeds. The command line draws bars, a library user may pass nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

StageProgress = Callable[[int, int], None]
"""Called with (steps done, all steps)."""


def part_of(progress: StageProgress, start: int, total: int) -> StageProgress:
    """The progress of a part of a stage, reported as progress of the stage.

    Args:
        progress: Of the stage.
        start: Steps before the part.
        total: Steps of the stage.

    Example:
        >>> part_of(lambda done, total: print(f"{done} of {total}"), 10, 30)(5, 20)
        15 of 30
    """
    return lambda done, _of_part: progress(start + done, total)


class Progress(Protocol):
    """Receives the progress of a job, and notes for its user."""

    def stage(self, name: str) -> StageProgress:
        """Begin a stage; the job calls the returned function as it proceeds."""
        ...

    def note(self, text: str) -> None:
        """Tell the user something, in one sentence."""
        ...


class Silent:
    """Ignores all progress."""

    def stage(self, name: str) -> StageProgress:
        """Ignore the stage."""
        return lambda done, total: None

    def note(self, text: str) -> None:
        """Ignore the note."""
