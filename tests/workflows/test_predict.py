from __future__ import annotations

import csv

import numpy as np
import pytest

from ensemble_minerals.errors import UserError
from ensemble_minerals.prediction.photo_predictor import PhotoPredictor
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


def test_evidence_prior_and_advice_stand_beside_the_answers_of_the_photos(tiny, tmp_path):
    photos = sorted(tiny.new.iterdir())
    listed = tmp_path / "list.csv"
    listed.write_text("path,streak\n" + "".join(f"{path},green\n" for path in photos[:2]))
    place = tmp_path / "place.csv"
    place.write_text("class,weight\nazurite,0\nmalachite,1\npyrite,1\n")
    plain = predict(tiny.bundle, [tiny.new], n_jobs=1).predictions
    found = predict(
        tiny.bundle, [listed, tiny.new], evidence=["hardness=3.5-4"], prior=place, advise=True,
        out=tmp_path / "answers.csv", gallery=tmp_path / "answers.html", n_jobs=1,
    ).predictions  # fmt: skip
    np.testing.assert_array_equal(found.proba, plain.proba)
    assert (found.evidence.proba[:, 0] == 0).all()  # no azurite at that place
    assert found.top_with_evidence(0)[0] == "malachite"
    page = (tmp_path / "answers.html").read_text(encoding="utf-8")
    assert page.count("with evidence</small>") == 6
    assert all(remark in page for row in range(6) for remark in found.remarks(row) if ">" not in remark)
    with (tmp_path / "answers.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[-7:] == [
        "with_evidence_label", "with_evidence_confidence", "with_evidence_p_azurite", "with_evidence_p_malachite",
        "with_evidence_p_pyrite", "evidence_note", "advice",
    ]  # fmt: skip
    assert float(rows[0]["with_evidence_confidence"]) == pytest.approx(found.evidence.proba[0].max())


def test_evidence_that_cannot_be_understood_is_refused_before_photos_are_read(tiny, monkeypatch):
    monkeypatch.setattr(PhotoPredictor, "predict_photos", lambda *_: pytest.fail("photos were read"))
    with pytest.raises(UserError, match="did you mean 'hardness'"):
        predict(tiny.bundle, [tiny.new], evidence=["hardnes=3"])


def test_a_model_without_properties_takes_those_that_are_named(student, tiny):
    with pytest.raises(UserError, match="--properties minerals"):
        predict(student, [tiny.new], evidence=["hardness=3"])
    found = predict(student, [tiny.new], evidence=["hardness=6"], properties="minerals", n_jobs=1).predictions
    assert {found.top_with_evidence(row)[0] for row in range(6)} == {"pyrite"}
