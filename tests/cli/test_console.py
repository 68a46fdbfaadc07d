from __future__ import annotations

import io

import pytest
from rich.console import Console

from ensemble_minerals.cli.console import duration, literal
from ensemble_minerals.cli.progress import Bars, Lines, reporter
from ensemble_minerals.cli.tables import Column, table


def plain() -> Console:
    return Console(file=io.StringIO(), highlight=False, markup=False, emoji=False, width=30)


def window() -> Console:
    return Console(
        file=io.StringIO(), force_terminal=True, highlight=False, markup=False, emoji=False, width=100
    )


def printed(console: Console) -> str:
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3725, "1 h 02 min"),
    ],
)
def test_durations_in_words(seconds, words):
    assert duration(seconds) == words


def test_names_from_outside_cannot_steer_the_terminal():
    assert literal("\x1b[31mred\x07\udcff [bold]").plain == "\ufffd[31mred\ufffd\ufffd [bold]"


def test_a_plain_table_is_aligned_and_never_wrapped():
    where = plain()
    table(where, "Answers", [Column("photo"), Column("share", number=True)], [("a" * 40, 0.5), ("[b]", None)])
    assert printed(where).splitlines() == [
        "",
        "Answers",
        "photo" + " " * 35 + "  share",
        "a" * 40 + "    0.5",
        "[b]",
    ]


def test_a_table_in_a_window_has_all_cells():
    where = window()
    table(
        where,
        "Answers",
        [Column("photo"), Column("share", number=True)],
        [("x", 0.5), ("all", 1)],
        last_apart=True,
    )
    for word in ("Answers", "photo", "share", "x", "0.5", "all"):
        assert word in printed(where)
    assert "─" in printed(where)


def test_plain_progress_is_one_line_a_stage():
    where = plain()
    with reporter(where) as progress:
        assert isinstance(progress, Lines)
        proceed = progress.stage("Reading photos")
        for done in range(4):
            proceed(done, 3)
        progress.note("a [note]")
    first, second = printed(where).splitlines()
    assert first.startswith("Reading photos: 3 in ")
    assert second == "note: a [note]"


@pytest.mark.parametrize("made", [plain, window])
def test_notes_can_be_kept_for_later(made):
    where = made()
    with reporter(where, notes=False) as progress:
        progress.note("kept back")
    assert "kept back" not in printed(where)


def test_bars_tell_how_far_and_stop_when_work_fails():
    where = window()

    def work() -> None:
        with reporter(where) as progress:
            assert isinstance(progress, Bars)
            progress.stage("Reading photos")(3, 3)
            progress.note("look at [this]")
            progress.stage("Fitting members")(1, 12)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    text = printed(where)
    for words in ("Reading photos", "3/3", "note: ", "look at [this]", "Fitting members", "1/12"):
        assert words in text
    assert text.endswith("\x1b[?25h")  # the cursor is shown again


def test_a_stage_with_nothing_to_do_leaves_no_bar():
    where = window()
    with reporter(where) as progress:
        progress.stage("Computing features")
        progress.stage("Fitting members")(2, 2)
    last = printed(where).rpartition("\x1b[2K")[2]
    assert "Fitting members" in last
    assert "Computing features" not in last
