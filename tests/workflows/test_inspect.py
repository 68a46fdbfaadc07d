from __future__ import annotations

import csv
import json
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ensemble_minerals.config.loading import build_config
from ensemble_minerals.config.schema import Config
from ensemble_minerals.data.manifest import Manifest
from ensemble_minerals.data.same_object.pairs import Evidence, SameObjectPair
from ensemble_minerals.data.warnings import data_warnings
from ensemble_minerals.errors import DataError, UserError
from ensemble_minerals.workflows.fit import fit
from ensemble_minerals.workflows.inspect import inspect_data


def picture(path: Path, seed: int, size: tuple[int, int] = (90, 66), quality: int | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = Image.fromarray(cells).resize(size, Image.Resampling.BICUBIC)
    if quality is None:
        image.save(path)
    else:
        image.save(path, "JPEG", quality=quality)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Two classes with copies, a near duplicate, a conflict and files that cannot be read."""
    root = tmp_path_factory.mktemp("set") / "photos"
    for seed in range(6):
        picture(root / "quartz" / f"{seed}.png", seed)
        picture(root / "pyrite" / f"{seed}.jpg", 100 + seed, quality=92)
    picture(root / "quartz" / "1 again.png", 1)
    picture(root / "quartz" / "2 small.png", 2, size=(60, 44))
    picture(root / "pyrite" / "0 of quartz.png", 0)
    (root / "quartz" / "cut.jpg").write_bytes((root / "pyrite" / "1.jpg").read_bytes()[:900])
    (root / "pyrite" / "notes <b>.txt").write_text("found in 1987")
    return root


@pytest.fixture(scope="module")
def config() -> Config:
    return build_config(
        {"members": [{"features": ["descriptor"], "strategy": "flat"}], "folds": {"n_splits": 3}}
    )


@pytest.fixture(scope="module")
def found(data, config):
    return inspect_data(data, config)


def paths(found, rows) -> set[str]:
    return set(found.manifest.path[list(rows)].tolist())


def test_every_file_is_counted_once_in_its_class(found):
    assert list(found.classes) == ["pyrite", "quartz"]
    for row in found.classes.values():
        assert row["files"] == row["usable"] + row["copies"] + row["conflicts"] + row["unreadable"]
    assert found.classes["quartz"] == {
        "files": 9,
        "usable": 6,
        "copies": 1,
        "conflicts": 1,
        "unreadable": 1,
        "row_groups": 5,
    }
    assert found.classes["pyrite"]["usable"] == 6


def test_copies_and_near_duplicates_are_groups(found):
    groups = {frozenset(paths(found, group.rows)): group.grade for group in found.duplicate_groups}
    assert groups == {
        frozenset({"quartz/0.png", "pyrite/0 of quartz.png"}): "copy",
        frozenset({"quartz/1.png", "quartz/1 again.png"}): "copy",
        frozenset({"quartz/2.png", "quartz/2 small.png"}): "same_picture",
    }


def test_the_same_picture_under_two_classes_is_a_conflict(found):
    (group,) = found.conflicts
    assert paths(found, group.rows) == {"quartz/0.png", "pyrite/0 of quartz.png"}
    assert found.labels(group) == ["pyrite", "quartz"]


def test_unreadable_files_keep_their_reason(found):
    listed = {entry["path"]: entry["reason"] for entry in found.as_json()["unreadable"]}
    assert set(listed) == {"quartz/cut.jpg", "pyrite/notes <b>.txt"}
    assert listed["quartz/cut.jpg"].startswith("truncated")
    assert listed["pyrite/notes <b>.txt"].startswith("not_an_image")


def test_sizes_and_formats_are_of_the_readable_files(found):
    statistics = found.statistics
    assert statistics["formats"] == {"PNG": 9, "JPEG": 6}
    assert statistics["modes"] == {"RGB": 15}
    assert statistics["sizes"]["shorter side"]["least"] == 44
    assert statistics["sizes"]["longer side"]["most"] == 90
    assert statistics["sizes"]["longer / shorter"]["median"] == pytest.approx(90 / 66, abs=0.01)


def test_what_is_saved_says_the_same_everywhere(found, tmp_path):
    folder = found.write(tmp_path / "deep" / "look", n_threads=2)
    assert sorted(path.name for path in folder.iterdir()) == [
        "duplicates.csv",
        "inspection.html",
        "inspection.json",
        "manifest.csv",
    ]
    saved = json.loads((folder / "inspection.json").read_text(encoding="utf-8"))
    assert saved == found.as_json()
    manifest = Manifest.read_csv(folder / "manifest.csv", found.manifest.root)
    assert manifest.status.tolist() == found.manifest.status.tolist()
    assert manifest.row_group.tolist() == found.manifest.row_group.tolist()
    with (folder / "duplicates.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert Counter(row["group"] for row in rows) == {
        str(group["group"]): len(group["photos"]) for group in saved["duplicate_groups"]
    }
    (near,) = [row for row in rows if row["path"] == "quartz/2 small.png"]
    assert (near["like"], near["grade"]) == ("quartz/2.png", "same_picture")


def test_the_page_shows_groups_conflicts_and_reasons(found, tmp_path):
    text = (found.write(tmp_path) / "inspection.html").read_text(encoding="utf-8")
    assert text.count("<figure>") == 6
    assert text.count('<img src="data:image/jpeg;base64,') == 6
    assert "pyrite or quartz?" in text
    assert "same pixels as quartz/1" in text
    assert "set aside" in text
    assert "notes &lt;b&gt;.txt" in text
    assert "not_an_image" in text
    assert "prefers-color-scheme: dark" in text
    without_pictures = re.sub(r"base64,[A-Za-z0-9+/=]+", "", text)
    assert not re.search(r"https?:|//[a-z]|@import|url\(|<link|<script", without_pictures, re.I)


def test_the_page_shows_a_bounded_number_of_pictures(found, tmp_path, monkeypatch):
    monkeypatch.setattr("ensemble_minerals.reports.inspection.MAX_PHOTOS", 4)
    text = (found.write(tmp_path) / "inspection.html").read_text(encoding="utf-8")
    assert text.count("<figure>") == 4
    assert "1 more group in duplicates.csv" in text


def test_a_folder_without_one_readable_photo_is_still_inspected(config, tmp_path):
    for name in ("quartz/a.jpg", "pyrite/b.jpg"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True)
        (tmp_path / "photos" / name).write_text("no photo")
    found = inspect_data(tmp_path / "photos", config)
    assert found.classes["quartz"]["unreadable"] == 1
    assert found.duplicate_groups == ()
    assert found.statistics["sizes"] == {}
    assert (found.write(tmp_path / "look") / "inspection.html").is_file()


def test_a_fit_on_it_says_where_to_look(config, tmp_path):
    for name in ("quartz/a.jpg", "pyrite/b.jpg"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True)
        (tmp_path / "photos" / name).write_text("no photo")
    with pytest.raises(
        DataError,
        match=r"no photo could be read, of 2 files:\n  - 2 x not_an_image: .* \(such as pyrite/b\.jpg\)",
    ):
        fit(tmp_path / "photos", tmp_path / "bundle", config)


def test_no_folder_is_the_users_mistake(config, tmp_path):
    with pytest.raises(DataError, match="absent"):
        inspect_data(tmp_path / "absent", config)


def test_a_place_that_cannot_be_written_is_the_users_mistake(found, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        found.write(tmp_path / "file" / "look")


def test_groups_that_only_the_csv_gives_are_no_duplicates(data, config, tmp_path):
    root = tmp_path / "photos"
    shutil.copytree(data, root)
    rows = ["path,label,group"]
    rows += [f"quartz/{n}.png,quartz,one hand" for n in range(4)]
    rows += [f"pyrite/{n}.jpg,pyrite," for n in range(4)]
    rows += ["quartz/1 again.png,quartz,one hand"]
    (root / "table.csv").write_text("\n".join(rows), encoding="utf-8")
    found = inspect_data(root / "table.csv", config)
    assert [paths(found, group.rows) for group in found.duplicate_groups] == [
        {"quartz/1.png", "quartz/1 again.png"}
    ]
    assert found.classes["quartz"]["row_groups"] == 1


def evidence(inliers: int) -> Evidence:
    return Evidence(inliers, 0.5, 0.4, 0.7, 0.9, False, np.zeros((0, 4), np.float32))


def test_the_closest_partner_is_named(found):
    pairs = (
        SameObjectPair(0, 1, "same_object", evidence(30)),
        SameObjectPair(1, 2, "same_object", evidence(40)),
        SameObjectPair(0, 2, "copy"),
    )
    manifest = found.manifest.replace(row_group=np.where(np.arange(len(found.manifest)) < 3, 0, -1))
    changed = type(found)(manifest, pairs, found.config, (), {})
    (group,) = changed.duplicate_groups
    assert [(photo.row, photo.to) for photo in group.photos] == [(0, 2), (1, 2), (2, 0)]
    assert group.grade == "same_object"


# -- warnings -----------------------------------------------------------------------------------------------


def manifest_of(labels, *, status="ok", row_group=None, formats="JPEG", side=100) -> Manifest:
    n = len(labels)
    text = np.array([""] * n)
    zeros = np.zeros(n)
    return Manifest(
        image_id=np.arange(n).astype(str),
        path=np.arange(n).astype(str),
        label=np.array(labels),
        given_group=text,
        split=text,
        row_group=np.arange(n) if row_group is None else np.array(row_group),
        fold=zeros - 1,
        status=np.broadcast_to(np.array(status), n),
        reason=text,
        width=np.full(n, 120),
        height=np.full(n, side),
        format=np.broadcast_to(np.array(formats), n),
        mode=np.array(["RGB"] * n),
        pixel_hash=text,
        phash=zeros,
        phash_mirrored=zeros,
        root=Path(),
    )


def warned(manifest, n_splits=5) -> str:
    return "\n".join(data_warnings(manifest, n_splits))


def test_sound_data_gives_no_warning():
    assert warned(manifest_of(["a"] * 30 + ["b"] * 30)) == ""


def test_too_few_groups_for_the_folds():
    groups = [0] * 15 + [1] * 10 + list(range(10, 40))
    text = warned(manifest_of(["a"] * 25 + ["b"] * 30, row_group=groups))
    assert "5 folds need 5 row groups; class 'a' has 2, of 25 photos, 25 of them merged" in text
    assert "--set folds.n_splits=2" in text
    assert "class 'b'" not in text
    assert warned(manifest_of(["a"] * 25 + ["b"] * 30, row_group=groups), n_splits=2) == ""


def test_few_photos_once_copies_are_set_aside():
    status = ["duplicate"] * 10 + ["ok"] * 45
    text = warned(manifest_of(["a"] * 25 + ["b"] * 30, status=status))
    assert "class 'a' has 15 usable photos once copies and conflicts are set aside" in text
    assert "10 of 55 readable files are exact copies" in text


def test_a_group_with_two_labels():
    groups = [0, *range(1, 30), 0, *range(30, 59)]
    text = warned(manifest_of(["a"] * 30 + ["b"] * 30, row_group=groups))
    assert "row groups with photos of more than one class: 1" in text


def test_imbalance():
    text = warned(manifest_of(["a"] * 300 + ["b"] * 30))
    assert "class 'a' has 300 usable photos, class 'b' has 30" in text
    assert warned(manifest_of(["a"] * 299 + ["b"] * 30)) == ""


def test_small_photos():
    assert "60 usable photos with a shorter side under 64 pixels" in warned(
        manifest_of(["a"] * 30 + ["b"] * 30, side=40)
    )


def test_a_format_that_gives_the_class_away():
    labels = ["a"] * 30 + ["b"] * 40
    telling = warned(manifest_of(labels, formats=["PNG"] * 12 + ["JPEG"] * 58))
    assert "12 of 12 PNG files are of class 'a'" in telling
    assert warned(manifest_of(labels, formats=["PNG", "JPEG"] * 35)) == ""
