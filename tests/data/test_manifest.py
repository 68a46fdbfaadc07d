from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from drawn.manifests import read_manifest
from drawn.photo_folder import COLUMNS, assert_same
from PIL import Image

from ensemble_minerals.data.decoding import DECODER_VERSION
from ensemble_minerals.data.manifest import Manifest
from ensemble_minerals.data.scanning import scan
from ensemble_minerals.errors import DataError, DiskError, UserError


def test_csv_round_trip_is_exact(data, tmp_path):
    with_odd_names = scan(data)
    manifest = with_odd_names.replace(
        row_group=np.arange(9) - 1,
        fold=np.arange(9) % 5 - 1,
        path=[
            'a "quoted", name',
            "two\nlines",
            "carriage\rreturn",
            " blanks ",
            "ж",
            "\udcff stray byte",
            "",
            "=1+1",
            "g",
        ],
        phash=np.array([2**64 - 1, 2**63, 0, 1, 2, 3, 4, 5, 6], dtype=np.uint64),
    )
    path = tmp_path / "manifest.csv"
    manifest.write_csv(path)
    again = read_manifest(path, data)
    assert_same(again, manifest)
    assert again.root == data
    assert again.digest == manifest.digest
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())  # as a spreadsheet saves it
    assert_same(read_manifest(path, data), manifest)


def test_an_empty_manifest_round_trips(data, tmp_path):
    manifest = scan(data)
    none = Manifest(**{name: getattr(manifest, name)[:0] for name in COLUMNS}, root=data)
    none.write_csv(tmp_path / "m.csv")
    again = read_manifest(tmp_path / "m.csv", data)
    assert len(again) == 0
    assert again.classes == ()
    assert again.usable.tolist() == []


def test_a_csv_appears_whole_or_not_at_all(data, tmp_path, monkeypatch):
    manifest = scan(data)
    path = tmp_path / "manifest.csv"
    manifest.write_csv(path)
    before = path.read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(DiskError, match="No space left"):
        manifest.replace(fold=np.zeros(9)).write_csv(path)
    assert path.read_bytes() == before
    assert sorted(child.name for child in tmp_path.iterdir()) == ["manifest.csv", "photos"]
    with pytest.raises(UserError, match="cannot be written"):
        manifest.write_csv(path / "below.csv")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("pixel_hash", "pixels"), "lacks the columns pixel_hash"),
        (lambda text: "", "lacks the columns"),
        (lambda text: text.replace(",ok,", ",fine,", 1), "row 2 .*'fine' is not a valid Status"),
        (lambda text: text.replace(",-1,-1,", ",x,-1,", 1), "row 2 .*damaged"),
        (lambda text: text.rstrip()[:-30], "row 10 .*damaged"),
    ],
)
def test_a_damaged_csv(data, tmp_path, change, message):
    path = tmp_path / "manifest.csv"
    scan(data).write_csv(path)
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_manifest(path, data)


def test_columns_are_checked_and_read_only(data):
    manifest = scan(data)
    with pytest.raises(ValueError, match="fold has shape"):
        manifest.replace(fold=[1, 2])
    with pytest.raises(TypeError):
        manifest.replace(folds=np.zeros(9))
    with pytest.raises(ValueError, match="read-only"):
        manifest.fold[0] = 3
    given = np.zeros(9, dtype=np.int64)
    changed = manifest.replace(fold=given)
    given[0] = 7
    assert changed.fold[0] == 0
    assert manifest.fold[0] == -1


def test_digest_is_of_contents_and_labels(data):
    manifest = scan(data)
    assert len(manifest.digest) == 32
    assert manifest.digest == manifest.replace(fold=np.zeros(9), path=[""] * 9).digest
    assert manifest.digest != manifest.replace(label=["x", *manifest.label[1:]]).digest
    assert manifest.digest != manifest.replace(image_id=["x", *manifest.image_id[1:]]).digest


def test_features_of_files_that_are_decoded_in_another_way_now_are_not_found(data):
    Image.open(data / "quartz" / "a 1.png").save(data / "quartz" / "scan.tif")
    Image.fromarray(np.full((20, 20), 30_000, np.uint16)).save(data / "quartz" / "deep.png")
    (data / "quartz" / "phone").write_bytes((Path(__file__).parent / "files" / "quarters.heic").read_bytes())
    manifest = scan(data)
    marked = {
        path: feature_id.removeprefix(image_id)
        for path, image_id, feature_id in zip(
            manifest.path.tolist(), manifest.image_id.tolist(), manifest.feature_ids, strict=True
        )
    }
    heic = marked.pop("quartz/phone")
    assert heic.startswith(":heif-1.")
    assert {path for path, mark in marked.items() if mark} == {"quartz/scan.tif", "quartz/deep.png"}
    assert set(marked.values()) == {"", f":{DECODER_VERSION}"}
