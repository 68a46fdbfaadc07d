from __future__ import annotations

import numpy as np
import pytest

from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.ensemble.oof import OutOfFold, OutOfFoldError, read_members
from ensemble_minerals.log_space import LOG_FLOOR
from ensemble_minerals.system.held_file import HeldFile

CLASSES = ("bornite", "pyrite", "quartz")


def dirichlet(n, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(3), size=n)


def known(n=6, classes=CLASSES):
    return FoldInputs(np.arange(n) % 3, np.arange(n) // 2, np.arange(n) % 2, np.array(classes))


def empty():
    return OutOfFold(known(), ["flat", "tree"])


def test_what_was_never_predicted_is_nan():
    answers = empty()
    assert np.isnan(answers.member_proba).all()
    answers.write("tree", np.array([4, 1]), dirichlet(2))
    assert answers.missing("tree").tolist() == [0, 2, 3, 5]
    assert answers.missing("flat").tolist() == [0, 1, 2, 3, 4, 5]
    np.testing.assert_array_equal(answers.member_proba[1, [4, 1]], dirichlet(2))


def test_every_row_is_written_once():
    answers = empty()
    answers.write("flat", np.array([0, 1, 2]), dirichlet(3))
    answers.write("tree", np.array([0, 1, 2]), dirichlet(3))
    before = answers.member_proba.copy()
    with pytest.raises(OutOfFoldError, match="'flat': row 2 was predicted before"):
        answers.write("flat", np.array([5, 2]), dirichlet(2, seed=1))
    with pytest.raises(OutOfFoldError, match="occurs twice"):
        answers.write("flat", np.array([4, 4]), dirichlet(2))
    np.testing.assert_array_equal(answers.member_proba, before)


@pytest.mark.parametrize(
    "answer", [[0.5, 0.5, 0.5], [1.5, -0.5, 0.0], [np.nan, 0.5, 0.5], [np.inf, 0.0, 0.0]]
)
def test_what_is_no_distribution_is_refused(answer):
    answers = empty()
    with pytest.raises(OutOfFoldError, match="no probability distribution"):
        answers.write("flat", np.array([3]), np.array([answer]))
    assert np.isnan(answers.member_proba).all()


def test_nothing_outside_can_change_it():
    answers = empty()
    with pytest.raises(ValueError, match="read-only"):
        answers.member_proba[0, 0] = 1.0


def test_logarithms_need_every_row_of_every_member():
    answers = empty()
    answers.write("flat", np.arange(6), dirichlet(6))
    answers.write("tree", np.arange(4), dirichlet(4))
    with pytest.raises(OutOfFoldError, match=r"'tree' never predicted row 4 \(2 in all\)"):
        answers.log_proba()
    answers.write("tree", np.array([4, 5]), np.array([[1.0, 0, 0], [0, 0, 1.0]]))
    logs = answers.log_proba()
    assert logs.shape == (6, 2, 3)
    np.testing.assert_allclose(logs[:, 0], np.log(dirichlet(6)))
    np.testing.assert_allclose(logs[4, 1], [0, np.log(LOG_FLOOR), np.log(LOG_FLOOR)])


def test_the_whole_is_written_once_and_stays_nan_elsewhere():
    answers = empty()
    assert np.isnan(answers.proba).all()
    answers.write_whole(np.array([4, 1]), dirichlet(2))
    np.testing.assert_array_equal(answers.proba[[4, 1]], dirichlet(2))
    assert np.isnan(answers.proba[[0, 2, 3, 5]]).all()
    assert np.isnan(answers.member_proba).all()
    with pytest.raises(OutOfFoldError, match="the ensemble: row 1 was predicted before"):
        answers.write_whole(np.array([0, 1]), dirichlet(2))


def test_some_rows_keep_what_is_known_of_them():
    answers = empty().in_manifest(np.arange(6) + 10)
    answers.write("tree", np.arange(6), dirichlet(6))
    answers.write_whole(np.arange(6), dirichlet(6, seed=1))
    part = answers.take(np.array([5, 0]))
    assert len(part) == 2
    assert part.row.tolist() == [15, 10]
    assert part.known.groups.tolist() == [2, 0]
    assert (part.members, part.classes) == (("flat", "tree"), CLASSES)
    np.testing.assert_array_equal(part.member_proba[1], dirichlet(6)[[5, 0]])
    np.testing.assert_array_equal(part.proba, dirichlet(6, seed=1)[[5, 0]])


def test_answers_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"answers of shape \(5, 3\); expected \(6, 3\)"):
        OutOfFold(known(), proba=dirichlet(5))


def test_file_keeps_values_names_and_order(tmp_path):
    classes = ("quartz", "Bornit, gelb", "pyrite")
    answers = OutOfFold(known(5, classes), ["z member", "a member"])
    for name in answers.members:
        answers.write(name, np.array([3, 0, 1, 2, 4]), dirichlet(5))
    answers.save_members(tmp_path / "oof.safetensors")
    members, proba = read_members(HeldFile.open(tmp_path / "oof.safetensors"), classes)
    assert members == ("z member", "a member")
    np.testing.assert_array_equal(proba, answers.member_proba)
    loaded = OutOfFold(known(5, classes), members, member_proba=proba)
    with pytest.raises(OutOfFoldError, match="predicted before"):
        loaded.write("z member", np.array([3]), dirichlet(1))


def test_a_file_of_other_answers_is_refused(tmp_path):
    from safetensors.numpy import save_file

    path = tmp_path / "oof.safetensors"
    names = {"names": '{"members": ["a", "b"], "classes": ["bornite", "pyrite", "quartz"]}'}
    even = np.full((2, 6, 3), 1 / 3)
    for proba, metadata, message in (
        (even, {}, "names is missing"),
        (even, {"names": '{"members": ["a"]}'}, "classes: is needed"),
        (even[:1], names, r"of shape \(1, 6, 3\); expected float64 of shape \(2, any, 3\)"),
        (even.astype(np.float32), names, "proba is float32"),
        (even * np.nan, names, "not finite"),
        (even * 2, names, "something else than probabilities"),
        (even - [1, 0, -1], names, "something else than probabilities"),
    ):
        save_file({"proba": proba}, path, metadata=metadata)
        with pytest.raises(ValueError, match=message):
            read_members(HeldFile.open(path), CLASSES)
    path.write_bytes(b"no tensors here")
    with pytest.raises(ValueError, match="no safetensors file"):
        read_members(HeldFile.open(path), CLASSES)
    empty().save_members(path)
    with pytest.raises(ValueError, match="answers about bornite, pyrite, quartz, not about"):
        read_members(HeldFile.open(path), CLASSES[::-1])
