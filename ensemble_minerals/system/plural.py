"""Numbers with their nouns, as messages say them."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """A number with its noun.

    >>> counted(1, "photo"), counted(3, "photo")
    ('1 photo', '3 photos')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
