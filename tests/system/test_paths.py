from __future__ import annotations

from pathlib import Path

import pytest

from ensemble_minerals.errors import BundleError, UserError
from ensemble_minerals.system.atomic import atomic_file
from ensemble_minerals.system.paths import FolderKind, beside, cache_folder, check_output, default_bundle


def test_a_place_that_can_be_made_is_fine_and_not_made(tmp_path):
    check_output(tmp_path / "a" / "b" / "bundle")
    assert not list(tmp_path.iterdir())


def test_a_place_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"--out .*bundle: nothing can be saved in .*file"):
        check_output(tmp_path / "file" / "bundle")


def test_a_place_below_a_broken_link_is_refused(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "absent")
    with pytest.raises(UserError, match="nothing can be saved"):
        check_output(tmp_path / "link" / "bundle")


def test_a_link_to_a_place_where_nothing_can_be_saved_is_refused(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "file" / "bundle")
    with pytest.raises(UserError, match=r"--out .*link: nothing can be saved in .*file"):
        check_output(tmp_path / "link")
    (tmp_path / "good").symlink_to(tmp_path / "later" / "bundle")
    check_output(tmp_path / "good")


@pytest.mark.parametrize("name", ["é" * 120, "x" * 300, f"{'x' * 300}/mine"])
def test_a_name_that_is_too_long_for_its_draft_is_refused(tmp_path, name):
    with pytest.raises(UserError, match=r"--out: the name '.*' is too long; choose a shorter one"):
        check_output(tmp_path / name)
    longest = tmp_path / ("x" * 234)
    check_output(longest)
    with atomic_file(longest) as draft:
        draft.touch()


def test_endings(tmp_path):
    check_output(tmp_path / "x.HTML", "--gallery", suffixes=(".html", ".htm"))
    with pytest.raises(UserError, match=r"--gallery .*x\.txt: the name must end in \.html"):
        check_output(tmp_path / "x.txt", "--gallery", suffixes=(".html", ".htm"))
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(UserError, match="is a folder"):
        check_output(tmp_path / "folder.html", "--gallery", suffixes=(".html",))


KIND = FolderKind("report", "report.json", BundleError)


@pytest.fixture
def there(tmp_path):
    """Folders: an empty one, a report, and something else; and a file."""
    for name in ("empty", "report", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "report" / "report.json").touch()
    (tmp_path / "other" / "photo.jpg").touch()
    (tmp_path / "file").touch()
    return tmp_path


@pytest.mark.parametrize("overwrite", [None, True, False])
def test_what_is_free_needs_no_permission(there, overwrite):
    for name in ("absent", "empty"):
        check_output(there / name, kind=KIND, overwrite=overwrite)


@pytest.mark.parametrize("name", ["report", "other", "file"])
def test_nothing_is_replaced_without_permission(there, name):
    with pytest.raises(BundleError, match="exists; choose another --out, or replace it with --overwrite"):
        check_output(there / name, kind=KIND, overwrite=False)


@pytest.mark.parametrize(
    ("overwrite", "message"),
    [
        (None, "no report; choose another --out, or remove it$"),
        (True, "--overwrite replaces nothing else; .*--out$"),
    ],
)
def test_only_one_of_the_kind_is_replaced(there, overwrite, message):
    check_output(there / "report", kind=KIND, overwrite=overwrite)
    for name in ("other", "file"):
        with pytest.raises(BundleError, match=message):
            check_output(there / name, kind=KIND, overwrite=overwrite)


@pytest.mark.parametrize("name", ["", "x/.."])
def test_a_folder_needs_a_name(name):
    with pytest.raises(BundleError, match="is no name for something new"):
        check_output(Path(name), kind=KIND)


def test_a_file_is_replaced_with_permission(there):
    check_output(there / "file", overwrite=True)
    with pytest.raises(UserError, match="exists; choose another --out, or replace it with --overwrite"):
        check_output(there / "file", overwrite=False)


def test_the_cache_folder_is_made_or_done_without(tmp_path, caplog):
    assert cache_folder(tmp_path / "a" / "cache") == tmp_path / "a" / "cache"
    assert (tmp_path / "a" / "cache").is_dir()
    assert cache_folder(tmp_path / "other", none=True) is None
    (tmp_path / "file").write_text("")
    assert caplog.text == ""
    assert cache_folder(tmp_path / "file" / "cache") is None
    assert "cannot be kept (Not a directory)" in caplog.text


def test_a_bundle_is_named_for_its_data(tmp_path, monkeypatch):
    (tmp_path / "my.photos").mkdir()
    (tmp_path / "table.csv").touch()
    assert default_bundle(tmp_path / "my.photos") == Path("artifacts/my.photos")
    assert default_bundle(tmp_path / "table.csv") == Path("artifacts/table")
    monkeypatch.chdir(tmp_path / "my.photos")
    assert default_bundle(Path()) == Path("artifacts/my.photos")


def test_what_is_made_of_the_bundle_here_lies_beside_it(tmp_path, monkeypatch):
    (tmp_path / "mine" / "networks").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "mine")
    assert beside(Path(), "student") == tmp_path.resolve() / "mine-student"
    monkeypatch.chdir(tmp_path / "mine" / "networks")
    assert beside(Path(".."), "student") == tmp_path.resolve() / "mine-student"
