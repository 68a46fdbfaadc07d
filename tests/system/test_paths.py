from __future__ import annotations

from pathlib import Path

import pytest

from ensemble_minerals.errors import UserError
from ensemble_minerals.system.paths import cache_folder, check_place, default_bundle


def test_a_place_that_can_be_made_is_fine_and_not_made(tmp_path):
    check_place(tmp_path / "a" / "b" / "bundle", "--out")
    assert not list(tmp_path.iterdir())


def test_a_place_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"--out .*bundle: nothing can be saved in .*file"):
        check_place(tmp_path / "file" / "bundle", "--out")


def test_a_place_below_a_broken_link_is_refused(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "absent")
    with pytest.raises(UserError, match="nothing can be saved"):
        check_place(tmp_path / "link" / "bundle", "--out")


def test_endings(tmp_path):
    check_place(tmp_path / "x.HTML", "--gallery", endings=(".html", ".htm"))
    with pytest.raises(UserError, match=r"--gallery .*x\.txt: the name must end in \.html"):
        check_place(tmp_path / "x.txt", "--gallery", endings=(".html", ".htm"))
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(UserError, match="is a folder"):
        check_place(tmp_path / "folder.html", "--gallery", endings=(".html",))


def test_the_cache_folder_is_made_or_refused(tmp_path):
    assert cache_folder(tmp_path / "a" / "cache") == tmp_path / "a" / "cache"
    assert (tmp_path / "a" / "cache").is_dir()
    assert cache_folder(tmp_path / "other", none=True) is None
    assert not (tmp_path / "other").exists()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"--no-cache"):
        cache_folder(tmp_path / "file" / "cache")


def test_a_bundle_is_named_for_its_data(tmp_path, monkeypatch):
    (tmp_path / "my.photos").mkdir()
    (tmp_path / "table.csv").touch()
    assert default_bundle(tmp_path / "my.photos") == Path("artifacts/my.photos")
    assert default_bundle(tmp_path / "table.csv") == Path("artifacts/table")
    monkeypatch.chdir(tmp_path / "my.photos")
    assert default_bundle(Path()) == Path("artifacts/my.photos")
