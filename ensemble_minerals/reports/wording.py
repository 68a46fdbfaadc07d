"""Numbers and lists as a report prints them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the statistics load SciPy and scikit-learn, which a table of predictions does not need
    from ensemble_minerals.evaluation.intervals import Interval

NOTHING = "\N{EN DASH}"
"""Stands where a number is not defined."""

PERCENT = "\N{NO-BREAK SPACE}%"
"""The sign after a number; no line breaks before it."""

_MINUS = "\N{MINUS SIGN}"


def is_known(value: float | None) -> bool:
    """Whether a number is defined: neither None nor NaN."""
    return value is not None and not math.isnan(value)


def show(value: float | None, kind: str) -> str:
    """One number as printed.

    Args:
        value: The number; None or NaN where it is not defined.
        kind: ``percent`` of a share, ``points`` of a difference of shares, ``whole``, ``signed`` or ``decimal``
            (three places), ``one`` place, ``two`` places.

    Returns:
        Text; a share that is not quite all or nothing never prints as 100 or 0 per cent.

    >>> show(0.12345, "decimal"), show(0.0123, "points"), show(1234, "whole")
    ('0.123', '+1.2', '1,234')
    """
    if value is None or math.isnan(value):
        return NOTHING
    return _FORMS[kind](value).replace("-", _MINUS)


def _share(share: float) -> str:
    text = f"{100 * share:.1f}"
    if text == "100.0" and share < 1:
        text = "99.9"
    if text == "0.0" and share > 0:
        text = "<0.1"
    return text + PERCENT


def _points(difference: float) -> str:
    text = f"{100 * difference:+.1f}"
    return "0.0" if float(text) == 0 else text


def _signed(value: float) -> str:
    text = f"{value:+.3f}"
    return "0.000" if float(text) == 0 else text


_FORMS: Mapping[str, Callable[[float], str]] = {
    "percent": _share,
    "points": _points,
    "whole": lambda value: f"{value:,.0f}",
    "signed": _signed,
    "decimal": lambda value: f"{value:.3f}",
    "one": lambda value: f"{value:.1f}",
    "two": lambda value: f"{value:.2f}",
}


def span(interval: Interval, kind: str) -> str:
    """Both ends of an interval in words; empty where they are not known.

    >>> from ensemble_minerals.evaluation.intervals import Interval
    >>> span(Interval(0.5, 0.25, 0.75), "two")
    '0.25 to 0.75'
    """
    if not interval.has_ends:
        return ""
    low, high = show(interval.low, kind), show(interval.high, kind)
    return f"{low.removesuffix(PERCENT)} to {high}"


def p_value(p: float, *, short: bool = False) -> str:
    """A p-value as printed.

    >>> p_value(0.03142), p_value(0.0001), p_value(0.03142, short=True)
    ('p = 0.031', 'p < 0.001', '0.031')
    """
    if p < 0.001:
        return "< 0.001" if short else "p < 0.001"
    return f"{p:.3f}" if short else f"p = {p:.3f}"


def whole_percent(share: float) -> str:
    """A share in whole per cent, with a space that does not break.

    >>> whole_percent(0.25) == f"25{PERCENT}"
    True
    """
    return f"{100 * share:.0f}{PERCENT}"


def count(number: int, one: str, many: str | None = None) -> str:
    """A number and what it counts.

    Args:
        number: How many.
        one: Name of one.
        many: Name of several; with an s by default.

    >>> count(1, "class", "classes"), count(1234, "photo")
    ('1 class', '1,234 photos')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def capitalized(name: str) -> str:
    """The name with a capital first letter, the rest as it is.

    >>> capitalized("mica, dark")
    'Mica, dark'
    """
    return name[:1].upper() + name[1:]


def listed(names: Sequence[str], most: int | None = None) -> str:
    """Names as a sentence lists them.

    Args:
        names: At least one.
        most: Of more names the rest is counted.

    >>> listed(["mica"]), listed(["mica", "quartz", "pyrite"])
    ('mica', 'mica, quartz and pyrite')
    >>> listed(["mica", "quartz", "pyrite", "galena"], most=2)
    'mica, quartz and 2 more'
    """
    if most is not None and len(names) > most:
        names = [*names[:most], f"{len(names) - most} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
