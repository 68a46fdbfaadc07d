from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from drawn.manifests import read_manifest
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
        assert row["files"] == sum(
            number for key, number in row.items() if key not in ("files", "row_groups")
        )
    assert found.classes["quartz"] == {
        "files": 9,
        "usable": 6,
        "copies": 1,
        "conflicts": 1,
        "left_out": 0,
        "unreadable": 1,
        "row_groups": 5,
    }
    assert found.classes["pyrite"]["usable"] == 6


def test_copies_and_near_duplicates_are_groups(found):
    groups = {frozenset(paths(found, group.rows)): group.pairs[0].grade for group in found.object_groups}
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
        "inspection.html",
        "inspection.json",
        "manifest.csv",
        "pairs.csv",
    ]
    saved = json.loads((folder / "inspection.json").read_text(encoding="utf-8"))
    assert saved == found.as_json()
    manifest = read_manifest(folder / "manifest.csv", found.manifest.root)
    assert manifest.status.tolist() == found.manifest.status.tolist()
    assert manifest.row_group.tolist() == found.manifest.row_group.tolist()
    with (folder / "pairs.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {(row["first"], row["second"]): (row["same"], row["grade"]) for row in rows} == {
        ("pyrite/0 of quartz.png", "quartz/0.png"): ("yes", "copy"),
        ("quartz/1 again.png", "quartz/1.png"): ("yes", "copy"),
        ("quartz/2 small.png", "quartz/2.png"): ("yes", "same_picture"),
    }


def test_the_page_shows_groups_conflicts_and_reasons(found, tmp_path):
    text = (found.write(tmp_path) / "inspection.html").read_text(encoding="utf-8")
    assert text.count('<image id="p') == text.count(' href="data:image/jpeg;base64,') == 6
    assert "pyrite or quartz?" in text
    assert "same pixels as quartz/1" in text
    assert "set aside" in text
    assert "notes &lt;b&gt;.txt" in text
    assert "not_an_image" in text
    assert "prefers-color-scheme: dark" in text
    without_pictures = re.sub(r"base64,[A-Za-z0-9+/=]+", "", text)
    assert not re.search(r"https?:|//[a-z]|@import|url\(|<link|<script src", without_pictures, re.I)


def evidence(inliers: int, points: int = 40) -> Evidence:
    spread = np.tile(np.linspace(0, 1, points, dtype=np.float32)[:, None], (1, 4))
    return Evidence(inliers, 0.5, 0.4, 0.7, 0.9, True, spread)


def with_pairs(found, *pairs: SameObjectPair):
    """The same photos, of which those of the pairs are one row group."""
    rows = {row for pair in pairs for row in (pair.first, pair.second)}
    row_group = np.where(np.isin(np.arange(len(found.manifest)), sorted(rows)), 0, -1)
    return type(found)(found.manifest.replace(row_group=row_group), pairs, found.config, (), {})


def test_the_page_draws_the_points_that_agree(found, tmp_path):
    rows = found.manifest.usable[:2].tolist()
    changed = with_pairs(found, SameObjectPair(*rows, "same_object", evidence(77)))
    text = (changed.write(tmp_path) / "inspection.html").read_text(encoding="utf-8")
    assert "77 points agree, 70 % of those in an area of 50 % and 40 % of the photos" in text
    assert "mirrored" in text
    lines = re.search(r'<path class="mark" [^>]* d="([^"]*)"', text)
    assert lines
    assert lines[1].count("M") == lines[1].count("L") == 24
    used = set(re.findall(r'<use href="#p(\d+)"', text))
    assert {str(row) for row in rows} < used == set(re.findall(r'<image id="p(\d+)"', text))


def test_a_photo_that_vanished_leaves_the_rest_of_the_page(found, tmp_path, data):
    rows = found.manifest.usable[:2].tolist()
    changed = with_pairs(found, SameObjectPair(*rows, "same_object", evidence(77)))
    moved = type(found)(changed.manifest.replace(root=tmp_path), changed.pairs, changed.config, (), {})
    text = (moved.write(tmp_path / "look") / "inspection.html").read_text(encoding="utf-8")
    assert "no longer readable" in text
    assert "77 points agree" in text
    assert "<use" not in text


def test_many_groups_fold(found, tmp_path, monkeypatch):
    monkeypatch.setattr("ensemble_minerals.reports.inspection._GROUPS_A_PAGE", 1)
    text = (found.write(tmp_path) / "inspection.html").read_text(encoding="utf-8")
    assert re.findall(r"<summary>Groups (\d) to (\d), of 2 to 2 photos", text) == [("1", "1"), ("2", "2")]
    assert text.count('<details class="page" open>') == 1


def test_the_page_shows_a_bounded_number_of_pictures(found, tmp_path, monkeypatch):
    monkeypatch.setattr("ensemble_minerals.reports.inspection.MAX_PHOTOS", 4)
    text = (found.write(tmp_path) / "inspection.html").read_text(encoding="utf-8")
    assert text.count("<image") == 4
    assert "1 more group in pairs.csv" in text


def test_a_folder_without_one_readable_photo_is_still_inspected(config, tmp_path):
    for name in ("quartz/a.jpg", "pyrite/b.jpg"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True)
        (tmp_path / "photos" / name).write_text("no photo")
    found = inspect_data(tmp_path / "photos", config)
    assert found.classes["quartz"]["unreadable"] == 1
    assert found.object_groups == ()
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


def test_the_folder_where_the_user_stands_has_a_name(data, config, tmp_path, monkeypatch):
    monkeypatch.chdir(data)
    found = inspect_data(".", config)
    assert found.as_json()["root"] == "photos"
    assert "<title>Photos in photos</title>" in (found.write(tmp_path) / "inspection.html").read_text()


def test_no_folder_is_the_users_mistake(config, tmp_path):
    with pytest.raises(DataError, match="absent"):
        inspect_data(tmp_path / "absent", config)


def test_a_place_that_cannot_be_written_is_the_users_mistake(found, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="nothing can be saved in"):
        found.write(tmp_path / "file" / "look")


def test_an_inspection_replaces_an_earlier_one_as_a_whole_and_nothing_else(found, tmp_path):
    found.write(tmp_path / "look")
    (tmp_path / "look" / "pairs.csv").write_text("old")
    (tmp_path / "look" / "stray.txt").touch()
    found.write(tmp_path / "look")
    names = {"inspection.json", "inspection.html", "manifest.csv", "pairs.csv"}
    assert {path.name for path in (tmp_path / "look").iterdir()} == names
    assert (tmp_path / "look" / "pairs.csv").read_text() != "old"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "stray.txt").touch()
    with pytest.raises(UserError, match="is no inspection"):
        found.write(tmp_path / "mine")


def test_groups_that_only_the_csv_gives_are_no_duplicates(data, config, tmp_path):
    root = tmp_path / "photos"
    shutil.copytree(data, root)
    rows = ["path,label,group"]
    rows += [f"quartz/{n}.png,quartz,one hand" for n in range(4)]
    rows += [f"pyrite/{n}.jpg,pyrite," for n in range(4)]
    rows += ["quartz/1 again.png,quartz,one hand"]
    (root / "table.csv").write_text("\n".join(rows), encoding="utf-8")
    found = inspect_data(root / "table.csv", config)
    assert [paths(found, group.rows) for group in found.object_groups] == [
        {"quartz/1.png", "quartz/1 again.png"}
    ]
    assert found.classes["quartz"]["row_groups"] == 1


def test_the_strongest_pairs_that_hold_a_group_together_are_kept(found):
    pairs = (
        SameObjectPair(0, 1, "same_object", evidence(30)),
        SameObjectPair(1, 2, "same_object", evidence(40)),
        SameObjectPair(0, 2, "copy"),
    )
    (group,) = with_pairs(found, *pairs).object_groups
    assert group.rows == (0, 1, 2)
    assert group.pairs == (pairs[2], pairs[1])


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
    assert "once copies and conflicts are set aside, what a class reaches is uncertain: 'a' has 15" in text
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
