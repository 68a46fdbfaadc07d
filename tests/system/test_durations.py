from __future__ import annotations

import pytest

from ensemble_minerals.errors import UserError
from ensemble_minerals.system.durations import format_duration, format_estimate, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("10m", 600),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("1H 2m 3s", 3723),
        ("0.5", 0.5),
    ],
)
def test_durations_are_read(text, seconds):
    assert parse_duration(text, "--time-limit") == seconds


@pytest.mark.parametrize(
    "text", ["", "0", "-5", "soon", "10 parsecs", "30m1h", "nan", "1e3", "0m", "9" * 400]
)
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(UserError, match=r"--time-limit .*give seconds, or a time such as 10m or 1h30m"):
        parse_duration(text, "--time-limit")


@pytest.mark.parametrize(
    ("seconds", "exact", "estimated"),
    [
        (0.04, "0.0 s", "1 s"),
        (9.94, "9.9 s", "10 s"),
        (9.96, "10 s", "10 s"),
        (59.6, "1 min 00 s", "60 s"),
        (89, "1 min 29 s", "89 s"),
        (185, "3 min 05 s", "3 min"),
        (3580, "59 min 40 s", "1 h 00 min"),
        (3725, "1 h 02 min", "1 h 02 min"),
        (5000, "1 h 23 min", "1 h 23 min"),
        (9000, "2 h 30 min", "2 h 30 min"),
    ],
)
def test_durations_are_written(seconds, exact, estimated):
    assert format_duration(seconds) == exact
    assert format_estimate(seconds) == estimated
