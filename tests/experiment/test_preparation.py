from __future__ import annotations

import shutil

import numpy as np
import pytest

from ensemble_minerals.data.folds import NO_FOLD
from ensemble_minerals.errors import DataError
from ensemble_minerals.experiment import preparation
from ensemble_minerals.experiment.dataset import scan_photos
from ensemble_minerals.experiment.preparation import prepare
from ensemble_minerals.features import extraction
from ensemble_minerals.features.registry import build_extractors
from ensemble_minerals.system.progress import Silent
from ensemble_minerals.system.runtime import Runtime


class Stages(Silent):
    """Keeps the names of the stages."""

    def __init__(self):
        self.begun = []

    def stage(self, name):
        self.begun.append(name)
        return super().stage(name)


@pytest.fixture
def stages():
    return Stages()


@pytest.fixture
def prepared(tiny, stages):
    def call(photos, **changes):
        config, runtime = tiny.config(**changes), Runtime(progress=stages)
        extractors = build_extractors(config, ["descriptor"], cache_dir=None)
        return prepare(scan_photos(photos, config, runtime), config, extractors, runtime)

    return call


def test_what_cannot_be_split_is_told_before_features_are_computed(tiny, prepared, stages):
    with pytest.raises(DataError, match="50 folds need at least 50 row groups of every class"):
        prepared(tiny.photos, folds={"n_splits": 50})
    assert "Computing features" not in stages.begun


def test_a_class_that_shows_what_others_show_is_told_before_features_are_computed(
    tiny, prepared, stages, tmp_path
):
    shutil.copytree(tiny.photos, tmp_path / "photos")
    (tmp_path / "photos" / "quartz").mkdir()
    for name in ("00.png", "01.png", "02.png"):
        shutil.copy(tmp_path / "photos" / "pyrite" / name, tmp_path / "photos" / "quartz" / name)
    with pytest.raises(DataError, match=r"nothing of 'quartz' is left: 3 photos show .*duplicates\.pairs"):
        prepared(tmp_path / "photos")
    assert "Computing features" not in stages.begun


@pytest.mark.usefixtures("one_thread")
def test_with_many_photos_a_class_each_is_decoded_once_for_all_features(tiny, tmp_path, monkeypatch):
    networks = [
        {"name": name, "model": "test_resnet", "weights": "random", "size": 32, "views": [view]}
        for name, view in (("first", "squash"), ("second", "center"))
    ]
    members = [{"features": ["first", "second", "descriptor"], "strategy": "flat"}]
    config = tiny.config(
        backbones=networks, members=members, engine="torch", precision="float32", duplicates={"near": True}
    )
    opened = []
    decoded = extraction.decoded
    monkeypatch.setattr(
        extraction, "decoded", lambda path, **how: opened.append(path) or decoded(path, **how)
    )

    def call(cache_dir):
        opened.clear()
        runtime = Runtime(cache_dir=cache_dir)
        extractors = build_extractors(config, ["first", "second", "descriptor"], cache_dir=cache_dir)
        return prepare(scan_photos(tiny.photos, config, runtime), config, extractors, runtime)

    at_once, n_opened = call(None), len(opened)
    monkeypatch.setattr(preparation, "MANY", 5)  # there are twelve of a class, and three folds
    apart = call(tmp_path)
    assert (n_opened, len(opened)) == (36, 72)
    np.testing.assert_array_equal(at_once.manifest.row_group, apart.manifest.row_group)
    for name, matrix in apart.features.items():
        np.testing.assert_array_equal(at_once.features[name], matrix)


@pytest.mark.parametrize(
    ("text", "words"), [(None, "no such file|No such file"), ("a,b\n", "lacks first and second")]
)
def test_a_file_of_pairs_that_cannot_be_used_is_told_before_the_photos_are_read(
    tiny, prepared, stages, tmp_path, text, words
):
    if text is not None:
        (tmp_path / "pairs.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=words):
        prepared(tiny.photos, duplicates={"pairs": str(tmp_path / "pairs.csv")})
    assert stages.begun == []


def test_photos_that_vanish_meanwhile_leave_no_fold_without_a_class(
    tiny, prepared, stages, tmp_path, monkeypatch
):
    shutil.copytree(tiny.photos, tmp_path / "photos")
    extract = preparation.extract

    def losing(manifest, *arguments):
        label = manifest.label[0]
        for row in np.flatnonzero((manifest.fold == 0) & (manifest.label == label)):
            manifest.file(row).unlink()
        return extract(manifest, *arguments)

    monkeypatch.setattr(preparation, "extract", losing)
    dataset = prepared(tmp_path / "photos")
    assert "Computing features" in stages.begun
    manifest = dataset.manifest
    assert np.all((manifest.fold == NO_FOLD) == (manifest.status == "unreadable"))
    for fold in range(3):
        assert set(dataset.labels[dataset.folds == fold].tolist()) == set(dataset.classes)
