"""Photos brought to rows: what is alike, what is set aside, what is held out, and that every file keeps its row."""

from __future__ import annotations

import csv
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ensemble_minerals.config.schema import Config
from ensemble_minerals.data.decoding import decode
from ensemble_minerals.data.manifest import Manifest
from ensemble_minerals.errors import DataError
from ensemble_minerals.experiment import dataset as dataset_module
from ensemble_minerals.experiment.dataset import (
    Dataset,
    counts,
    extract,
    scan_photos,
)
from ensemble_minerals.experiment.grouping import group_photos
from ensemble_minerals.experiment.preparation import prepare
from ensemble_minerals.features.descriptor.extractor import ColorTextureExtractor
from ensemble_minerals.features.registry import build_extractors
from ensemble_minerals.features.store import FeatureStore
from ensemble_minerals.system.digest import content_digest
from ensemble_minerals.system.progress import Silent
from ensemble_minerals.system.runtime import Runtime


def loaded(tiny, data: Path, config: Config | None = None, **options: Any) -> Dataset:
    """Scanned, grouped and extracted."""
    config = tiny.config() if config is None else config
    runtime = Runtime(**{"cache_dir": tiny.cache, **options})
    manifest, _ = group_photos(scan_photos(data, config, runtime), config, runtime)
    return extract(manifest, config, build_extractors(config, ["descriptor"], cache_dir=None), runtime)


def divided(tiny, data: Path, config: Config | None = None) -> Dataset:
    config = tiny.config() if config is None else config
    runtime = Runtime(cache_dir=tiny.cache)
    extractors = build_extractors(config, ["descriptor"], cache_dir=None)
    return prepare(scan_photos(data, config, runtime), config, extractors, runtime)


def row_of(manifest: Manifest, path: str) -> int:
    return manifest.path.tolist().index(path)


def status(manifest: Manifest) -> dict[str, str]:
    return dict(zip(manifest.path.tolist(), manifest.status.tolist(), strict=True))


def table(path: Path, *rows: tuple[str, ...], header: str = "path,label,split") -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header.split(","), *rows])
    return path


def rows_of(photos: Path, mark: str = "") -> list[tuple[str, ...]]:
    return [
        (file.relative_to(photos).as_posix(), file.parent.name, mark)
        for file in sorted(photos.rglob("*.png"))
    ]


@pytest.fixture
def photos(tiny, tmp_path) -> Path:
    """A copy to be changed."""
    return Path(shutil.copytree(tiny.photos, tmp_path / "photos"))


# -- rows and their features --------------------------------------------------------------------------------


def test_features_that_an_older_decoder_gave_are_computed_anew(tiny, photos, tmp_path):
    scan = photos / "azurite" / "scan.tif"
    Image.open(photos / "azurite" / "00.png").transpose(Image.Transpose.ROTATE_180).save(scan)
    (extractor,) = build_extractors(tiny.config(), ["descriptor"], cache_dir=None).values()
    cache = tmp_path / "cache"
    names = ["azurite/scan.tif", "azurite/01.png"]
    cache.mkdir()
    kept = np.full((2, extractor.n_views, extractor.n_features), 7, np.float32)
    with FeatureStore(cache / dataset_module.FEATURES) as store:
        store.put_features(
            [content_digest((photos / name).read_bytes()) for name in names], extractor.fingerprint, kept
        )
    for _ in range(2):
        found = loaded(tiny, photos, cache_dir=cache)
        files = found.manifest.path[found.rows].tolist()
        anew, as_before = (found.features["descriptor"][files.index(name)] for name in names)
        assert not (anew == 7).all()
        assert (as_before == 7).all()


def test_features_stand_beside_the_rows_they_belong_to(tiny, photos):
    (photos / "azurite" / "00.png").write_bytes(b"no photo")
    (photos / "malachite" / "05.png").write_bytes((photos / "malachite" / "06.png").read_bytes()[:200])
    found = loaded(tiny, photos)
    manifest = found.manifest
    assert len(manifest) == 36
    assert found.readable.tolist() == manifest.usable.tolist()
    assert sorted(np.flatnonzero(manifest.status == "unreadable")) == [
        row_of(manifest, "azurite/00.png"),
        row_of(manifest, "malachite/05.png"),
    ]
    assert manifest.reason[row_of(manifest, "azurite/00.png")].startswith("not_an_image")
    assert manifest.reason[row_of(manifest, "malachite/05.png")].startswith("truncated")
    rows = manifest.usable[[20, 3, 33]]
    extractor = ColorTextureExtractor()
    expected = [extractor.extract([decode(manifest.file(row)).pixels])[0, 0] for row in rows]
    np.testing.assert_allclose(found.blocks(rows)["descriptor"], expected, rtol=1e-5, atol=1e-6)


def test_with_and_without_a_cache_and_threads_all_is_the_same(tiny):
    warm, cold = loaded(tiny, tiny.photos), loaded(tiny, tiny.photos, cache_dir=None, n_jobs=2)
    np.testing.assert_array_equal(warm.features["descriptor"], cold.features["descriptor"])
    for column in ("image_id", "row_group", "status", "phash"):
        np.testing.assert_array_equal(getattr(warm.manifest, column), getattr(cold.manifest, column))


def test_the_user_hears_of_stages_and_warnings(tiny, photos):
    (photos / "stray.png").touch()
    heard: list[str] = []

    class Ear(Silent):
        def stage(self, name):
            heard.append(name)
            return super().stage(name)

        def note(self, text):
            heard.append(text)

    loaded(tiny, photos, progress=Ear())
    assert heard[0] == "Reading photos"
    assert "Computing features" in heard
    assert any("stray.png" in text for text in heard)
    assert any("below 20 readable photos" in text and "'pyrite' has 12" in text for text in heard)


# -- copies, look-alikes, conflicts -------------------------------------------------------------------------


def test_copies_are_set_aside_and_conflicts_quarantined(tiny, photos):
    shutil.copy(photos / "pyrite" / "03.png", photos / "pyrite" / "a copy.png")
    Image.open(photos / "pyrite" / "04.png").save(photos / "pyrite" / "04 again.bmp")
    shutil.copy(photos / "pyrite" / "05.png", photos / "azurite" / "no azurite.png")
    found = divided(tiny, photos)
    states = status(found.manifest)
    assert Counter(states.values()) == {"ok": 35, "duplicate": 2, "conflict": 2}
    assert states["pyrite/03.png"] == states["pyrite/04 again.bmp"] == "ok"  # the first by name stays
    assert states["pyrite/a copy.png"] == states["pyrite/04.png"] == "duplicate"
    assert states["pyrite/05.png"] == states["azurite/no azurite.png"] == "conflict"
    manifest = found.manifest
    assert "another class" in manifest.reason[row_of(manifest, "pyrite/05.png")]
    assert "exact copy" in manifest.reason[row_of(manifest, "pyrite/a copy.png")]
    aside = np.flatnonzero(manifest.status != "ok")
    assert (manifest.fold[aside] == -1).all()
    assert not np.isin(aside, found.rows).any()
    assert counts(manifest) == {
        "files": 39,
        "status": {"conflict": 2, "duplicate": 2, "ok": 35},
        "classes": {"azurite": 12, "malachite": 12, "pyrite": 11},
        "row_groups": 35,
        "test": 0,
    }


def test_copies_may_be_kept_and_share_a_fold(tiny, photos):
    shutil.copy(photos / "pyrite" / "03.png", photos / "pyrite" / "a copy.png")
    kept = divided(tiny, photos, tiny.config(duplicates={"exact": "keep"})).manifest
    assert set(kept.status.tolist()) == {"ok"}
    one, other = row_of(kept, "pyrite/03.png"), row_of(kept, "pyrite/a copy.png")
    assert kept.row_group[one] == kept.row_group[other]
    assert kept.fold[one] == kept.fold[other] >= 0


def test_look_alikes_share_a_fold(tiny, photos):
    for name in ("azurite", "malachite", "pyrite"):
        for seed in range(4):
            image = Image.open(photos / name / f"{seed:02}.png")
            image.resize((60, 47)).save(photos / name / f"{seed:02} small.png")
            image.save(photos / name / f"{seed:02} poor.jpg", quality=70)
            image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(photos / name / f"{seed:02} mirrored.webp")
    manifest = divided(tiny, photos).manifest
    assert set(manifest.status.tolist()) == {"ok"}
    for name in ("azurite", "malachite", "pyrite"):
        for seed in range(4):
            family = [row for row, path in enumerate(manifest.path) if path.startswith(f"{name}/{seed:02}")]
            assert len(family) == 4
            assert len({int(manifest.row_group[row]) for row in family}) == 1
            assert len({int(manifest.fold[row]) for row in family}) == 1
    assert len(set(manifest.row_group.tolist())) == 36  # and nobody else


def test_given_groups_share_a_fold(tiny, photos):
    rows = [(path, label, f"stone {n % 9}") for n, (path, label, _) in enumerate(rows_of(photos))]
    manifest = divided(tiny, table(photos / "groups.csv", *rows, header="path,label,group")).manifest
    for stone in range(9):
        assert len(set(manifest.fold[manifest.given_group == f"stone {stone}"].tolist())) == 1


def test_the_same_row_twice_counts_once_and_under_two_labels_not_at_all(tiny, photos):
    rows = rows_of(photos)
    manifest = divided(
        tiny, table(photos / "twice.csv", *rows, rows[0], rows[1], ("azurite/05.png", "pyrite", ""))
    ).manifest
    assert Counter(manifest.status.tolist()) == {"ok": 35, "duplicate": 2, "conflict": 2}
    assert len(manifest) == 39


def test_photos_that_are_all_alike_are_explained(tiny, tmp_path):
    for name in ("a", "b"):
        for number in range(3):
            tiny.draw_photo(tmp_path / "one picture" / name / f"{number}.png", 0, 0)
            tiny.draw_photo(tmp_path / "two pictures" / name / f"{number}.png", ord(name) % 2, 0)
    with pytest.raises(DataError, match=r"nothing of 'a', 'b' is left: 6 photos show the same picture"):
        divided(tiny, tmp_path / "one picture")
    with pytest.raises(DataError, match=r"'a' has 1, of 1 photo besides 2 copies, none merged"):
        divided(tiny, tmp_path / "two pictures")
    for number in range(3):
        (tmp_path / "two pictures" / "b" / f"{number}.png").write_bytes(b"")
    with pytest.raises(
        DataError, match=r"only one class has photos that can be read \('a': 3\).*\n.* 3 x empty"
    ):
        divided(tiny, tmp_path / "two pictures")
    for number in range(3):
        (tmp_path / "two pictures" / "a" / f"{number}.png").write_bytes(b"")
    with pytest.raises(DataError, match="no photo could be read"):
        divided(tiny, tmp_path / "two pictures")


# -- test part ----------------------------------------------------------------------------------------------


def test_a_hold_out_takes_whole_groups_of_every_class(tiny, photos):
    for name in ("azurite", "malachite", "pyrite"):
        for seed in range(6):
            image = Image.open(photos / name / f"{seed:02}.png")
            image.resize((60, 47)).save(photos / name / f"{seed:02} small.png")
    config = tiny.config(folds={"n_splits": 3, "holdout": 0.3})
    found = divided(tiny, photos, config)
    manifest, test = found.manifest, found.test_rows
    assert 0.2 < len(test) / len(manifest) < 0.4
    assert set(manifest.label[test].tolist()) == {"azurite", "malachite", "pyrite"}
    assert not np.intersect1d(manifest.row_group[test], manifest.row_group[found.rows]).size
    assert sorted([*test, *found.rows]) == list(range(54))
    assert set(manifest.fold[found.rows].tolist()) == {0, 1, 2}
    assert counts(manifest)["test"] == len(test)
    again = divided(tiny, photos, config).manifest.fold
    np.testing.assert_array_equal(again, manifest.fold)
    other = divided(tiny, photos, config.model_copy(update={"seed": 1})).manifest.fold
    assert not np.array_equal(other, manifest.fold)


def test_classes_that_were_not_chosen_are_excluded_and_not_opened(tiny, photos):
    (photos / "malachite" / "00.png").write_bytes(b"no photo")
    shutil.copy(photos / "malachite" / "03.png", photos / "pyrite" / "no conflict.png")
    manifest = divided(tiny, photos, tiny.config(classes=["pyrite", "azurite"])).manifest
    assert Counter(manifest.status.tolist()) == {"ok": 25, "excluded": 12}
    assert set(manifest.label[manifest.status == "excluded"].tolist()) == {"malachite"}
    assert set(manifest.image_id[manifest.status == "excluded"].tolist()) == {""}


# -- files that change meanwhile ----------------------------------------------------------------------------


@pytest.fixture
def meanwhile(monkeypatch):
    """Lets something happen between the scan and the features."""

    def happens(event) -> None:
        real = dataset_module.scan_with_cache

        def scan(*arguments, **options):
            found = real(*arguments, **options)
            event()
            return found

        monkeypatch.setattr(dataset_module, "scan_with_cache", scan)

    return happens


def test_a_file_that_vanishes_after_the_scan_keeps_its_row(tiny, photos, meanwhile):
    meanwhile((photos / "pyrite" / "04.png").unlink)
    found = loaded(tiny, photos, cache_dir=None)
    row = row_of(found.manifest, "pyrite/04.png")
    assert found.manifest.status[row] == "unreadable"
    assert found.manifest.reason[row].startswith("missing")
    assert row not in found.readable
    assert len(found.features["descriptor"]) == len(found.readable) == 35
    assert np.isfinite(found.features["descriptor"]).all()


def test_a_file_replaced_after_the_scan_does_not_pass_for_the_old_one(
    tiny, photos, meanwhile, tmp_path, monkeypatch
):
    """Neither in this fit, nor in the features that are kept for the next."""
    victim = photos / "pyrite" / "04.png"
    original = victim.read_bytes()
    meanwhile(lambda: tiny.draw_photo(victim, 3, 999))
    found = loaded(tiny, photos, cache_dir=tmp_path / "cache")
    row = row_of(found.manifest, "pyrite/04.png")
    assert found.manifest.status[row] == "unreadable"
    assert found.manifest.reason[row] == "changed: not the file that was scanned; run again"

    monkeypatch.undo()
    with FeatureStore(tmp_path / "cache" / "features.sqlite") as store:
        fingerprint = found.extractors["descriptor"].fingerprint
        assert not store.contains(fingerprint, [content_digest(original)])
        assert store.contains(fingerprint, [found.manifest.image_id[0]])
    victim.write_bytes(original)
    again = loaded(tiny, photos, cache_dir=tmp_path / "cache")
    np.testing.assert_array_equal(
        again.features["descriptor"], loaded(tiny, tiny.photos).features["descriptor"]
    )
