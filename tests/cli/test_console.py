from __future__ import annotations

import pytest

from ensemble_minerals.cli.console import duration, literal


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3725, "1 h 02 min"),
    ],
)
def test_durations_in_words(seconds, words):
    assert duration(seconds) == words


def test_names_from_outside_cannot_steer_the_terminal():
    assert literal("\x1b[31mred\x07\udcff [bold]").plain == "\ufffd[31mred\ufffd\ufffd [bold]"
