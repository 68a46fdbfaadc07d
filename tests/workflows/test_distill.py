from __future__ import annotations

import json
import re
import shutil

import numpy as np
import onnxruntime
import pytest
import torch
from drawn.onnx_files import metadata_of
from drawn.runtimes import Notes

from ensemble_minerals.bundle.bundle import read_bundle
from ensemble_minerals.bundle.student import read_student
from ensemble_minerals.config.students import student_config
from ensemble_minerals.data.decoding import decode
from ensemble_minerals.data.folds import NO_FOLD
from ensemble_minerals.distillation.data import read_distillation_data
from ensemble_minerals.distillation.students import StudentTraining
from ensemble_minerals.errors import BundleError, ConfigError, DataError, UserError, WeightsError
from ensemble_minerals.evaluation.metrics import summary
from ensemble_minerals.networks.training.estimator import FineTunedNetwork
from ensemble_minerals.prediction.student import load_student
from ensemble_minerals.system.digest import file_digest
from ensemble_minerals.workflows.distill import distill
from ensemble_minerals.workflows.export import export

pytestmark = pytest.mark.usefixtures("one_thread")

FAST = ["augment={}", "mixup=0.0", "views=[squash]", "precision=float32", "head.dropout=0.0"]


def config_of(*overrides, epochs=1):
    return student_config(
        "test_efficientnet", weights="random", size=32, epochs=epochs, overrides=[*FAST, *overrides]
    )


@pytest.fixture(scope="module")
def spied(tiny, tmp_path_factory):
    """A distillation, and for each student its arguments and the images that it read while it trained."""
    calls, images = [], []
    fit = FineTunedNetwork.fit_subproblems
    patch = pytest.MonkeyPatch()

    def spied_fit(self, rows, subproblems, groups=None):
        images.append(set())
        cache = type(self.images)
        read = cache.image
        patch.setattr(cache, "image", lambda own, row: (images[-1].add(int(row)), read(own, row))[1])
        trained = fit(self, rows, subproblems, groups)
        patch.setattr(cache, "image", read)
        calls.append((np.asarray(rows), subproblems, np.asarray(groups)))
        return trained

    patch.setattr(FineTunedNetwork, "fit_subproblems", spied_fit)
    out = tmp_path_factory.mktemp("distilled") / "student"
    try:
        told = Notes()
        result = distill(tiny.bundle, out, config_of(), label_share=0.25, n_jobs=1, progress=told)
    finally:
        patch.undo()
    return result, calls, images, told.notes


def test_a_student_never_sees_the_rows_it_is_scored_on(spied, tiny):
    _, calls, images, _ = spied
    known = read_distillation_data(read_bundle(tiny.bundle)).teacher.known
    folds = [*known.numbers, NO_FOLD]
    assert len(calls) == len(images) == len(folds) == 4
    for fold, (rows, subproblems, groups), seen in zip(folds, calls, images, strict=True):
        outside = np.flatnonzero(known.folds != fold)
        np.testing.assert_array_equal(rows, outside)
        assert seen == set(outside.tolist())
        assert len(subproblems[0].soft_targets) == len(subproblems[0].targets) == len(outside)
        np.testing.assert_array_equal(groups, known.groups[outside])


def test_what_is_learned_is_a_mixture_of_label_and_out_of_fold_answer(spied, tiny):
    bundle = read_bundle(tiny.bundle)
    known = bundle.out_of_fold.known
    _, calls, *_ = spied
    rows, (subproblem,), _ = calls[0]
    expected = 0.25 * np.eye(3)[known.y[rows]] + 0.75 * bundle.out_of_fold.proba[rows]
    np.testing.assert_allclose(subproblem.soft_targets, expected)
    np.testing.assert_array_equal(subproblem.targets, known.y[rows])


def test_the_figures_are_of_answers_from_out_of_fold_beside_the_teachers(spied, tiny):
    result = spied[0]
    bundle = read_bundle(tiny.bundle)
    student = read_student(result.student)
    info = student.info
    assert info["metrics"] == result.metrics
    y = bundle.out_of_fold.known.y
    assert result.metrics["teacher"] == summary(y, bundle.out_of_fold.proba, bundle.classes)
    assert result.metrics["teacher"]["accuracy"] == bundle.metrics["oof"]["accuracy"]
    assert result.metrics["oof"]["n"] == len(y)
    assert info["teacher"]["digest"] == file_digest(bundle.path / "bundle.json")
    assert info["classes"] == list(bundle.classes)
    assert info["taxonomy"] == bundle.taxonomy.to_tree()
    assert result.metrics["predict_ms"] > 0
    assert result.metrics["megabytes"] == pytest.approx(
        (result.student / "student.safetensors").stat().st_size / 1e6, rel=0.1
    )


def test_the_saved_student_answers_and_nothing_else_is_left(spied, tiny):
    result = spied[0]
    assert [path.name for path in result.student.parent.iterdir()] == ["student"]
    student = read_student(result.student)
    assert student.photo_root == tiny.photos.resolve()
    assert student.manifest(tiny.photos).digest == read_bundle(tiny.bundle).manifest(tiny.photos).digest
    predictions = load_student(result.student, 1).predict([tiny.new], sets=0.9)
    np.testing.assert_allclose(predictions.proba.sum(axis=1), 1)


def test_a_student_tells_strangers_by_its_own_answers(spied, tiny, tmp_path):
    result = spied[0]
    rejection = read_student(result.student).rejection
    assert rejection.features == ("members:log_proba",)
    assert rejection.refuse == read_bundle(tiny.bundle).rejection.refuse
    assert len(rejection.calibration) == 36
    found = load_student(result.student, 1).predict([tiny.new])
    assert set(map(found.verdict, range(6))) <= {"answered", "none_of_these"}
    told = Notes()
    made = export(result.student, tmp_path / "student.onnx", photos=tmp_path, progress=told)
    assert "typicality" in {node.name for node in onnxruntime.InferenceSession(made.file).get_outputs()}
    assert made.files == 0
    assert told.notes == [
        "not compared with predict on photos of the fit, which are not at hand; --photos says where they are now"
    ]


def test_the_student_of_a_fold_is_kept_and_its_answers_are_those_out_of_fold(spied, tiny):
    result, _, _, _ = spied
    teacher = read_distillation_data(read_bundle(tiny.bundle)).teacher
    first = teacher.known.held_out(teacher.known.numbers[0])
    student = read_student(result.student)
    fold = student.fold_student()
    np.testing.assert_array_equal(fold.held_out, teacher.row[first])
    np.testing.assert_array_equal(fold.y, teacher.known.y[first])
    assert not set(fold.training) & set(fold.held_out)
    assert len(fold.training) + len(fold.held_out) == len(teacher.row)
    manifest = student.manifest(student.photo_root)
    log_odds = [fold.graph.answer(decode(manifest.file(row)).pixels) for row in fold.held_out.tolist()]
    _, saved, _ = student._out_of_fold()
    np.testing.assert_array_equal(np.argmax(log_odds, axis=1), saved[first].argmax(axis=1))


def test_int8_is_measured_on_photos_that_the_student_never_saw(spied, tmp_path, monkeypatch):
    student = read_student(spied[0].student)
    fold = student.fold_student()
    monkeypatch.setattr("ensemble_minerals.exporting.quantization.WORTH_A_REMARK", -2.0)
    told = Notes()
    made = export(student.path, tmp_path / "student.onnx", quantize="int8", progress=told)
    manifest = student.manifest(student.photo_root)
    with torch.inference_mode():
        proba = [
            fold.graph(torch.tensor(decode(manifest.file(row)).pixels)[None])[0].numpy()
            for row in fold.held_out.tolist()
        ]
    expected = summary(fold.y, np.array(proba, np.float64), student.classes)
    assert made.int8.n == len(fold.held_out)
    assert made.int8.accuracy[0] == pytest.approx(expected["accuracy"])
    assert made.int8.log_loss[0] == pytest.approx(expected["log_loss"], abs=1e-3)
    assert made.int8.log_loss[1] != made.int8.log_loss[0]
    assert made.int8.log_loss[1] == pytest.approx(expected["log_loss"], abs=0.1)
    assert any("int8 costs" in note for note in told.notes)
    assert metadata_of(made.file) == made.metadata
    assert made.metadata["precision"] == "int8"
    assert made.megabytes == made.file.stat().st_size / 1e6
    with pytest.raises(UserError, match=r"needs the photos of the fit.*--photos"):
        export(student.path, tmp_path / "moved.onnx", quantize="int8", photos=tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["student.onnx"]


def test_int8_without_held_out_photos_is_refused(student, tiny, tmp_path):
    with pytest.raises(UserError, match=r"keeps no student of a fold.*distill it again"):
        export(student, tmp_path / "student.onnx", quantize="int8")
    with pytest.raises(UserError, match=r"--quantize int8: .* is no student"):
        export(tiny.bundle, tmp_path / "bundle.onnx", quantize="int8")
    assert list(tmp_path.iterdir()) == []


def test_a_student_learns_what_its_teacher_says_and_not_the_labels(tiny, tmp_path):
    """With no share of the label, a teacher that calls everything pyrite is believed."""
    bundle = shutil.copytree(tiny.bundle, tmp_path / "bundle")
    lie(bundle)
    result = distill(
        bundle,
        tmp_path / "student",
        config_of("phases.0.lr=0.05", "phases.0.train=head", "average_last=0", epochs=4),
        label_share=0.0,
        n_jobs=1,
    )
    answers = load_student(result.student, 1).predict_proba([tiny.new])
    assert result.metrics["oof"]["per_class"]["pyrite"]["answered"] == 36
    assert (answers.argmax(axis=1) == 2).all()


def lie(folder):
    """Make a teacher call everything pyrite."""
    from safetensors.numpy import load_file, save_file

    file = folder / "ensemble_oof.safetensors"
    arrays = load_file(file)
    arrays["proba"] = np.tile([0.05, 0.05, 0.9], (len(arrays["proba"]), 1))
    save_file(arrays, file)
    index = json.loads((folder / "bundle.json").read_text())
    index["files"][file.name] = file_digest(file)
    (folder / "bundle.json").write_text(json.dumps(index))


def test_an_interrupted_distillation_is_taken_up(spied, tiny, tmp_path, monkeypatch):
    done = []
    train = StudentTraining.train

    def interrupted(self, fold, work, n_threads):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(fold)
        return train(self, fold, work, n_threads)

    out = tmp_path / "student"
    monkeypatch.setattr(StudentTraining, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        distill(tiny.bundle, out, config_of(), label_share=0.25, n_jobs=1)
    assert not out.exists()
    monkeypatch.setattr(StudentTraining, "train", train)
    with pytest.raises(BundleError, match=r"distillation .*interrupted.*--resume"):
        distill(tiny.bundle, out, config_of(), n_jobs=1)
    result = distill(tiny.bundle, out, config_of(), label_share=0.25, n_jobs=1, resume=True)
    timed = {"predict_ms", "seconds"}
    assert {k: v for k, v in result.metrics.items() if k not in timed} == {
        k: v for k, v in spied[0].metrics.items() if k not in timed
    }
    same = [(folder / "student.safetensors").read_bytes() for folder in (out, spied[0].student)]
    assert same[0] == same[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label_share": 1.5}, "label_share=1.5: give a share"),
        ({"n_jobs": 0}, "n_jobs=0"),
        ({"photos": "elsewhere"}, "36 of the 36 photos .* with --photos"),
    ],
)
def test_arguments_that_make_no_sense(tiny, tmp_path, change, message):
    with pytest.raises((UserError, DataError), match=message):
        distill(tiny.bundle, tmp_path / "student", config_of(), **{"n_jobs": 1, **change})
    assert list(tmp_path.iterdir()) == []


def test_what_stands_at_out_is_no_prey(tiny, tmp_path):
    (tmp_path / "kept.txt").write_text("mine")
    with pytest.raises(UserError, match="exists; "):
        distill(tiny.bundle, tmp_path, config_of(), n_jobs=1)
    with pytest.raises(UserError, match="no student"):
        distill(tiny.bundle, tmp_path, config_of(), n_jobs=1, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]


def test_weights_that_cannot_be_had_are_told_before_anything_is_made(tiny, tmp_path):
    config = student_config("test_efficientnet", weights="missing.safetensors", size=32)
    with pytest.raises(WeightsError, match=r"missing\.safetensors"):
        distill(tiny.bundle, tmp_path / "student", config, n_jobs=1)
    assert list(tmp_path.iterdir()) == []


def test_the_default_student_needs_no_network():
    assert (student_config().model, student_config().weights) == (
        "tf_efficientnet_lite0",
        "package:efficientnet_lite0",
    )
    assert student_config("mobilenetv3_small_100").weights == "hub"
    assert student_config("tf_efficientnet_lite0", weights="random").weights == "random"


def test_a_student_far_behind_its_teacher_is_remarked_on_and_the_time_is_told_before(spied, tiny):
    result, notes = spied[0], spied[3]
    student, teacher = (result.metrics[name]["accuracy"] for name in ("oof", "teacher"))
    assert teacher - student > 0.2
    (remark,) = (note for note in result.notes if "much worse" in note)
    assert f"{student:.2f} of its answers are right, {teacher:.2f} of the teacher's" in remark
    assert "--epochs" in remark
    assert list(read_student(result.student).info["notes"]) == list(result.notes)
    assert re.fullmatch(r"4 students, .* take about .* to train here", notes[0])


def test_settings_of_a_student_can_be_set_one_by_one():
    config = student_config(
        "mobilenetv3_small_100",
        weights="random",
        epochs=3,
        overrides=["phases.0.train=last:2", "head.pooling=stats", "average_last=0"],
    )
    assert config.phases[0].train == "last:2"
    assert config.phases[-1].epochs == 3
    assert config.head.pooling == "stats"
    assert config.average_last == 0
    assert (config.model, config.size) == ("mobilenetv3_small_100", 224)
    with pytest.raises(ConfigError) as raised:
        student_config("x", overrides=["phases.0.trian=all", "views=[sqash]", "nothing"])
    assert len(raised.value.problems) == 3
