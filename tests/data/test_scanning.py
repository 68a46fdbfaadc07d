from __future__ import annotations

import threading

import pytest
from drawn.photo_folder import assert_same, image

from ensemble_minerals.data import hashing as fingerprint_module
from ensemble_minerals.data.hashing import ScanCache
from ensemble_minerals.data.manifest import Status
from ensemble_minerals.data.same_object.groups import group_rows
from ensemble_minerals.data.scanning import scan
from ensemble_minerals.errors import DataError
from ensemble_minerals.system.runtime import DecodeLimits


def test_every_file_is_a_row_and_failures_say_why(data):
    manifest = scan(data)
    assert manifest.path.tolist() == [
        "biotite/1.png",
        "biotite/2.png",
        "biotite/copy.png",
        "biotite/cut.png",
        "quartz/a 1.png",
        "quartz/b%20.png",
        "quartz/deep/ünïcode",
        "quartz/notes.txt",
        "quartz/ж.jpg",
    ]
    assert len(manifest) == 9
    assert manifest.label.tolist() == ["biotite"] * 4 + ["quartz"] * 5
    assert manifest.usable.tolist() == [0, 1, 2, 4, 5, 6, 8]
    assert manifest.classes == ("biotite", "quartz")
    assert manifest.reason[3].startswith("truncated: ")
    assert manifest.reason[7].startswith("not_an_image: ")
    assert set(manifest.reason[manifest.usable]) == {""}
    assert manifest.height[manifest.usable].tolist() == [16, 17, 16, 12, 13, 14, 15]
    assert set(manifest.format[manifest.usable]) == {"PNG"}
    assert manifest.image_id[0] == manifest.image_id[2]
    assert len(set(manifest.image_id.tolist())) == 8
    assert manifest.phash[[3, 7]].tolist() == [0, 0]
    assert (manifest.phash[manifest.usable] != 0).all()
    assert set(manifest.row_group.tolist()) == set(manifest.fold.tolist()) == {-1}
    for row in range(len(manifest)):
        assert manifest.file(row).is_file()


def test_warnings_for_the_user(data):
    (data / "stray.png").touch()
    (data / "empty").mkdir()
    (data / "broken").mkdir()
    (data / "broken" / "1.png").touch()
    text = "\n".join(scan(data).warnings)
    for said in (
        "1 file straight in photos",
        "'empty' is empty",
        "class 'broken' has no readable photo",
        "below 20 readable photos what a class reaches is uncertain: 'biotite' has 3, 'quartz' has 4",
        "3 of 10 files cannot be read",
    ):
        assert said in text


def test_the_number_of_threads_changes_nothing(data, monkeypatch):
    alone = scan(data)
    seen: set[str] = set()
    together = threading.Barrier(4)
    original = fingerprint_module.photo_digest

    def spy(path):
        if len(seen) < 4:
            seen.add(threading.current_thread().name)
            together.wait(timeout=20)  # passes only when four threads are at work
        return original(path)

    monkeypatch.setattr(fingerprint_module, "photo_digest", spy)
    assert_same(scan(data, n_jobs=4), alone)
    assert threading.current_thread().name not in seen


def test_progress_is_told_in_this_thread(data):
    told = []
    scan(data, n_jobs=3, progress=lambda done, total: told.append((done, total, threading.get_ident())))
    assert told == [(done, 9, threading.get_ident()) for done in range(1, 10)]


def test_an_interruption_does_not_finish_the_rest(data, monkeypatch):
    opened = []
    original = fingerprint_module.photo_digest
    monkeypatch.setattr(
        fingerprint_module, "photo_digest", lambda path: (opened.append(path), original(path))[1]
    )
    for number in range(200):
        (data / "quartz" / f"many{number}").write_text("x")

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan(data, n_jobs=2, progress=interrupt)
    assert len(opened) < 200


def test_rows_of_classes_that_were_not_chosen_are_excluded_unopened(data, monkeypatch):
    for name in ("1.png", "2.png"):
        image(data / "pyrite" / name, 9)
    opened = []
    original = fingerprint_module.photo_digest
    monkeypatch.setattr(
        fingerprint_module, "photo_digest", lambda path: (opened.append(path), original(path))[1]
    )
    manifest = scan(data, classes=["quartz", "pyrite"])
    assert len(manifest) == 11
    assert manifest.classes == ("pyrite", "quartz")
    excluded = manifest.label == "biotite"
    assert set(manifest.status[excluded]) == {Status.EXCLUDED}
    assert set(manifest.reason[excluded]) == {"class not chosen"}
    assert "ok" in manifest.status[~excluded]
    assert not any("biotite" in str(path) for path in opened)
    assert not any("biotite" in text for text in manifest.warnings)
    with pytest.raises(DataError, match="did you mean 'quartz'"):
        scan(data, classes=["quarz", "biotite"])


def test_limits_are_passed_on(data):
    assert scan(data, limits=DecodeLimits(min_side=14)).reason[4].startswith("too_small")
    assert scan(data, limits=DecodeLimits(max_pixels=100)).reason[0].startswith("too_large")


def test_a_second_scan_decodes_nothing(data, tmp_path, monkeypatch):
    with ScanCache(tmp_path / "cache.sqlite") as cache:
        first = scan(data, cache=cache, n_jobs=3)

        def fail(*_, **__):
            raise AssertionError("decoded again")

        monkeypatch.setattr(fingerprint_module, "decoded", fail)
        assert_same(scan(data, cache=cache), first)


def test_a_csv_with_groups_and_splits(data):
    path = data / "photos.csv"
    path.write_text(
        "path,label,group,split\nquartz/a 1.png,Q,stone,train\nbiotite/1.png,B,,test\nbiotite/gone.png,B,,\n"
        f"{data / 'biotite' / '2.png'},B,stone,\n",
        encoding="utf-8",
    )
    manifest = scan(path)
    assert manifest.root == data
    assert manifest.path.tolist()[1:] == ["biotite/1.png", "biotite/gone.png", "quartz/a 1.png"]
    assert manifest.label.tolist() == ["B", "B", "B", "Q"]
    assert manifest.given_group.tolist() == ["stone", "", "", "stone"]
    assert manifest.split.tolist() == ["", "test", "", "train"]
    assert manifest.status.tolist() == ["ok", "ok", "unreadable", "ok"]
    assert manifest.reason[2].startswith("missing")
    assert manifest.image_id[2] == ""
    assert manifest.file(0) == data / "biotite" / "2.png"


def test_real_photos(shared_dir):
    manifest = scan(shared_dir / "data" / "minerals7", classes=["quartz", "biotite"], n_jobs=2)
    assert len(manifest) == 755
    rows = manifest.usable
    assert len(rows) == 54 + 110
    report = group_rows(manifest.pixel_hash[rows], manifest.label[rows], [])
    assert manifest.path[rows[report.copies]].tolist() == ["quartz/0061.jpg"]
    assert [manifest.path[rows[[pair.first, pair.second]]].tolist() for pair in report.pairs] == [
        ["quartz/0001.jpg", "quartz/0061.jpg"]
    ]
