from __future__ import annotations

import json

import numpy as np
import pytest
from drawn.student_copies import copied, restate
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ensemble_minerals.bundle.schema import STUDENT
from ensemble_minerals.bundle.student import is_student, read_student, write_student
from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.ensemble.oof import OutOfFold
from ensemble_minerals.errors import BundleError, UserError
from ensemble_minerals.system.digest import file_digest

__all__ = ["copied"]

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_directory_states_what_it_is(student):
    assert sorted(path.name for path in student.iterdir()) == [
        "out_of_fold.safetensors", "student.json", "student.safetensors",
    ]  # fmt: skip
    info = json.loads((student / STUDENT.marker).read_text())
    assert info["format"] == 2
    assert info["files"] == {
        name: file_digest(student / name) for name in ("student.safetensors", "out_of_fold.safetensors")
    }
    assert {"torch", "timm", "numpy"} <= set(info["packages"])
    assert is_student(student)


def test_a_bundle_is_no_student(tiny):
    assert not is_student(tiny.bundle)
    with pytest.raises(BundleError, match=f"is no student: it has no {STUDENT.marker}; .*distill"):
        read_student(tiny.bundle)


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
        ('{"format": 3}', "has format 3 and was made by a newer version, this one reads up to 2"),
        ('{"format": 2}', "damaged: classes: is needed but missing"),
    ],
)
def test_a_foreign_index_is_refused(copied, content, message):
    (copied / STUDENT.marker).write_text(content)
    with pytest.raises(BundleError, match=message):
        read_student(copied)


def test_classes_and_groups_must_fit_each_other(copied):
    restate(copied, classes=["azurite", "malachite"])
    with pytest.raises(BundleError, match="damaged"):
        read_student(copied)


def test_the_network_must_answer_for_the_classes(copied):
    restate(copied, classes=["azurite", "malachite", "pyrite", "quartz"])
    with pytest.raises(BundleError, match=r"is a network for .* classes"):
        read_student(copied)


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
        read_student(copied)


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
    with pytest.raises(ValueError, match="temperature: must be"):
        write_student(copied, state, {**metadata, "temperature": float("nan")}, answers, overwrite=True)
    assert {path.name: path.read_bytes() for path in copied.iterdir()} == before
    assert [path.name for path in copied.parent.iterdir()] == ["copy"]


def parts(folder):
    """What a student is written from."""
    from ensemble_minerals.networks.models.state import NetworkState

    info = json.loads((folder / STUDENT.marker).read_text())
    metadata = {key: value for key, value in info.items() if key not in ("format", "files", "packages")}
    rows = np.arange(3)
    answers = OutOfFold(FoldInputs(rows, rows, rows, np.array(["a", "b", "c"])), proba=np.eye(3))
    return NetworkState.load(folder / "student.safetensors"), metadata, answers
