"""Labels that came with photos."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from ensemble_minerals.prediction.given_labels import given_labels


def test_a_column_goes_before_the_folder_and_other_folders_say_nothing(tmp_path):
    for name in ("quartz/1.png", "quartz/2.png", "new/3.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (9, 9)).save(tmp_path / name)
    table = tmp_path / "photos.csv"
    table.write_text("Path,Label\nquartz/1.png, mica\nnew/3.png,\n", encoding="utf-8")
    paths = [tmp_path / name for name in ("quartz/1.png", "quartz/2.png", "new/3.png")]
    assert given_labels([table, tmp_path], paths, ["mica", "quartz"]) == ("mica", "quartz", "")


def test_a_table_without_labels_gives_none(tmp_path):
    table = tmp_path / "photos.csv"
    table.write_text("path,note\n1.png,x\n", encoding="utf-8")
    assert given_labels(table, [tmp_path / "1.png"], ["quartz"]) == ("",)
    assert given_labels(Path("a.jpg"), [Path("a.jpg")], ["quartz"]) == ("",)
