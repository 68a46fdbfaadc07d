from __future__ import annotations

from pathlib import Path

import pytest

from ensemble_minerals.data.files import expand_inputs, list_files
from ensemble_minerals.errors import DataError, UserError


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    for name in (
        "b/2.jpg", "b/1.jpg", "b/deep/3.png", "b/.hidden/4.jpg", "b/.5.jpg", "b/Thumbs.db", "a/6.JPG",
        "odd [1].jpg", "z.jpg", ".secret/photos/7.jpg",
    ):  # fmt: skip
        file = tmp_path / "home" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    (tmp_path / "home" / "nothing").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    return tmp_path / "home"


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (["z.jpg", "b"], ["z.jpg", "b/1.jpg", "b/2.jpg", "b/deep/3.png"]),
        (["b", "z.jpg", "b/1.jpg", "b/../z.jpg"], ["b/1.jpg", "b/2.jpg", "b/deep/3.png", "z.jpg", "b/../z.jpg"]),
        (["b/*.jpg"], ["b/1.jpg", "b/2.jpg"]),
        (["b/?.jpg", "z.jpg"], ["b/1.jpg", "b/2.jpg", "z.jpg"]),
        (["b/.*.jpg"], ["b/.5.jpg"]),
        (["*/[16].*"], ["a/6.JPG", "b/1.jpg"]),
        (["b/**/*.png"], ["b/deep/3.png"]),
        (["[ab]"], ["a/6.JPG", "b/1.jpg", "b/2.jpg", "b/deep/3.png"]),  # folders that match are folders given
        (["b/**"], ["b/1.jpg", "b/2.jpg", "b/deep/3.png"]),
        (["b/*"], ["b/1.jpg", "b/2.jpg", "b/deep/3.png"]),
        (["odd [1].jpg"], ["odd [1].jpg"]),  # a file that is there is no pattern
        ([Path("b") / "deep"], ["b/deep/3.png"]),
        (["../home/*.jpg"], ["../home/odd [1].jpg", "../home/z.jpg"]),
        ([".secret/photos/*.jpg"], [".secret/photos/7.jpg"]),
    ],
)  # fmt: skip
def test_files_folders_and_patterns(place, inputs, expected):
    assert [path.as_posix() for path in expand_inputs(inputs)] == expected
    absolute = [place / entry for entry in inputs]
    assert expand_inputs(absolute) == [place / entry for entry in expected]


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("absent.jpg", "absent.jpg is no file or folder here, and matches none as a pattern"),
        ("b/*.tiff", "b/*.tiff is no file or folder here, and matches none as a pattern"),
        ("nothing", "nothing holds no files"),
        ("noth*", "noth* holds no files"),
        ("", "an input is empty"),
        ("b**/x", "no pattern"),
        ("x" * 300, "File name too long"),
        ("x" * 300 + "*", "File name too long"),
        ("b\0", "matches none"),
        ("[", "matches none"),
    ],
)
def test_an_input_that_is_nothing_is_named(entry, message):
    with pytest.raises(UserError) as caught:
        expand_inputs(["z.jpg", entry])
    assert message in str(caught.value)


@pytest.mark.usefixtures("place")
def test_a_folder_may_stand_in_its_own_shadow(tmp_path):
    """A link to a folder above does not lead round and round."""
    (tmp_path / "home" / "b" / "deep" / "again").symlink_to(tmp_path / "home" / "b")
    assert len(expand_inputs(["b"])) == 3


@pytest.mark.usefixtures("place")
def test_links_are_followed_wherever_files_are_listed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "8.jpg").touch()
    Path("b/link").symlink_to(elsewhere)
    Path("b/nowhere.jpg").symlink_to(elsewhere / "absent.jpg")
    assert [path.as_posix() for path in expand_inputs(["b"])] == [
        "b/1.jpg", "b/2.jpg", "b/deep/3.png", "b/link/8.jpg", "b/nowhere.jpg",
    ]  # fmt: skip


@pytest.mark.usefixtures("place")
def test_what_is_left_out_can_be_told():
    ignored: list[str] = []
    assert [path.as_posix() for path in list_files(Path("b"), ignored)] == [
        "b/1.jpg",
        "b/2.jpg",
        "b/deep/3.png",
    ]
    assert sorted(ignored) == [".5.jpg", ".hidden", "Thumbs.db"]


@pytest.mark.usefixtures("place")
def test_a_folder_that_cannot_be_opened_is_not_passed_over(monkeypatch):
    original = Path.iterdir

    def refuse(self):
        if self.name == "deep":
            raise PermissionError(13, "Permission denied")
        return original(self)

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataError, match="deep cannot be opened: Permission denied"):
        expand_inputs(["b"])
