from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from ensemble_minerals.data.listing import Entry, check_classes, list_photos
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


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_csv(tmp_path, encoding, delimiter):
    text = '"Path",label,Group,split\r\nb.jpg,quartz,,test\r\n./sub//ä 1.jpg, b ,stone 1,\r\n\r\n'
    path = table(tmp_path, text.replace(",", delimiter), encoding=encoding)
    listing = list_photos(path)
    assert listing.root == tmp_path
    assert listing.entries == (Entry("b.jpg", "quartz", "", "test"), Entry("sub/ä 1.jpg", "b", "stone 1", ""))


def test_cells_may_be_quoted_and_empty_rows_skipped(tmp_path):
    path = table(tmp_path, 'label,path\na,"x, y.jpg"\n,\nb,"two\nlines.jpg"\n')
    assert [entry.path for entry in list_photos(path).entries] == ["two\nlines.jpg", "x, y.jpg"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lacks path and label"),
        ("file,label\n1.jpg,a\n", "lacks path and has unknown columns 'file'"),
        ("path,labels\n1.jpg,a\n", r"'labels' \(did you mean 'label'\?\)"),
        ("path,label,label\n1.jpg,a,a\n", "names a column twice"),
        ("path,label\n", "no rows"),
        ("path,label\n1.jpg,a\n", "only the class 'a'"),
        ("path,label\n1.jpg\n", "row 2 has 1 cells, the header has 2"),
        ("path,label\n1.jpg,a\n\n2.jpg,\n", r"row 4 \(2.jpg\) has no label"),
        ("path,label\n ,a\n", "row 2 has no path"),
        ("path,label,split\n1.jpg,a,validate\n", "the split 'validate'; it must be train, test or empty"),
        ('path,label\n"1.jpg,a\n', "no CSV that can be read"),
    ],
)
def test_a_csv_that_cannot_be_used(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        list_photos(table(tmp_path, text))


def test_all_unusable_rows_are_counted_and_the_first_shown(tmp_path):
    path = table(tmp_path, "path,label\n" + "x.jpg,\n" * 12)
    with pytest.raises(DataError) as caught:
        list_photos(path)
    assert "12 lines of" in str(caught.value)
    assert "and 7 more" in str(caught.value)
    assert str(caught.value).count("has no label") == 5


def test_a_csv_in_another_encoding(tmp_path):
    path = table(tmp_path, "path,label\n1.jpg,Grünstein\n", encoding="latin-1")
    with pytest.raises(DataError, match="save it as 'CSV UTF-8'"):
        list_photos(path)


def test_chosen_classes():
    known = ("biotite", "bornite", "quartz")
    assert check_classes([" quartz", "biotite", "quartz"], known) == ("biotite", "quartz")
    with pytest.raises(DataError, match=r"'quarz' \(did you mean 'quartz'\?\); the data hold biotite"):
        check_classes(["quarz", "biotite"], known)
    with pytest.raises(DataError, match="at least 2"):
        check_classes(["quartz", "quartz"], known)
