"""Class sheets."""

from __future__ import annotations

from ensemble_minerals.evaluation.answers import AnsweredPhoto
from ensemble_minerals.evaluation.class_analysis import ClassSheet, worst_errors


def sheet(**photos):
    """A sheet of photos by name, with whether each is answered right."""
    worst = tuple(AnsweredPhoto(name, "", "", right, 0.0, 0.0, None, ()) for name, right in photos.items())
    return ClassSheet("", len(worst), 0, (), (), worst, ())


def test_the_worst_errors_take_turns_by_class():
    sheets = [sheet(a1=False, a2=False, a3=False), sheet(b1=True), sheet(c1=False, c2=True)]
    assert [photo.path for photo in worst_errors(sheets)] == ["a1", "c1", "a2", "a3"]
