from __future__ import annotations

import csv

import numpy as np
import pytest

from ensemble_minerals.errors import UserError
from ensemble_minerals.prediction.predictor import load
from ensemble_minerals.prediction.student import load_student
from ensemble_minerals.workflows.predict import predict


def test_a_bundle_predicts_and_saves_what_is_wanted(tiny, tmp_path):
    table, gallery = tmp_path / "deep" / "answers.csv", tmp_path / "answers.html"
    result = predict(tiny.bundle, [tiny.new], out=table, top_k=2, gallery=gallery, n_jobs=1)
    np.testing.assert_array_equal(result.predictions.proba, load(tiny.bundle).predict_proba([tiny.new]))
    assert (result.table, result.gallery, result.synthetic) == (table, gallery, False)
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["label_2"] for row in rows] == [
        result.predictions.top(row, 2)[1][0] for row in range(len(rows))
    ]
    assert "Answers" in gallery.read_text(encoding="utf-8")


def test_a_student_predicts_in_the_same_way(student, tiny):
    result = predict(student, [tiny.new], sets=0.9, n_jobs=1)
    np.testing.assert_array_equal(
        result.predictions.proba, load_student(student, 1).predict_proba([tiny.new])
    )
    assert result.predictions.sets is not None
    assert result.table is result.gallery is None


def test_outputs_are_checked_before_photos_are_read(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("ensemble_minerals.workflows.predict.load", lambda *_: pytest.fail("it was loaded"))
    for wrong in ({"out": tmp_path / "answers.txt"}, {"gallery": tmp_path / "answers.pdf"}):
        with pytest.raises(UserError, match="answers"):
            predict(tiny.bundle, [tiny.new], **wrong)
