"""Who is told how long work is going; the command line draws bars, the API may listen or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

StageProgress = Callable[[int, int], None]
"""Called with (done, of all)."""


class Progress(Protocol):
    """Hears of stages and of things the user should know."""

    def stage(self, name: str) -> StageProgress:
        """A stage begins; the returned function is called as it proceeds."""
        ...

    def note(self, text: str) -> None:
        """Something the user should know, in one sentence."""
        ...


class Silent:
    """Hears nothing."""

    def stage(self, name: str) -> StageProgress:
        """Ignore the stage."""
        return lambda done, total: None

    def note(self, text: str) -> None:
        """Ignore the note."""
