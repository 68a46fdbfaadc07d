"""Consoles that print into memory."""

from __future__ import annotations

import io

from rich.console import Console


def plain() -> Console:
    return Console(file=io.StringIO(), highlight=False, markup=False, emoji=False, width=30)


def window() -> Console:
    return Console(
        file=io.StringIO(), force_terminal=True, highlight=False, markup=False, emoji=False, width=100
    )


def printed(console: Console) -> str:
    return console.file.getvalue()
