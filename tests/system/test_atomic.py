from __future__ import annotations

from pathlib import Path

import pytest

from ensemble_minerals.system.atomic import drafted


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "answers.csv"
    file.write_text("old")
    with drafted(file) as draft:
        draft.write_text("new")
        assert file.read_text() == "old"
    assert file.read_text() == "new"
    assert list(tmp_path.iterdir()) == [file]


def test_a_draft_that_was_given_up_leaves_no_trace(tmp_path: Path) -> None:
    file = tmp_path / "answers.csv"

    def give_up() -> None:
        with drafted(file) as draft:
            draft.write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        give_up()
    assert list(tmp_path.iterdir()) == []


def test_a_draft_that_was_not_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), drafted(tmp_path / "answers.csv"):
        pass


def test_of_two_at_once_the_last_one_stays(tmp_path: Path) -> None:
    file = tmp_path / "answers.csv"
    with drafted(file) as first:
        first.write_text("first")
        with drafted(file) as second:
            second.write_text("second")
        assert file.read_text() == "second"
    assert file.read_text() == "first"
    assert list(tmp_path.iterdir()) == [file]
