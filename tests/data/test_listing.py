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
    fill(tmp_path, "1.jpg", "2.jpg", "3.jpg")
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
    fill(tmp_path, "z.jpg", "sub/a.jpg")
    listing = list_photos(table(tmp_path, "label,path\nquartz,z.jpg\nbiotite,sub/a.jpg\n"))
    assert listing.root == tmp_path
    assert listing.entries == (Entry("sub/a.jpg", "biotite"), Entry("z.jpg", "quartz"))


def test_one_class_is_too_few(tmp_path):
    with pytest.raises(DataError, match="only the class 'a'"):
        list_photos(table(tmp_path, "path,label\n1.jpg,a\n"))


def test_class_names_that_cannot_be_printed(tmp_path):
    with pytest.raises(DataError, match="line break, a control sign"):
        list_photos(table(tmp_path, 'path,label\n1.jpg,"a\nb"\n2.jpg,c\n'))


def test_training_validation_and_test_folders_are_a_split(tmp_path):
    fill(tmp_path, "seg_train/a/1.jpg", "seg_train/b/1.jpg", "seg_dev/a/2.jpg", "seg_dev/b/2.jpg")
    fill(tmp_path, "seg_test/a/3.jpg", "seg_test/b/deep/3.jpg", "seg_pred/4.jpg", "seg_train/stray.jpg")
    listing = list_photos(tmp_path)
    assert listing.classes == ("a", "b")
    assert {entry.path: entry.split for entry in listing.entries} == {
        "seg_train/a/1.jpg": "train",
        "seg_train/b/1.jpg": "train",
        "seg_dev/a/2.jpg": "train",
        "seg_dev/b/2.jpg": "train",
        "seg_test/a/3.jpg": "test",
        "seg_test/b/deep/3.jpg": "test",
    }
    said, beside, stray = listing.warnings
    assert said == (
        f"{tmp_path.name} is divided into seg_dev (2 files), seg_test (2 files), seg_train (2 files): seg_dev and "
        "seg_train are trained on together in folds, seg_test is scored once"
    )
    assert beside == "1 folder beside them left out, without class folders: seg_pred"
    assert stray == "1 file straight in seg_train, so of no class: stray.jpg"


def test_parts_that_repeat_their_own_name_are_read_as_from_a_zip_file(tmp_path):
    fill(tmp_path, "seg_train/seg_train/a/1.jpg", "seg_train/seg_train/b/1.jpg")
    fill(tmp_path, "seg_test/seg_test/a/1.jpg", "seg_test/seg_test/b/1.jpg")
    listing = list_photos(tmp_path)
    assert [(entry.label, entry.split) for entry in listing.entries] == [
        ("a", "test"), ("b", "test"), ("a", "train"), ("b", "train"),
    ]  # fmt: skip


def test_a_split_without_a_test_part_says_so(tmp_path):
    fill(tmp_path, "train/a/1.jpg", "train/b/1.jpg", "val/a/2.jpg", "val/b/2.jpg")
    (said,) = list_photos(tmp_path).warnings
    assert said.endswith("train and val are trained on together in folds, there is no test part")


def test_folders_of_the_same_shape_under_other_words_are_refused_with_both_ways_out(tmp_path):
    fill(tmp_path, "quartz/front/1.jpg", "quartz/back/1.jpg", "pyrite/front/1.jpg", "pyrite/back/1.jpg")
    with pytest.raises(DataError, match="either could be the classes") as caught:
        list_photos(tmp_path)
    assert "--set 'classes=[pyrite,quartz]'" in str(caught.value)
    assert "call the parts train, validation or test" in str(caught.value)
    assert list_photos(tmp_path, ["quartz", "pyrite"]).classes == ("pyrite", "quartz")


def test_one_part_of_unknown_purpose_is_refused(tmp_path):
    fill(tmp_path, *(f"{part}/{name}/1.jpg" for part in ("train", "test", "extra") for name in "ab"))
    with pytest.raises(DataError, match="extra holds the same classes as test, train"):
        list_photos(tmp_path)


def test_photos_beside_the_inner_folders_tell_which_folders_are_classes(tmp_path):
    fill(tmp_path, "quartz/front/1.jpg", "quartz/2.jpg", "pyrite/front/1.jpg", "pyrite/2.jpg")
    assert list_photos(tmp_path).classes == ("pyrite", "quartz")


def test_own_outputs_inside_the_data_are_left_out_with_a_word(tmp_path):
    fill(tmp_path, "a/1.jpg", "b/1.jpg", "b/old/bundle.json", "b/old/members.safetensors")
    fill(tmp_path, "artifacts/x/report.html", "artifacts/x/report.json", "artifacts/x/figures/1.png")
    listing = list_photos(tmp_path)
    assert [entry.path for entry in listing.entries] == ["a/1.jpg", "b/1.jpg"]
    (said,) = listing.warnings
    assert said.startswith("2 folders that ensemble-minerals wrote left out:")


@pytest.mark.parametrize(
    "text",
    [
        "path;label\r\n quartz\\1.jpg ;quartz\r\npyrite\\2.jpg;pyrite\r\n",
        "path;label;;\r\nquartz/1.jpg;quartz;;\r\npyrite/2.jpg;pyrite;;\r\n",
        "sep=;\r\npath;label\r\nquartz\\1.jpg;quartz\r\npyrite\\2.jpg;pyrite\r\n",
        "path,label\nC:\\Users\\Ana\\stones\\quartz\\1.jpg,quartz\nC:\\Users\\Ana\\stones\\pyrite\\2.jpg,pyrite\n",
        "path,label\n/home/ana/stones/quartz/1.jpg,quartz\n/home/ana/stones/pyrite/2.jpg,pyrite\n",
        "path,label\nstones/quartz/1.jpg,quartz\nstones/pyrite/2.jpg,pyrite\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_csv_of_another_machine(tmp_path, text, encoding):
    fill(tmp_path, "quartz/1.jpg", "pyrite/2.jpg")
    listing = list_photos(table(tmp_path, text, encoding=encoding))
    assert listing.entries == (Entry("pyrite/2.jpg", "pyrite"), Entry("quartz/1.jpg", "quartz"))


def test_what_was_read_otherwise_than_written_is_said(tmp_path):
    fill(tmp_path, "quartz/1.jpg", "pyrite/2.jpg")
    path = table(tmp_path, "path,label\n/home/ana/quartz/1.jpg,quartz\n/home/ana/pyrite/2.jpg,pyrite\n")
    (said,) = list_photos(path).warnings
    assert said.startswith("2 paths of photos.csv begin with /home/ana/, where these files are not")


def test_different_photos_of_one_name_are_not_taken_for_each_other(tmp_path):
    fill(tmp_path, "1.jpg", "2.jpg")
    path = table(tmp_path, "path,label\n2.jpg,b\n/x/quartz/1.jpg,a\n/x/pyrite/1.jpg,b\n/x/quartz/2.jpg,a\n")
    listing = list_photos(path)
    assert [entry.path for entry in listing.entries if "1.jpg" in entry.path].count("1.jpg") <= 1
    assert [entry.path for entry in listing.entries].count("2.jpg") == 1


def test_a_csv_none_of_whose_files_is_there_says_where_it_looked_and_what_would_fit(tmp_path):
    fill(tmp_path, "stones/quartz/1.jpg", "stones/pyrite/2.jpg")
    path = table(tmp_path, "path,label\nquartz/1.jpg,quartz\npyrite/2.jpg,pyrite\n")
    with pytest.raises(DataError, match="none of the 2 files") as caught:
        list_photos(path)
    assert str(tmp_path / "quartz" / "1.jpg") in str(caught.value)
    assert "a file of that name is stones/quartz/1.jpg" in str(caught.value)
    absent = table(tmp_path, "path,label\nx.jpg,quartz\ny.jpg,pyrite\n")
    with pytest.raises(DataError, match=r"no file 'x\.jpg' is in"):
        list_photos(absent)


def test_a_real_set_with_a_split(shared_dir):
    listing = list_photos(shared_dir / "data" / "clothing10")
    assert len(listing.classes) == 10
    assert sum(entry.split == "test" for entry in listing.entries) == 120
    assert sum(entry.split == "train" for entry in listing.entries) == 600


def test_folders_that_are_one_class_are_named(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "améthyste") for form in ("NFC", "NFD"))
    fill(tmp_path, f"{composed}/1.jpg", f"{decomposed}/2.jpg", "b/1.jpg")
    if len(list(tmp_path.iterdir())) < 3:
        pytest.skip("this file system takes both names for one")
    listing = list_photos(tmp_path)
    assert listing.classes == (composed, "b")
    assert any("are one class" in text for text in listing.warnings)
