"""Prints lines: results on standard output, errors on standard error.

Names that come from outside are shown literally, without markup and control characters.
"""

from __future__ import annotations

import os
import sys

from rich.console import Console
from rich.text import Text

from ensemble_minerals.system.foreign_text import visible

READER_GONE = 141
"""Exit code where the reader of the output went away, as ``| head`` does."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """End without a word: nobody would read it."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(READER_GONE)


def literal(value: object, style: str = "") -> Text:
    r"""Text from outside, made safe for a terminal: what cannot be printed becomes a replacement character.

    >>> literal("pyrite\x1b[31m").plain
    'pyrite�[31m'
    """
    return Text(visible(str(value).replace("\N{NO-BREAK SPACE}", " ")), style=style)


def stdout() -> Console:
    """Where results go."""
    return _console(stderr=False)


def stderr() -> Console:
    """Where progress, notes and errors go."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    return _Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def say(where: Console, text: object = "", style: str = "") -> None:
    """Print a line. The terminal wraps it, so that paths and commands can be copied."""
    where.print(literal(text, style), soft_wrap=True)


def error(text: object, prefix: str = "error: ") -> None:
    """Print why a command failed, on standard error."""
    stderr().print(Text(prefix, style="bold red") + literal(text), soft_wrap=True)
