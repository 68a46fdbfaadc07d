from __future__ import annotations

import shutil

import numpy as np
import pytest

from ensemble_minerals.data.folds import NO_FOLD
from ensemble_minerals.errors import DataError
from ensemble_minerals.experiment import preparation
from ensemble_minerals.experiment.dataset import scan_photos
from ensemble_minerals.experiment.preparation import prepare
from ensemble_minerals.features.registry import build_extractors
from ensemble_minerals.system.runtime import Runtime


@pytest.fixture
def prepared(tiny):
    def call(photos, **changes):
        config, runtime = tiny.config(**changes), Runtime()
        extractors = build_extractors(config, ["descriptor"], cache_dir=None)
        return prepare(scan_photos(photos, config, runtime), config, extractors, runtime)

    return call


def test_what_cannot_be_split_is_told_before_features_are_computed(tiny, prepared, monkeypatch):
    monkeypatch.setattr(preparation, "extract", lambda *_: pytest.fail("features were computed"))
    with pytest.raises(DataError, match="50 folds need at least 50 row groups of every class"):
        prepared(tiny.photos, folds={"n_splits": 50})


def test_a_class_that_shows_what_others_show_is_told_before_features_are_computed(
    tiny, prepared, tmp_path, monkeypatch
):
    shutil.copytree(tiny.photos, tmp_path / "photos")
    (tmp_path / "photos" / "quartz").mkdir()
    for name in ("00.png", "01.png", "02.png"):
        shutil.copy(tmp_path / "photos" / "pyrite" / name, tmp_path / "photos" / "quartz" / name)
    monkeypatch.setattr(preparation, "extract", lambda *_: pytest.fail("features were computed"))
    with pytest.raises(DataError, match=r"nothing of 'quartz' is left: 3 photos show .*duplicates\.pairs"):
        prepared(tmp_path / "photos")


@pytest.mark.parametrize(
    ("text", "words"), [(None, "no such file|No such file"), ("a,b\n", "lacks first and second")]
)
def test_a_file_of_pairs_that_cannot_be_used_is_told_before_the_photos_are_read(
    tiny, prepared, tmp_path, monkeypatch, text, words
):
    if text is not None:
        (tmp_path / "pairs.csv").write_text(text, encoding="utf-8")
    monkeypatch.setattr(
        f"{preparation.__package__}.dataset.scan_with_cache", lambda *_, **__: pytest.fail("photos were read")
    )
    with pytest.raises(DataError, match=words):
        prepared(tiny.photos, duplicates={"pairs": str(tmp_path / "pairs.csv")})


def test_photos_that_vanish_meanwhile_leave_no_fold_without_a_class(tiny, prepared, tmp_path, monkeypatch):
    shutil.copytree(tiny.photos, tmp_path / "photos")
    extract = preparation.extract

    def losing(manifest, *arguments):
        label = manifest.label[0]
        for row in np.flatnonzero((manifest.fold == 0) & (manifest.label == label)):
            manifest.file(row).unlink()
        return extract(manifest, *arguments)

    monkeypatch.setattr(preparation, "extract", losing)
    dataset = prepared(tmp_path / "photos")
    manifest = dataset.manifest
    assert np.all((manifest.fold == NO_FOLD) == (manifest.status == "unreadable"))
    for fold in range(3):
        assert set(dataset.labels[dataset.folds == fold].tolist()) == set(dataset.classes)
