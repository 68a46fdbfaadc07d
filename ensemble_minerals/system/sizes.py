"""Sizes of files as people write and read them."""

from __future__ import annotations

import re

from ensemble_minerals.errors import UserError

_UNITS = {"": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}


def parse_size(text: str, option: str) -> float:
    """Read a size in bytes from text.

    Args:
        text: A size such as ``500MB`` or ``2.5 GB``, or a number of bytes.
        option: What the user calls it, for the message.

    Raises:
        UserError: If it is no size.

    Example:
        >>> parse_size("500MB", "--limit"), parse_size("2.5 GB", "--limit")
        (500000000.0, 2500000000.0)
    """
    found = re.fullmatch(r"(\d{1,15}(?:\.\d+)?)(kb|mb|gb|tb|)", text.lower().replace(" ", ""))
    if found is None:
        raise UserError(f"{option} {text}: give a size such as 500MB or 10GB")
    return float(found[1]) * _UNITS[found[2]]


def format_size(n_bytes: float) -> str:
    """Write a size.

    Example:
        >>> [format_size(size) for size in (0, 999, 1_250, 174_522_368, 1.3e9)]
        ['0 kB', '1 kB', '1 kB', '175 MB', '1.3 GB']
    """
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if n_bytes >= 0.9995 * factor:
            amount = n_bytes / factor
            return f"{amount:.1f} {unit}" if amount < 9.95 else f"{amount:.0f} {unit}"
    return f"{n_bytes / 1e3:.0f} kB"
