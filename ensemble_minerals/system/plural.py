"""Numbers with their nouns, as messages say them."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun.

    >>> counted(1, "photo"), counted(3, "photo"), counted(3, "copy", "copies")
    ('1 photo', '3 photos', '3 copies')
    """
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
