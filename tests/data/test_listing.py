from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from ensemble_minerals.data.listing import list_photos
from ensemble_minerals.data.photo_table import Entry
from ensemble_minerals.errors import DataError


def fill(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return root


def table(folder: Path, text: str, name: str = "photos.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def test_a_folder_for_each_class_nested_files_included(tmp_path):
    fill(tmp_path, "quartz/b.jpg", "quartz/a 100%.jpg", "biotite/deep/er/ü.png", "biotite/no_extension")
    listing = list_photos(tmp_path)
    assert listing.root == tmp_path
    assert listing.classes == ("biotite", "quartz")
    assert listing.entries == (
        Entry("biotite/deep/er/ü.png", "biotite"),
        Entry("biotite/no_extension", "biotite"),
        Entry("quartz/a 100%.jpg", "quartz"),
        Entry("quartz/b.jpg", "quartz"),
    )
    assert listing.warnings == ()


def test_hidden_and_system_files_are_ignored_and_counted(tmp_path):
    fill(
        tmp_path,
        "a/1.jpg",
        "b/1.jpg",
        "a/.DS_Store",
        "a/Thumbs.db",
        "b/desktop.ini",
        "b/._1.jpg",
        ".git/x/1.jpg",
    )
    fill(tmp_path, "__MACOSX/a/1.jpg")
    listing = list_photos(tmp_path)
    assert [entry.path for entry in listing.entries] == ["a/1.jpg", "b/1.jpg"]
    (warning,) = listing.warnings
    assert warning.startswith("6 hidden or system files ignored")


def test_loose_files_and_empty_folders_are_warnings(tmp_path):
    fill(tmp_path, "a/1.jpg", "b/1.jpg", "stray.jpg", "notes.txt")
    (tmp_path / "empty" / "deep").mkdir(parents=True)
    listing = list_photos(tmp_path)
    assert listing.classes == ("a", "b")
    assert any(
        text.startswith("1 file straight in") and text.endswith("stray.jpg") for text in listing.warnings
    )
    assert any("'empty' is empty" in text for text in listing.warnings)


def test_symbolic_links_are_followed_but_not_in_a_circle(tmp_path):
    store = fill(tmp_path / "store", "1.jpg", "2.jpg")
    data = fill(tmp_path / "data", "a/1.jpg")
    (data / "b").symlink_to(store, target_is_directory=True)
    (data / "a" / "again").symlink_to(data / "a", target_is_directory=True)
    (data / "a" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    paths = [entry.path for entry in list_photos(data).entries]
    assert paths == ["a/1.jpg", "a/gone.jpg", "b/1.jpg", "b/2.jpg"]


def test_labels_are_the_same_on_every_file_system(tmp_path):
    decomposed = unicodedata.normalize("NFD", "améthyste")
    fill(tmp_path, f"{decomposed}/1.jpg", "b/1.jpg")
    listing = list_photos(tmp_path)
    assert listing.classes == (unicodedata.normalize("NFC", "améthyste"), "b")
    assert (listing.root / listing.entries[0].path).is_file()


def test_classes_that_differ_only_in_case_are_a_warning(tmp_path):
    path = table(tmp_path, "path,label\n1.jpg,Quartz\n2.jpg,quartz\n3.jpg,b\n")
    (warning,) = list_photos(path).warnings
    assert "'Quartz' and 'quartz'" in warning


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), r"no class folders \(nothing in it\)"),
        (("1.jpg", "2.jpg"), r"no class folders \(2 files in it\)"),
        (("a/1.jpg",), "only the class 'a'; at least 2"),
        (("minerals/a/1.jpg", "minerals/b/1.jpg"), "holds the class folders, give"),
        (("train/a/1.jpg", "test/b/1.jpg"), "divided into test, train, not into classes"),
        (("a/.hidden", "b/.hidden"), "class folders of .* are empty"),
    ],
)
def test_folders_that_cannot_be_used(tmp_path, files, message):
    with pytest.raises(DataError, match=message):
        list_photos(fill(tmp_path, *files))


def test_no_such_folder_and_wrong_files(tmp_path):
    with pytest.raises(DataError, match="there is no folder or CSV"):
        list_photos(tmp_path / "absent")
    with pytest.raises(DataError, match=r"neither .csv nor .tsv"):
        list_photos(fill(tmp_path, "photo.jpg") / "photo.jpg")


def test_a_folder_that_may_not_be_opened(tmp_path, monkeypatch):
    fill(tmp_path, "a/1.jpg", "b/1.jpg")
    original = Path.iterdir

    def refuse(self):
        if self.name == "b":
            raise PermissionError(13, "Permission denied")
        return original(self)

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataError, match="b cannot be opened: Permission denied"):
        list_photos(tmp_path)


def test_a_csv_is_sorted_and_its_paths_are_relative_to_it(tmp_path):
    listing = list_photos(table(tmp_path, "label,path\nquartz,z.jpg\nbiotite,sub/a.jpg\n"))
    assert listing.root == tmp_path
    assert listing.entries == (Entry("sub/a.jpg", "biotite"), Entry("z.jpg", "quartz"))


def test_one_class_is_too_few(tmp_path):
    with pytest.raises(DataError, match="only the class 'a'"):
        list_photos(table(tmp_path, "path,label\n1.jpg,a\n"))


def test_class_names_that_cannot_be_printed(tmp_path):
    with pytest.raises(DataError, match="line break, a control sign"):
        list_photos(table(tmp_path, 'path,label\n1.jpg,"a\nb"\n2.jpg,c\n'))
