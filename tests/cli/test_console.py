from __future__ import annotations

from ensemble_minerals.cli.console import literal


def test_names_from_outside_cannot_steer_the_terminal():
    assert literal("\x1b[31mred\x07\udcff [bold]").plain == "\ufffd[31mred\ufffd\ufffd [bold]"
