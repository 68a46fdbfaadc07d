"""Numbers with their nouns, as messages say them."""

from __future__ import annotations

from collections.abc import Sequence


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun.

    >>> counted(1, "photo"), counted(3, "photo"), counted(3, "copy", "copies")
    ('1 photo', '3 photos', '3 copies')
    """
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def listed(names: Sequence[str], most: int = 6) -> str:
    """Names; of many only the first, and how many more there are.

    >>> listed(("a", "b", "c")), listed(("a", "b", "c"), most=2)
    ('a, b, c', 'a, b and 1 more')
    """
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
