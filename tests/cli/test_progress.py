from __future__ import annotations

import logging
import re
import threading

import pytest
from drawn.terminals import plain, printed, window

from ensemble_minerals.cli import progress as progress_module
from ensemble_minerals.cli.progress import Bars, Lines, show_progress


def test_plain_progress_is_one_line_a_stage():
    where = plain()
    with show_progress(where) as progress:
        assert isinstance(progress, Lines)
        proceed = progress.stage("Reading photos")
        for done in (0, 1, 2, 3, 3):  # who watches the work may tell its end again
            proceed(done, 3)
        progress.note("a [note]")
    first, second = printed(where).splitlines()
    assert first.startswith("Reading photos: 3 in ")
    assert second == "note: a [note]"


def test_a_log_hears_of_a_long_stage_now_and_then(monkeypatch):
    where, said, enough = plain(), [], threading.Event()

    def hear(_, text):
        said.append(text)
        if len(said) == 3:
            enough.set()

    monkeypatch.setattr(Lines, "interval", 0.01)
    monkeypatch.setattr(progress_module, "say", hear)
    with show_progress(where) as progress:
        proceed = progress.stage("Fitting members")
        proceed(2, 15)
        assert enough.wait(10)
        proceed(15, 15)
    assert [re.sub(r"[\d.]+ s$", "T", text) for text in said[:2]] == ["Fitting members: 2 of 15 after T"] * 2
    assert said[-1].startswith("Fitting members: 15 in ")


@pytest.mark.parametrize("made", [plain, window])
def test_notes_can_be_kept_for_later(made):
    where = made()
    with show_progress(where, notes=False) as progress:
        progress.note("kept back")
    assert "kept back" not in printed(where)


@pytest.mark.parametrize("made", [plain, window])
def test_warnings_of_the_package_are_notes_while_it_works(made):
    where = made()
    with show_progress(where, notes=False):
        logging.getLogger("ensemble_minerals.system").warning("%s is [damaged]", "cache")
        logging.getLogger("another").warning("not ours")
    logging.getLogger("ensemble_minerals").warning("too late")
    text = printed(where)
    assert "cache is [damaged]" in text
    assert "not ours" not in text
    assert "too late" not in text


def test_bars_tell_how_far_and_stop_when_work_fails():
    where = window()

    def work() -> None:
        with show_progress(where) as progress:
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
    with show_progress(where) as progress:
        progress.stage("Computing features")
        progress.stage("Fitting members")(2, 2)
    last = printed(where).rpartition("\x1b[2K")[2]
    assert "Fitting members" in last
    assert "Computing features" not in last
