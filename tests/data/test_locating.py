"""Photos of a manifest are found by their content."""

from __future__ import annotations

import shutil

from drawn.manifests import read_manifest

from ensemble_minerals.data.locating import locate_photos


def test_moved_changed_and_missing_photos(tiny, tmp_path):
    root = shutil.copytree(tiny.photos, tmp_path / "photos")
    manifest = read_manifest(tiny.bundle / "manifest.csv", root)
    n = len(manifest)
    whole = locate_photos(manifest)
    assert whole.files == {row: manifest.file(row) for row in range(n)}
    assert (whole.moved, whole.changed, whole.missing) == ((), (), ())
    (root / "deep").mkdir()
    manifest.file(1).rename(root / "deep" / "another name.png")
    manifest.file(0).write_bytes(manifest.file(5).read_bytes())
    manifest.file(3).unlink()
    found = locate_photos(manifest, n_threads=2)
    assert found.files[1] == root / "deep" / "another name.png"
    assert found.files[5] == manifest.file(5)
    assert (found.moved, found.changed, found.missing) == ((1,), (0,), (3,))
    assert sorted(found.files) == sorted(set(range(n)) - {0, 3})
    notes = list(found.notes(root))
    assert [note.split(" of the fit")[0] for note in notes] == ["1 photo"] * 3


def test_a_manifest_with_absolute_paths_of_another_place(tiny, tmp_path):
    root = shutil.copytree(tiny.photos, tmp_path / "photos")
    manifest = read_manifest(tiny.bundle / "manifest.csv", root)
    moved = manifest.replace(path=[f"/home/ana/{path}" for path in manifest.path])
    found = locate_photos(moved)
    assert found.files == {row: manifest.file(row) for row in range(len(manifest))}
