from __future__ import annotations

from pathlib import Path

import pytest

from ensemble_minerals.data.photo_table import Entry, read_path_column, read_photo_table
from ensemble_minerals.errors import DataError


def table(folder: Path, text: str, name: str = "photos.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_csv(tmp_path, encoding, delimiter):
    text = '"Path",label,Group,split\r\nb.jpg,quartz,,test\r\n./sub//ä 1.jpg, b ,stone 1,\r\n\r\n'
    path = table(tmp_path, text.replace(",", delimiter), encoding=encoding)
    assert read_photo_table(path) == [
        Entry("b.jpg", "quartz", "", "test"),
        Entry("sub/ä 1.jpg", "b", "stone 1", ""),
    ]


def test_cells_may_be_quoted_and_empty_rows_skipped(tmp_path):
    path = table(tmp_path, 'label,path\na,"x, y.jpg"\n,\nb,"two\nlines.jpg"\n')
    assert [entry.path for entry in read_photo_table(path)] == ["x, y.jpg", "two\nlines.jpg"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lacks path and label"),
        ("file,label\n1.jpg,a\n", "lacks path and has unknown columns 'file'"),
        ("path,labels\n1.jpg,a\n", r"'labels' \(did you mean 'label'\?\)"),
        ("path,label,label\n1.jpg,a,a\n", "names a column twice"),
        ("path,label\n", "no rows"),
        ("path,label\n1.jpg\n", "row 2 has 1 cells, the header has 2"),
        ("path,label\n1.jpg,a\n\n2.jpg,\n", r"row 4 \(2.jpg\) has no label"),
        ("path,label\n ,a\n", "row 2 has no path"),
        ("path,label,split\n1.jpg,a,later\n", "the split 'later'; it must be train, test or empty"),
        ('path,label\n"1.jpg,a\n', "no CSV that can be read"),
    ],
)
def test_a_csv_that_cannot_be_used(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_photo_table(table(tmp_path, text))


def test_all_unusable_rows_are_counted_and_the_first_shown(tmp_path):
    path = table(tmp_path, "path,label\n" + "x.jpg,\n" * 12)
    with pytest.raises(DataError) as caught:
        read_photo_table(path)
    assert "12 lines of" in str(caught.value)
    assert "and 7 more" in str(caught.value)
    assert str(caught.value).count("has no label") == 5


def test_a_csv_in_another_encoding(tmp_path):
    path = table(tmp_path, "path,label\n1.jpg,Grünstein\n", encoding="latin-1")
    with pytest.raises(
        DataError, match=r"line 2 is, as Windows reads it, '1\.jpg,Grünstein'; save it as UTF-8"
    ):
        read_photo_table(path)


def test_validation_rows_are_trained_on(tmp_path):
    path = table(
        tmp_path, "path,label,split\n1.jpg,a,Train\n2.jpg,a,val\n3.jpg,b,dev\n4.jpg,b,TEST\n5.jpg,b,\n"
    )
    assert [entry.split for entry in read_photo_table(path)] == ["train", "train", "train", "test", ""]


def test_the_paths_alone_whatever_other_columns_there_are(tmp_path):
    path = table(tmp_path, "number;Path;note\n1;a.jpg;x\n2; ;y\n3;b.jpg\n")
    assert read_path_column(path) == ["a.jpg", "b.jpg"]
    with pytest.raises(DataError, match="names no column path"):
        read_path_column(table(tmp_path, "file\n1.jpg\n"))
