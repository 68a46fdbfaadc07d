from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ensemble_minerals.errors import BundleError, UserError
from ensemble_minerals.prediction.student import (
    INDEX,
    OutOfFoldAnswers,
    StudentPredictor,
    is_student,
    load_student,
    read_student,
    write_student,
)
from ensemble_minerals.system.digest import file_digest

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def copied(student, tmp_path):
    return shutil.copytree(student, tmp_path / "copy")


def restate(folder, **changes):
    """Change what student.json says, digests made to agree."""
    file = folder / INDEX
    info = json.loads(file.read_text()) | changes
    info["files"] = {name: file_digest(folder / name) for name in info["files"]}
    file.write_text(json.dumps(info))


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


def test_the_directory_states_what_it_is(student):
    assert sorted(path.name for path in student.iterdir()) == [
        "out_of_fold.safetensors", "student.json", "student.safetensors",
    ]  # fmt: skip
    info = json.loads((student / INDEX).read_text())
    assert info["format"] == 1
    assert info["files"] == {
        name: file_digest(student / name) for name in ("student.safetensors", "out_of_fold.safetensors")
    }
    assert {"torch", "timm", "numpy"} <= set(info["packages"])
    assert is_student(student)


def test_a_bundle_is_no_student(tiny):
    assert not is_student(tiny.bundle)
    with pytest.raises(BundleError, match=f"no student at .*{INDEX}.*distill"):
        load_student(tiny.bundle)


@pytest.mark.parametrize("name", ["student.safetensors", "out_of_fold.safetensors"])
def test_changed_and_missing_files_are_refused(copied, name):
    file = copied / name
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(BundleError, match=f"{name} was changed afterwards"):
        read_student(copied)
    file.unlink()
    with pytest.raises(BundleError, match=f"{name} is missing"):
        read_student(copied)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ('{"format": 2}', "has format 2, this version reads format 1"),
        ('{"format": 1}', "damaged: classes, taxonomy"),
    ],
)
def test_a_foreign_index_is_refused(copied, content, message):
    (copied / INDEX).write_text(content)
    with pytest.raises(BundleError, match=message):
        read_student(copied)


def test_classes_and_groups_must_fit_each_other(copied):
    restate(copied, classes=["azurite", "malachite"])
    with pytest.raises(BundleError, match="damaged"):
        read_student(copied)


def test_the_network_must_answer_for_the_classes(copied):
    restate(copied, classes=["azurite", "malachite", "pyrite", "quartz"])
    with pytest.raises(BundleError, match=r"answers for .* classes"):
        load_student(copied, 1)


def test_a_missing_tensor_is_no_random_layer(copied):
    file = copied / "student.safetensors"
    tensors = load_file(file)
    with safe_open(file, framework="pt") as opened:
        metadata = opened.metadata()
    left_out = next(name for name in tensors if name.startswith("body."))
    del tensors[left_out]
    save_file(tensors, file, metadata=metadata)
    restate(copied)
    with pytest.raises(BundleError, match="lacks tensors of its network"):
        load_student(copied, 1)


def test_nothing_but_a_student_is_replaced(student, tmp_path):
    state, metadata, answers = parts(student)
    other = tmp_path / "other"
    other.mkdir()
    (other / "precious.txt").write_text("kept")
    with pytest.raises(UserError, match=r"exists; .*--overwrite"):
        write_student(other, state, metadata, answers)
    with pytest.raises(UserError, match="is no student"):
        write_student(other, state, metadata, answers, overwrite=True)
    assert [path.name for path in other.iterdir()] == ["precious.txt"]


def test_replacing_leaves_one_whole_student(student, copied):
    state, metadata, answers = parts(student)
    (copied / "leftover").write_text("of the former")
    write_student(copied, state, {**metadata, "temperature": 2.5}, answers, overwrite=True)
    assert read_student(copied).temperature == 2.5
    assert {path.name for path in copied.iterdir()} == {path.name for path in student.iterdir()}
    assert [path.name for path in copied.parent.iterdir()] == ["copy"]


def test_a_failed_write_leaves_what_stood_there(student, copied):
    state, metadata, answers = parts(student)
    before = {path.name: path.read_bytes() for path in copied.iterdir()}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_student(copied, state, {**metadata, "temperature": float("nan")}, answers, overwrite=True)
    assert {path.name: path.read_bytes() for path in copied.iterdir()} == before
    assert [path.name for path in copied.parent.iterdir()] == ["copy"]


def test_answers_do_not_depend_on_threads(student, tiny):
    one, three = (StudentPredictor(read_student(student), n) for n in (1, 3))
    np.testing.assert_allclose(one.predict_proba([tiny.new]), three.predict_proba([tiny.new]), atol=1e-6)


def parts(folder):
    """What a student is written from."""
    from ensemble_minerals.networks.models.state import NetworkState

    info = json.loads((folder / INDEX).read_text())
    metadata = {key: value for key, value in info.items() if key not in ("format", "files", "packages")}
    answers = OutOfFoldAnswers(np.eye(3), np.arange(3), np.arange(3), np.arange(3))
    return NetworkState.load(folder / "student.safetensors"), metadata, answers
