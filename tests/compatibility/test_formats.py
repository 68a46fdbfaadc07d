"""Bundles and students of every format are read and answer as they did on the day they were saved.

``format_1`` was written by the last commit before the package was laid out anew (5de1f09): a bundle of four members
(a backbone, color and texture, a small neural network, a trained network), a student, three photos, and what both
answered for them. ``format_2`` was written when that format came: a bundle of a backbone and a trained network,
combined by a logistic regression, and what it answered for the same photos.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from ensemble_minerals.bundle.bundle import read_bundle
from ensemble_minerals.bundle.schema import BUNDLE_SCHEMA
from ensemble_minerals.prediction.predictor import load
from ensemble_minerals.prediction.student import load_student

HERE = Path(__file__).parent
FORMAT_1 = HERE / "format_1"
CLOSE = 2e-3
"""Engines and processors round differently; a wrong row, class or member is off by far more."""


def saved_answers(name: str) -> dict[str, tuple[str, list[float]]]:
    """Photo -> (label, probabilities) as they were written."""
    with (HERE / name).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {row["path"]: (row["label"], [float(row[c]) for c in row if c.startswith("p_")]) for row in rows}


@pytest.mark.parametrize(("load_saved", "folder", "table"), [
    (load, "format_1/bundle", "format_1/answers.csv"),
    (load_student, "format_1/student", "format_1/student_answers.csv"),
    (load, "format_2/bundle", "format_2/answers.csv"),
])  # fmt: skip
def test_answers_are_those_of_the_day(load_saved, folder, table):
    expected = saved_answers(table)
    found = load_saved(HERE / folder).predict([FORMAT_1 / "photos"])
    assert [path.name for path in found.paths] == list(expected)
    for row, (label, proba) in enumerate(expected.values()):
        assert found.top(row)[0][0] == label
        np.testing.assert_allclose(found.proba[row], proba, atol=CLOSE)


def test_every_format_has_its_example():
    numbers = [json.loads((folder / "bundle" / "bundle.json").read_text(encoding="utf-8"))["format"]
               for folder in sorted(HERE.glob("format_*"))]  # fmt: skip
    assert numbers == list(range(1, BUNDLE_SCHEMA.format + 1))


def test_a_bundle_tells_what_it_told():
    bundle = read_bundle(FORMAT_1 / "bundle")
    said = json.loads((FORMAT_1 / "bundle" / "metrics.json").read_text(encoding="utf-8"))
    assert bundle.classes == ("azurite", "malachite", "pyrite")
    assert bundle.metrics == said
    assert len(bundle.out_of_fold.proba) == said["oof"]["n"] == 36
    assert set(bundle.logs) == {"tiny-flat"}
    sets = bundle.conformal_sets().predict(np.full((2, 3), 1 / 3), 0.9)
    assert sets.shape == (2, 3)
