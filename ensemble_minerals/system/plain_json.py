"""JSON from files that anybody may have written: bounded in size and depth, with finite numbers alone."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

MOST_BYTES = 16 << 20
"""Length of a JSON text, at most."""

MOST_LEVELS = 64
"""Lists and objects inside one another, at most."""


def parse_json(text: bytes | str) -> Any:
    """Read JSON.

    Args:
        text: The text, in UTF-8 if it is bytes.

    Raises:
        ValueError: If it is no JSON, too long, nested too deeply, or holds a number that is not finite.

    Example:
        >>> parse_json('{"temperature": NaN}')
        Traceback (most recent call last):
        ...
        ValueError: NaN is no finite number
    """
    if len(text) > MOST_BYTES:
        raise ValueError(f"{len(text):,} bytes of JSON, {MOST_BYTES:,} at most are read")
    written = text if isinstance(text, str) else text.decode("utf-8")
    try:
        value = json.loads(written, parse_constant=_not_finite, parse_float=_finite)
    except RecursionError:
        raise ValueError(f"nested more than {MOST_LEVELS} levels deep") from None
    level, n_levels = [value], 0
    while level := [item for item in level if isinstance(item, dict | list)]:
        n_levels += 1
        if n_levels > MOST_LEVELS:
            raise ValueError(f"nested more than {MOST_LEVELS} levels deep")
        level = [child for item in level for child in (item.values() if isinstance(item, dict) else item)]
    return value


def _not_finite(written: str) -> NoReturn:
    raise ValueError(f"{written} is no finite number")


def _finite(written: str) -> float:
    number = float(written)
    return number if math.isfinite(number) else _not_finite(written)
