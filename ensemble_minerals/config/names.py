"""Names that a configuration knows, and how a message shows what a user wrote."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

DESCRIPTOR = "descriptor"
"""The feature extractor that every configuration has."""

SELECTIONS = ("each", "all")
"""Short forms of a member's features."""


def nearest(name: object, known: Iterable[str]) -> str:
    """A clause with the known name most like ``name``; empty if none is like it.

    >>> nearest("pirite", ["pyrite", "quartz"])
    " (did you mean 'pyrite'?)"
    >>> nearest("gold", ["pyrite", "quartz"])
    ''
    """
    by_lower = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(str(name).lower(), by_lower, n=1)
    return f" (did you mean {by_lower[close[0]]!r}?)" if close else ""


def shown(value: object) -> str:
    """A value as the user wrote it, cut where it is long.

    >>> shown(None), shown(True), shown((1, 2)), shown("x")
    ('null', 'true', '[1, 2]', "'x'")
    """
    value = list(value) if isinstance(value, tuple) else value
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def not_known(name: object, known: Iterable[str]) -> str:
    """Say that a name is not known, and which are.

    >>> not_known("flatt", ["flat", "hierarchical"])
    "'flatt' is not known (did you mean 'flat'?); choose from flat, hierarchical"
    """
    known = list(known)
    return f"{shown(name)} is not known{nearest(name, known)}; choose from {', '.join(known)}"
