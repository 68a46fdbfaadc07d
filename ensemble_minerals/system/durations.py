"""Durations as people write and read them."""

from __future__ import annotations

import math
import re

from ensemble_minerals.errors import UserError

_UNITS = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0}


def parse_duration(text: str, option: str) -> float:
    """Read a duration in seconds from text.

    Args:
        text: Seconds, or a duration such as ``90s``, ``10m``, ``1h30m`` or ``30d``.
        option: What the user calls it, for the message.

    Raises:
        UserError: If it is no duration, not above zero, or endless.

    Example:
        >>> parse_duration("90", "--time-limit"), parse_duration("1h30m", "--time-limit")
        (90.0, 5400.0)
    """
    plain = text.strip().lower().replace(" ", "")
    if re.fullmatch(r"\d+(\.\d+)?", plain):
        seconds = float(plain)
    elif re.fullmatch(r"(\d+(\.\d+)?d)?(\d+(\.\d+)?h)?(\d+(\.\d+)?m)?(\d+(\.\d+)?s)?", plain):
        seconds = sum(float(n) * _UNITS[unit] for n, unit in re.findall(r"([\d.]+)([dhms])", plain))
    else:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise UserError(f"{option} {text}: give seconds, or a time such as 10m or 1h30m")
    return seconds


def format_duration(seconds: float) -> str:
    """Write a measured duration.

    Example:
        >>> [format_duration(seconds) for seconds in (0.42, 12.4, 185, 3725)]
        ['0.4 s', '12 s', '3 min 05 s', '1 h 02 min']
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    return f"{minutes} min {rest:02d} s" if minutes < 60 else _hours(minutes)


def format_estimate(seconds: float) -> str:
    """Write an estimated duration: whole seconds, and from 90 seconds on whole minutes.

    Example:
        >>> [format_estimate(seconds) for seconds in (0.42, 12.4, 185, 3725)]
        ['1 s', '12 s', '3 min', '1 h 02 min']
    """
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else _hours(minutes)


def _hours(minutes: int) -> str:
    return f"{minutes // 60} h {minutes % 60:02d} min"
