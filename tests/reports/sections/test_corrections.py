"""What the report says of corrections: labels before and after, scored on the same answers."""

from __future__ import annotations

import numpy as np
import pytest
from drawn.answers import draw_answers, manifest_of, report_data_of

from ensemble_minerals.reports.sections.corrections import CorrectionsSection

COUNTS = {"relabeled": 3, "kept": 0, "left_out": 1, "by": {"Ann": 4}, "unmatched": 0, "count": 4}


@pytest.fixture(scope="module")
def section():
    answers = draw_answers([10, 10, 10], perfect=True)
    before = np.array([""] * 30, dtype="<U20")
    before[[0, 1]], before[12] = "class 2", "a class that is gone"
    status, reason = np.array(["ok"] * 30, dtype="<U20"), np.array([""] * 30, dtype="<U60")
    status[29], reason[29] = "excluded", "left out by Ann on 2026-01-31 (corrections)"
    manifest = manifest_of(answers, corrected=before, status=status, reason=reason)
    return CorrectionsSection.compute(report_data_of(answers, manifest=manifest, corrections=COUNTS))


def test_the_same_answers_are_scored_by_the_labels_before_and_after(section):
    assert section.effect.accuracy_after.estimate == 1
    assert section.effect.accuracy_before.estimate == pytest.approx(27 / 30)
    assert section.effect.difference.estimate == pytest.approx(3 / 30)
    assert section.effect.difference.low >= 0


def test_changes_are_counted_by_labels(section):
    found = {(one.before, one.after): (one.photos, one.as_before, one.as_after) for one in section.changed}
    assert found == {("class 2", "class 0"): (2, 0, 2), ("a class that is gone", "class 1"): (1, 0, 1)}
    assert section.heading == "3 labels changed, 1 photo left out"
    tables = section.tables()
    assert [row["before"] for row in tables["changed_labels"]].count("class 2") == 2
    assert tables["left_out_photos"][0]["reason"].startswith("left out by Ann")


def test_without_corrections_there_is_no_such_section():
    found = CorrectionsSection.compute(report_data_of(draw_answers([5, 5])))
    assert not found.shown
    assert found.as_json() == found.tables() == {}
