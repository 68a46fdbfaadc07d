"""The sentences of errors that hold a list."""

from __future__ import annotations

from ensemble_minerals.errors import ConfigError


def test_of_very_many_problems_the_first_are_told_and_the_others_counted():
    error = ConfigError([f"members.{i}: wrong" for i in range(200_001)])
    lines = str(error).splitlines()
    assert len(error.problems) == 200_001
    assert len(lines) == 22
    assert lines[0] == "200001 problems in the configuration:"
    assert lines[-1] == "  ... and 199981 more"
