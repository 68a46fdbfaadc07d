from __future__ import annotations

import numpy as np
import pytest
import torch
from drawn.student_copies import copied, restate
from PIL import Image

from ensemble_minerals.bundle.student import read_student
from ensemble_minerals.errors import UserError
from ensemble_minerals.prediction.student import StudentPredictor, load_student

__all__ = ["copied"]

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_student_answers_as_its_network_does(student, tiny):
    predictions = load_student(student, 1).predict([tiny.new])
    assert len(predictions) == 6
    assert predictions.classes == ("azurite", "malachite", "pyrite")
    assert predictions.members == ("test_efficientnet",)
    graph = read_student(student).graph()
    pixels = np.array(Image.open(predictions.paths[0]).convert("RGB"))
    expected = graph(torch.from_numpy(pixels)[None])[0].numpy()
    np.testing.assert_allclose(predictions.proba[0], expected, atol=1e-6)
    np.testing.assert_array_equal(predictions.member_proba[:, 0], predictions.proba)
    record = next(predictions.records())
    assert record["status"] == "ok"
    assert record["group"] in ("copper", "pyrite")


def test_shift_and_temperature_are_part_of_the_answer(student, copied, tiny):
    before = load_student(student, 1).predict_proba([tiny.new])
    restate(copied, temperature=3.2)
    softer = load_student(copied, 1).predict_proba([tiny.new])
    log_odds = np.log(before) - np.log(before[:, :1])
    np.testing.assert_allclose(np.log(softer) - np.log(softer[:, :1]), log_odds / 2, atol=1e-5)
    found = read_student(student).graph()
    plain = read_student(student).graph()
    plain.get_buffer("_shift").zero_()
    photo = np.zeros((40, 40, 3), dtype=np.uint8)
    np.testing.assert_allclose(found.answer(photo) - plain.answer(photo), [0.3, -0.2, 0.0], atol=1e-6)


def test_what_cannot_be_read_keeps_its_row(student, tiny, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    large = tiny.draw_photo(tmp_path / "large.png", 0, 0, size=(200, 200))
    whole = next(tiny.new.iterdir())
    predictions = load_student(student, 1).predict([broken, whole, large])
    assert predictions.answered.tolist() == [False, True, False]
    assert "not_an_image" in predictions.reasons[0]
    assert "too_large" in predictions.reasons[2]
    assert [record["status"] for record in predictions.records()] == ["unreadable", "ok", "unreadable"]
    sure = load_student(student, 1).predict([broken], sets=0.9)
    assert not sure.sets.any()


def test_sets_hold_the_asked_confidence_of_the_out_of_fold_answers(student, tiny):
    predictor = load_student(student, 1)
    predictions = predictor.predict([tiny.new], sets=0.9)
    expected = predictor.student.conformal_sets().predict(predictions.proba, 0.9)
    np.testing.assert_array_equal(predictions.sets, expected)
    assert predictions.sets.any(axis=1).all()
    with pytest.raises(UserError, match="between 0 and 1"):
        predictor.predict([tiny.new], sets=95)


def test_answers_do_not_depend_on_threads(student, tiny):
    one, three = (StudentPredictor(read_student(student), n) for n in (1, 3))
    np.testing.assert_allclose(one.predict_proba([tiny.new]), three.predict_proba([tiny.new]), atol=1e-6)
