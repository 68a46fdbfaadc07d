from __future__ import annotations

import shutil

import numpy as np
import pytest
from drawn.manifests import read_manifest

from ensemble_minerals.bundle.bundle import read_bundle
from ensemble_minerals.data.manifest import Manifest
from ensemble_minerals.distillation.data import read_distillation_data
from ensemble_minerals.errors import DataError


def test_photos_that_moved_are_found_and_changed_ones_refused(tiny, tmp_path):
    bundle = read_bundle(tiny.bundle)
    moved = shutil.copytree(tiny.photos, tmp_path / "moved")
    data = read_distillation_data(bundle, moved)
    assert all(file.is_file() and file.is_relative_to(moved) for file in data.files)
    manifest = read_manifest(tiny.bundle / "manifest.csv", moved)
    np.testing.assert_array_equal(
        manifest.label[data.teacher.row], np.array(bundle.classes)[data.teacher.known.y]
    )
    for number, file in enumerate(sorted(moved.rglob("*.png"))):
        file.rename(moved / f"{number}.png")
    renamed = read_distillation_data(bundle, moved)
    assert [file.read_bytes() for file in renamed.files] == [
        (tiny.photos / path).read_bytes() for path in manifest.path[data.teacher.row]
    ]
    shutil.rmtree(moved)
    shutil.copytree(tiny.photos, moved)
    shutil.copyfile(data.files[1], data.files[0])
    with pytest.raises(DataError, match="is not the photo of the fit any more"):
        read_distillation_data(bundle, moved)


def test_a_fit_without_folds_has_nothing_to_teach(tiny, monkeypatch):
    bundle = read_bundle(tiny.bundle)
    read = Manifest.parse_csv

    def held_out(*arguments):
        manifest = read(*arguments)
        return manifest.replace(fold=np.zeros(len(manifest), dtype=np.int64))

    monkeypatch.setattr(Manifest, "parse_csv", held_out)
    with pytest.raises(DataError, match="no out-of-fold answers"):
        read_distillation_data(bundle)
