"""Corrections as people's files hold them: read strictly, merged, the last to decide counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ensemble_minerals.data.corrections import (
    COLUMNS,
    Corrections,
    Decision,
    append_decisions,
    read_corrections,
)
from ensemble_minerals.errors import DataError, UserError

A, B, C = "a" * 32, "b" * 32, "c" * 32
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def at(minute, photo, action, who="Ann", **more):
    return Decision(photo, action, who, NOON + timedelta(minutes=minute), **more)


def standing(*decisions):
    return {subject: one.outcome for subject, one in Corrections().followed_by(decisions).standing.items()}


def written(folder, text, name="c.csv"):
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def test_what_is_appended_is_read_back_and_nothing_in_it_is_a_formula(tmp_path):
    file = tmp_path / "c.csv"
    first = at(0, A, "relabel", who="=cmd", label="@quartz", path="quartz/=1+1.png")
    second = at(1, A, "not_same_object", other=B, path="x, y.png", other_path='"z".png')
    append_decisions(file, [first])
    before = file.read_bytes()
    append_decisions(file, [second])
    assert file.read_bytes().startswith(before)
    assert all(not cell.startswith(("=", "@")) for cell in before.decode().replace("\r\n", ",").split(","))
    assert read_corrections([file]).decisions == (first, second)


def test_a_last_row_that_was_not_ended_stays_a_row_of_its_own(tmp_path):
    file = written(tmp_path, f"{','.join(COLUMNS)}\n{A},,leave_out,,,,Ann,2026-01-31T12:00:00Z")
    append_decisions(file, [at(1, B, "leave_out")])
    assert [one.photo for one in read_corrections([file]).decisions] == [A, B]


def test_a_path_of_no_text_leaves_the_file_readable(tmp_path):
    file = tmp_path / "c.csv"
    append_decisions(file, [at(0, A, "leave_out", path="odd\udcff.png")])
    assert read_corrections([file]).decisions[0].path == "odd\\udcff.png"


def test_all_that_is_wrong_is_told_at_once(tmp_path):
    rows = [
        f"{A},kep,,,Ann,2026-01-31T12:00:00Z",
        f"{A},relabel,,,Ann,2026-01-31T12:00:00",
        f"{A[:5]},leave_out,quartz,,,2026-01-31T12:00:00Z",
        f"{A},not_same_object,,{A},Ann,2026-01-31T12:00:00Z",
        f"{A},keep,quartz",
    ]
    file = written(tmp_path, "photo,action,label,other,who,when\n" + "\n".join(rows))
    with pytest.raises(DataError) as told:
        read_corrections([file])
    message = str(told.value)
    for words in ("row 2 has the action 'kep' (did you mean 'keep'?)", "row 3 has when=", "has no label",
                  "row 4 has the photo", "and has who=''", "row 6 has 3 cells"):  # fmt: skip
        assert words in message


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("photo,action,who", "lacks when"),
        ("photo,action,who,when,lable", "unknown columns 'lable' (did you mean 'label'?)"),
        ("photo,action,who,when,who", "names a column twice"),
        ("", "lacks photo, action, who, when"),
    ],
)
def test_columns_that_do_not_fit_are_told(tmp_path, header, words):
    with pytest.raises(DataError) as told:
        read_corrections([written(tmp_path, header + "\n")])
    assert words in str(told.value)


def test_the_last_to_decide_counts_and_contradictions_are_told():
    decisions = [
        at(0, A, "relabel", label="quartz", path="x.png"),
        at(5, A, "keep", who="Bob", label="pyrite"),
        at(3, B, "keep", label="quartz"),
        at(4, B, "relabel", who="Bob", label="quartz"),
        at(9, A, "relabel", label="bornite", path="x.png"),
    ]
    assert standing(*decisions) == {(A,): "bornite", (B,): "quartz"}
    assert standing(*reversed(decisions)) == standing(*decisions)
    (told,) = Corrections().followed_by(decisions).disagreements()
    assert told == "x.png: Ann says bornite, Bob says pyrite; the last to decide counts (Ann)"


def test_undo_takes_back_the_last_decision_of_the_same_person_on_the_same_subject():
    first, second = at(0, A, "relabel", label="quartz"), at(1, A, "relabel", label="pyrite")
    undo = at(2, A, "undo")
    assert standing(first, second, undo) == {(A,): "quartz"}
    assert standing(first, second, undo, at(3, A, "undo")) == {}
    assert standing(first, at(2, A, "undo", who="Bob")) == {(A,): "quartz"}
    assert standing(first, at(1, A, "undo", other=B)) == {(A,): "quartz"}
    assert standing(at(0, A, "undo"), first) == {(A,): "quartz"}


def test_a_row_that_is_in_several_files_counts_once(tmp_path):
    files = tmp_path / "c.csv", tmp_path / "copy.csv"
    decisions = [at(0, A, "relabel", label="quartz"), at(1, A, "relabel", label="pyrite"), at(2, A, "undo")]
    for file in files:
        append_decisions(file, decisions)
    assert {one.outcome for one in read_corrections(files).standing.values()} == {"quartz"}


def test_a_pair_is_the_same_whichever_photo_is_named_first():
    assert standing(at(0, A, "same_object", other=B), at(1, B, "not_same_object", other=A)) == {
        (A, B): "not same object"
    }


def test_an_added_photo_is_found_from_the_folder_of_the_file(tmp_path):
    (tmp_path / "new.png").write_bytes(b"")
    file = written(
        tmp_path,
        "photo,path,action,label,who,when\n"
        f"{A},new.png,add,quartz,Ann,2026-01-31T12:00:00Z\n{B},gone.png,add,quartz,Ann,2026-01-31T12:00:00Z\n",
    )
    (entry,) = read_corrections([file]).added()
    assert (entry.path, entry.label) == ((tmp_path / "new.png").as_posix(), "quartz")


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(UserError, match="cannot be written"):
        append_decisions(tmp_path / "no" / "c.csv", [at(0, A, "leave_out")])
