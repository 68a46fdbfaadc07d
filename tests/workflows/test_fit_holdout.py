"""`folds: {n_splits: 1, holdout: F}` from photos to bundle, card and report."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from drawn.manifests import read_manifest
from drawn.runtimes import Notes
from PIL import Image
from rich.console import Console

from ensemble_minerals.bundle.bundle import read_bundle
from ensemble_minerals.cli.results.fit import show_fit
from ensemble_minerals.config.loading import load_config
from ensemble_minerals.data.folds import TRAINING_FOLD
from ensemble_minerals.errors import ConfigError, DataError, UserError
from ensemble_minerals.evaluation.metrics import summary
from ensemble_minerals.members import feature_fits
from ensemble_minerals.prediction.predictor import load
from ensemble_minerals.reports import report as report_module
from ensemble_minerals.workflows.ablate import ablate
from ensemble_minerals.workflows.inspect import inspect_data
from ensemble_minerals.workflows.report import write_report

ONCE = {"n_splits": 1, "holdout": 0.25}


@pytest.fixture(scope="module")
def ears():
    return Notes()


@pytest.fixture(scope="module")
def result(tiny, tmp_path_factory, ears):
    """What a fit with a hold-out made; read only."""
    out = tmp_path_factory.mktemp("once") / "bundle"
    return tiny.fit(tiny.photos, out, tiny.config(folds=ONCE), progress=ears)


@pytest.fixture
def bundle(result):
    return read_bundle(result.bundle)


@pytest.fixture
def manifest(tiny, result):
    return read_manifest(result.bundle / "manifest.csv", tiny.photos)


@pytest.fixture
def trained_on(monkeypatch, members_anew):
    """Feature rows that any member learned from."""
    real, seen = feature_fits.start_together, []

    def spy(members, matrices, inputs, fold, **shared):
        if shared.get("rows") is not None:  # a part of the rows, for the learning curve
            return real(members, matrices, inputs, fold, **shared)
        seen.extend(row.tobytes() for row in matrices[0][inputs.training(fold)])
        return real(members, matrices, inputs, fold, **shared)

    monkeypatch.setattr(feature_fits, "start_together", spy)
    return seen


def features(tiny, manifest, rows):
    from ensemble_minerals.features.extraction import extract_features
    from ensemble_minerals.features.registry import build_extractors

    sources = list(build_extractors(tiny.config(), ["descriptor"], cache_dir=None).values())
    found = extract_features([manifest.file(row) for row in rows], [""] * len(rows), sources)
    return {row.tobytes() for row in found.features["descriptor"][:, 0]}


def test_a_quarter_of_every_class_is_held_out(bundle, manifest):
    held_out = np.flatnonzero(manifest.fold == 0)
    assert Counter(manifest.label[held_out].tolist()) == {"azurite": 3, "malachite": 3, "pyrite": 3}
    assert set(manifest.fold.tolist()) == {0, TRAINING_FOLD}
    assert bundle.out_of_fold.row.tolist() == held_out.tolist()
    assert not np.isnan(bundle.out_of_fold.member_proba).any()


def test_no_held_out_photo_is_learned_from(tiny, tmp_path, trained_on):
    photos = Path(shutil.copytree(tiny.photos, tmp_path / "photos"))
    for name in ("azurite", "malachite", "pyrite"):  # look-alikes go where their originals go
        for seed in range(6):
            image = Image.open(photos / name / f"{seed:02}.png")
            image.resize((60, 47)).save(photos / name / f"{seed:02} small.png")
    tiny.fit(photos, tmp_path / "bundle", tiny.config(folds=ONCE))
    manifest = read_manifest(tmp_path / "bundle" / "manifest.csv", photos)
    held_out, rest = (np.flatnonzero(manifest.fold == fold) for fold in (0, TRAINING_FOLD))
    assert len(held_out) + len(rest) == 54
    assert not np.intersect1d(manifest.row_group[held_out], manifest.row_group[rest]).size
    assert set(trained_on) == features(tiny, manifest, rest)
    assert not features(tiny, manifest, held_out) & set(trained_on)
    assert len(trained_on) == len(rest)  # members share their features: one task, once


def test_figures_are_those_of_the_hold_out(tiny, result, bundle, manifest):
    found = bundle.out_of_fold
    y = np.searchsorted(bundle.classes, manifest.label[found.row])
    metrics = result.metrics
    assert metrics["protocol"] == "holdout"
    assert read_bundle(tiny.bundle).metrics["protocol"] == "cross_validation"
    assert metrics["oof"] == json.loads(json.dumps(summary(y, found.proba, bundle.classes)))
    assert metrics["oof"]["n"] == 9
    assert {scores["n"] for scores in metrics["members"].values()} == {9}
    assert "test" not in metrics
    assert metrics["counts"]["test"] == 0
    assert metrics["meta"]["chosen"] == "uniform"
    assert metrics["meta"]["temperature"] == 1.0
    answers = load(result.bundle).predict_proba([manifest.file(row) for row in found.row])
    np.testing.assert_allclose(answers, found.proba, atol=1e-5)  # what answers is what was scored


def test_the_user_is_told(result, ears, bundle):
    sentence = (
        "one hold-out of 9 photos: members are trained once, on the other 27; there are no out-of-fold rows to learn "
        "weights and a temperature from, so members count alike and the temperature is 1"
    )
    assert sentence in ears.notes
    assert sentence in bundle.info["notes"]
    card = (result.bundle / "README.md").read_text(encoding="utf-8")
    assert "Trained on 27 photos and scored once on 9 others" in card
    assert "## Hold-out figures" in card
    assert "answered by members that never saw it" in card
    where = Console(file=io.StringIO(), width=200)
    show_fit(where, result, synthetic=False)
    shown = where.file.getvalue()
    assert "Hold-out figures of 9 photos" in shown
    for text in (card.split("## Notes of the fit")[0], shown):
        assert "ut-of-fold" not in text


def test_the_report_speaks_of_the_hold_out(tiny, result, tmp_path, monkeypatch):
    monkeypatch.setattr(report_module, "draw_figures", lambda sections, folder, also: {})
    made = write_report(result.bundle, out=tmp_path / "report", n_jobs=1)
    html = made.html.read_text(encoding="utf-8")
    assert "the 9 photos that the fit held out" in html
    assert "9 held-out photos" in html
    assert "<dt>Hold-out</dt><dd>trained once on the other photos" in html
    content = html.replace("there are no out-of-fold rows to learn", "")
    assert "ut-of-fold" not in content
    assert "Cross-validation</dt>" not in content


def test_photos_that_were_trained_on_are_not_scored_again(tiny, result, tmp_path, monkeypatch):
    monkeypatch.setattr(report_module, "draw_figures", lambda sections, folder, also: {})
    ears = Notes()
    write_report(result.bundle, data=tiny.photos, out=tmp_path / "report", n_jobs=1, progress=ears)
    assert "took part in the fit" in ears.notes[0]


def test_prediction_sets_are_calibrated_on_the_hold_out(tiny, result, bundle):
    assert len(bundle.conformal_sets().scores_) == 9
    assert load(result.bundle).predict([tiny.new]).answered.all()


def test_test_photos_of_a_table_are_the_hold_out(tiny, tmp_path, trained_on):
    rows = [
        (file, file.parent.name, "test" if file.stem in {"03", "07"} else "train")
        for file in sorted(tiny.photos.rglob("*.png"))
    ]
    with (tmp_path / "table.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerows([("path", "label", "split"), *rows])
    result = tiny.fit(tmp_path / "table.csv", tmp_path / "bundle", tiny.config(folds=ONCE))
    assert result.metrics["oof"]["n"] == 6
    assert len(trained_on) == 30
    assert "test" not in result.metrics


def test_a_class_that_cannot_stand_on_both_sides_is_named(tiny, tmp_path):
    photos = tiny.folder(tmp_path / "photos", {"a": 4, "b": 1})
    with pytest.raises(
        DataError, match=r"a hold-out need at least 2 row groups of every class[^-]*- class 'b' has 1"
    ):
        tiny.fit(photos, tmp_path / "bundle", tiny.config(folds=ONCE))
    warnings = inspect_data(photos, tiny.config(folds=ONCE), cache_dir=tiny.cache).warnings
    assert any("class 'b' has 1, of 1 photo" in warning for warning in warnings), warnings


def test_what_a_hold_out_does_not_go_with(tiny, tmp_path):
    for refused, words in (
        ({"folds": {"n_splits": 1}}, "folds.holdout: one fold is a plain hold-out"),
        ({"folds": ONCE, "refit": True}, "refit: trains on all photos, those held out, too"),
    ):
        with pytest.raises(ConfigError, match=words):
            tiny.config(**refused)
    assert load_config("fast", ["folds={n_splits: 1, holdout: 0.1}"]).folds.n_splits == 1
    with pytest.raises(UserError, match=r"an ablation needs 2 or more folds .* --set folds.n_splits=3"):
        ablate(tiny.photos, tmp_path / "out", tiny.config(folds=ONCE), n_jobs=1)


def test_one_seed_one_bundle(tiny, result, tmp_path):
    again = tiny.fit(tiny.photos, tmp_path / "again", tiny.config(folds=ONCE), n_jobs=2).bundle
    for name in (
        "members.safetensors",
        "members_oof.safetensors",
        "ensemble_oof.safetensors",
        "manifest.csv",
    ):
        assert (again / name).read_bytes() == (result.bundle / name).read_bytes(), name
