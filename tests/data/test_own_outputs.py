"""Folders that the program wrote, told from folders of photos."""

from __future__ import annotations

from pathlib import Path

import pytest

from ensemble_minerals.ablation.page import ABLATION
from ensemble_minerals.bundle.schema import BUNDLE, STUDENT
from ensemble_minerals.data.own_outputs import OUTPUT_FILES, is_output
from ensemble_minerals.explanation.page import EXPLANATION
from ensemble_minerals.reports.report import REPORT
from ensemble_minerals.tuning import page as tuning


def fill(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_every_kind_of_output_is_known(tiny, student):
    markers = {marker for marker, _ in OUTPUT_FILES}
    assert markers == {kind.marker for kind in (BUNDLE, STUDENT, REPORT, EXPLANATION, ABLATION)} | {
        "inspection.json",
        tuning.DATA,
    }
    assert is_output(tiny.bundle)
    assert is_output(student)
    assert not is_output(tiny.photos)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["report.json", "report.html", "figures/1.png"], True),
        (["report.json", "1.jpg"], False),  # others write such files, too
        (["one/report.json", "one/report.html", "answers.csv"], True),  # nothing but outputs
        (["one/report.json", "one/report.html", "1.jpg"], False),
        (["one/report.json", "one/report.html", "two/1.jpg"], False),
        (["demo/photos/.synthetic", "demo/photos/a/1.jpg", "demo/b/report.json", "demo/b/report.html"], True),
        (["notes.txt"], False),
        ([], False),
    ],
)
def test_what_is_an_output(tmp_path, names, expected):
    assert is_output(fill(tmp_path, *names)) is expected


def test_the_usual_folder_of_outputs_is_one_whatever_else_is_in_it(tmp_path):
    assert is_output(fill(tmp_path / "artifacts", "x/report.json", "x/report.html", "1.png", "y/1.png"))
    assert not is_output(fill(tmp_path / "other" / "artifacts", "1.jpg", "y/1.jpg"))
