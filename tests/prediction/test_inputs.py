from __future__ import annotations

import os
from pathlib import Path

import pytest

from ensemble_minerals.data.files import LeftOut, list_files
from ensemble_minerals.errors import DataError, UserError
from ensemble_minerals.prediction.inputs import expand_inputs, named_folders


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
def test_one_input_alone_is_a_list_of_one():
    assert expand_inputs("b") == expand_inputs(Path("b")) == expand_inputs(["b"])
    assert named_folders("b/*") == [Path("b/deep")]


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
    left_out = LeftOut()
    assert [path.as_posix() for path in list_files(Path("b"), left_out)] == [
        "b/1.jpg",
        "b/2.jpg",
        "b/deep/3.png",
    ]
    assert sorted(left_out.hidden) == [".5.jpg", ".hidden", "Thumbs.db"]


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


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("new [1]/*.jpg", ["new [1]/1.jpg", "new [1]/2.jpg"]),
        ("new [1]/deep/?.png", ["new [1]/deep/3.png"]),
        ("new [1]/*", ["new [1]/1.jpg", "new [1]/2.jpg", "new [1]/deep/3.png"]),
        ("new [1]/[2].jpg", ["new [1]/2.jpg"]),
    ],
)
def test_a_folder_with_brackets_in_its_name_is_no_pattern(pattern, expected):
    Path("b").rename("new [1]")
    assert [path.as_posix() for path in expand_inputs([pattern])] == expected


@pytest.mark.usefixtures("place")
def test_patterns_follow_links_to_folders_but_not_in_a_circle(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "9.png").touch()
    Path("b/link").symlink_to(tmp_path / "elsewhere")
    Path("b/again").symlink_to(Path("b").resolve())
    names = [path.name for path in expand_inputs(["b/**/*.png"])]
    assert sorted(set(names)) == ["3.png", "9.png"]


@pytest.mark.usefixtures("place")
def test_pipes_and_folders_nobody_may_look_at_keep_their_place(monkeypatch):
    os.mkfifo("a/pipe.jpg")
    original = Path.stat

    def refuse(self, **options):
        if self.name == "secret.jpg":
            raise PermissionError(13, "Permission denied")
        return original(self, **options)

    Path("a/secret.jpg").touch()
    monkeypatch.setattr(Path, "stat", refuse)
    assert [path.name for path in expand_inputs(["a"])] == ["6.JPG", "pipe.jpg", "secret.jpg"]


@pytest.mark.usefixtures("place")
def test_own_outputs_and_hidden_files_are_left_out_with_a_word():
    for name in ("b/old/report.json", "b/old/report.html", "b/old/1.png"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    notes: list[str] = []
    assert [path.as_posix() for path in expand_inputs(["b"], notes.append)] == [
        "b/1.jpg", "b/2.jpg", "b/deep/3.png",
    ]  # fmt: skip
    assert notes == [
        "3 hidden or system files ignored: .5.jpg, .hidden, Thumbs.db",
        "1 folder that ensemble-minerals wrote left out: b/old",
    ]
    assert [path.as_posix() for path in expand_inputs(["b/*"])] == ["b/1.jpg", "b/2.jpg", "b/deep/3.png"]


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (
            "b/list.csv",
            "path,label\n1.jpg,a\ndeep/3.png,b\nabsent.jpg,b\n",
            ["b/1.jpg", "b/deep/3.png", "b/absent.jpg"],
        ),
        ("b/list.txt", "1.jpg\r\n\r\ndeep\\3.png\r\n", ["b/1.jpg", "b/deep/3.png"]),
        ("list.txt", "b/2.jpg\n", ["b/2.jpg"]),
    ],
)
def test_a_list_stands_for_the_files_it_names(name, text, expected):
    Path(name).write_text(text, encoding="utf-8")
    assert [path.as_posix() for path in expand_inputs([name])] == expected


@pytest.mark.usefixtures("place")
def test_a_list_may_be_written_from_the_current_folder():
    Path("lists").mkdir()
    Path("lists/answers.csv").write_text("path,status\nb/1.jpg,ok\nz.jpg,ok\n", encoding="utf-8")
    assert expand_inputs(["lists/answers.csv"]) == [Path("b/1.jpg").resolve(), Path("z.jpg").resolve()]


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("list.txt", "found in 1987", "the file of list.txt is not there: 'found in 1987'"),
        ("list.txt", "\n", "list.txt lists no paths"),
        ("list.csv", "file\nz.jpg\n", "names no column path"),
    ],
)
def test_a_list_that_leads_nowhere(name, text, message):
    Path(name).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        expand_inputs([name])
