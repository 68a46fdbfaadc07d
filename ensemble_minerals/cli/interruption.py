"""Ctrl-C and SIGTERM: what they raise, what is said, and the exit code. Imports nothing that takes time."""

from __future__ import annotations

import signal
from types import FrameType

AGAIN = "run the same command again"


class Terminated(KeyboardInterrupt):
    """SIGTERM: ends a command in the way that Ctrl-C does."""


def heed_sigterm() -> None:
    """Let SIGTERM end the program with words, as Ctrl-C does."""

    def terminate(_signal: int, _frame: FrameType | None) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, terminate)


def ending(interruption: KeyboardInterrupt) -> tuple[str, int]:
    """A word for an interruption, and the exit code.

    >>> ending(Terminated())
    ('ended', 143)
    """
    return ("ended", 143) if isinstance(interruption, Terminated) else ("interrupted", 130)
