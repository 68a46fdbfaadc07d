from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from ensemble_minerals.bundle.bundle import read_bundle
from ensemble_minerals.bundle.student import read_student
from ensemble_minerals.config.students import student_config
from ensemble_minerals.data.manifest import Manifest
from ensemble_minerals.distillation.data import read_distillation_data
from ensemble_minerals.errors import BundleError, ConfigError, DataError, UserError, WeightsError
from ensemble_minerals.evaluation.metrics import summary
from ensemble_minerals.networks.training.estimator import FineTunedNetwork
from ensemble_minerals.prediction.student import load_student
from ensemble_minerals.system.digest import file_digest
from ensemble_minerals.workflows import distill as distilling
from ensemble_minerals.workflows.distill import FINAL, calibrated, distill

pytestmark = pytest.mark.usefixtures("one_thread")

FAST = ["augment={}", "mixup=0.0", "views=[squash]", "precision=float32", "head.dropout=0.0"]


def config_of(*overrides, epochs=1):
    return student_config(
        "test_efficientnet", weights="random", size=32, epochs=epochs, overrides=[*FAST, *overrides]
    )


@pytest.fixture(scope="module")
def spied(tiny, tmp_path_factory):
    """A distillation, and what each student was given and looked at while it trained."""
    calls, looked = [], []
    fit, image = FineTunedNetwork.fit_subproblems, distilling._Teaching
    patch = pytest.MonkeyPatch()

    def watched_fit(self, rows, subproblems, groups=None):
        looked.append(set())
        table = self.images
        look = type(table).image
        patch.setattr(type(table), "image", lambda own, row: (looked[-1].add(int(row)), look(own, row))[1])
        trained = fit(self, rows, subproblems, groups)
        patch.setattr(type(table), "image", look)
        calls.append((np.asarray(rows), subproblems, np.asarray(groups)))
        return trained

    patch.setattr(FineTunedNetwork, "fit_subproblems", watched_fit)
    out = tmp_path_factory.mktemp("distilled") / "student"
    try:
        result = distill(tiny.bundle, out, config_of(), label_share=0.25, n_jobs=1)
    finally:
        patch.undo()
    assert image is distilling._Teaching
    return result, calls, looked


def test_a_student_never_sees_the_rows_it_is_scored_on(spied, tiny):
    _, calls, looked = spied
    distillation_data = read_distillation_data(read_bundle(tiny.bundle))
    folds = [*np.unique(distillation_data.fold).tolist(), FINAL]
    assert len(calls) == len(looked) == len(folds) == 4
    for fold, (rows, subproblems, groups), seen in zip(folds, calls, looked, strict=True):
        outside = np.flatnonzero(distillation_data.fold != fold)
        np.testing.assert_array_equal(rows, outside)
        assert seen == set(outside.tolist())
        assert len(subproblems[0].soft_targets) == len(subproblems[0].targets) == len(outside)
        np.testing.assert_array_equal(groups, distillation_data.groups[outside])


def test_what_is_learned_is_a_mixture_of_label_and_out_of_fold_answer(spied, tiny):
    bundle = read_bundle(tiny.bundle)
    distillation_data = read_distillation_data(bundle)
    _, calls, _ = spied
    rows, (subproblem,), _ = calls[0]
    expected = 0.25 * np.eye(3)[distillation_data.y[rows]] + 0.75 * bundle.out_of_fold.proba[rows]
    np.testing.assert_allclose(subproblem.soft_targets, expected)
    np.testing.assert_array_equal(subproblem.targets, distillation_data.y[rows])


def test_the_figures_are_of_answers_from_out_of_fold_beside_the_teachers(spied, tiny):
    result, _, _ = spied
    bundle = read_bundle(tiny.bundle)
    student = read_student(result.student)
    info = student.info
    assert info["metrics"] == result.metrics
    distillation_data = read_distillation_data(bundle)
    assert result.metrics["teacher"] == summary(distillation_data.y, bundle.out_of_fold.proba, bundle.classes)
    assert result.metrics["teacher"]["accuracy"] == bundle.metrics["oof"]["accuracy"]
    assert result.metrics["oof"]["n"] == len(distillation_data.y)
    assert info["teacher"]["digest"] == file_digest(bundle.path / "bundle.json")
    assert info["classes"] == list(bundle.classes)
    assert info["taxonomy"] == bundle.taxonomy.to_tree()
    assert result.metrics["predict_ms"] > 0
    assert result.metrics["megabytes"] == pytest.approx(
        (result.student / "student.safetensors").stat().st_size / 1e6, rel=0.1
    )


def test_the_saved_student_answers_and_nothing_else_is_left(spied, tiny):
    result, _, _ = spied
    assert [path.name for path in result.student.parent.iterdir()] == ["student"]
    predictions = load_student(result.student, 1).predict([tiny.new], sets=0.9)
    np.testing.assert_allclose(predictions.proba.sum(axis=1), 1)


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
    train = distilling._Teaching.train

    def interrupted(self, fold, work, n_threads):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(fold)
        return train(self, fold, work, n_threads)

    out = tmp_path / "student"
    monkeypatch.setattr(distilling._Teaching, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        distill(tiny.bundle, out, config_of(), label_share=0.25, n_jobs=1)
    assert not out.exists()
    monkeypatch.setattr(distilling._Teaching, "train", train)
    with pytest.raises(BundleError, match=r"distillation .*interrupted.*--resume"):
        distill(tiny.bundle, out, config_of(), n_jobs=1)
    result = distill(tiny.bundle, out, config_of(), label_share=0.25, n_jobs=1, resume=True)
    timed = {"predict_ms", "seconds"}
    assert {k: v for k, v in result.metrics.items() if k not in timed} == {
        k: v for k, v in spied[0].metrics.items() if k not in timed
    }
    same = [(folder / "student.safetensors").read_bytes() for folder in (out, spied[0].student)]
    assert same[0] == same[1]


def test_temperatures_are_learned_on_other_folds():
    rng = np.random.default_rng(0)
    y, fold = rng.integers(0, 3, 600), np.repeat([0, 1, 2], 200)
    log_odds = (np.eye(3)[y] + rng.normal(size=(600, 3)) / 2) * np.array([1.0, 3.0, 9.0])[fold][:, None]
    proba, temperature = calibrated(log_odds, y, fold)
    np.testing.assert_array_equal(proba.argmax(axis=1), log_odds.argmax(axis=1))
    assert 0.05 < temperature < 20
    for number in range(3):
        inside = fold == number
        told = np.where(
            inside, (y + 1) % 3, y
        )  # other labels of a fold move other folds' answers, not its own
        again, moved = calibrated(log_odds, told, fold)
        np.testing.assert_array_equal(again[inside], proba[inside])
        assert not np.allclose(again[~inside], proba[~inside])
        assert moved != temperature


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


def test_photos_that_moved_are_found_and_changed_ones_refused(tiny, tmp_path):
    bundle = read_bundle(tiny.bundle)
    moved = shutil.copytree(tiny.photos, tmp_path / "moved")
    distillation_data = read_distillation_data(bundle, moved)
    assert all(file.is_file() and file.is_relative_to(moved) for file in distillation_data.files)
    manifest = Manifest.read_csv(tiny.bundle / "manifest.csv", moved)
    np.testing.assert_array_equal(
        manifest.label[distillation_data.row], np.array(bundle.classes)[distillation_data.y]
    )
    shutil.copyfile(distillation_data.files[1], distillation_data.files[0])
    with pytest.raises(DataError, match="is not the photo of the fit any more"):
        read_distillation_data(bundle, moved)


def test_a_fit_without_folds_has_nothing_to_teach(tiny, tmp_path, monkeypatch):
    bundle = read_bundle(tiny.bundle)
    read = Manifest.read_csv

    def held_out(path, root):
        manifest = read(path, root)
        return manifest.replace(fold=np.zeros(len(manifest), dtype=np.int64))

    monkeypatch.setattr(Manifest, "read_csv", held_out)
    with pytest.raises(DataError, match="no out-of-fold answers"):
        read_distillation_data(bundle)


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
