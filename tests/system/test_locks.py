"""One process at a time writes an output; others are told at once which one does."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from ensemble_minerals.errors import BundleError, UserError
from ensemble_minerals.system import locks
from ensemble_minerals.system.locks import Holder, held


@pytest.fixture(params=["locked", "named"])
def way(request, monkeypatch):
    """Both ways of holding; the second is that of file systems that lock no files."""
    if request.param == "named":
        monkeypatch.setattr(locks, "try_lock", lambda handle: None)
    return request.param


@contextmanager
def other_process(out, way):
    """Another process that holds an output until the block ends, when it is killed."""
    program = f"""
        import sys, time
        from pathlib import Path
        from ensemble_minerals.system import locks
        if {way!r} == "named":
            locks.try_lock = lambda handle: None
        with locks.held(Path({str(out)!r}), "a fit"):
            print("held", flush=True)
            time.sleep(60)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_another_process_is_named_and_its_end_frees_the_output(tmp_path, way):
    out = tmp_path / "mine"
    with other_process(out, way) as process:
        pattern = (
            rf"mine is being written by a fit \(process {process.pid} on .+, since \d{{4}}-.+\); wait for it"
        )
        with pytest.raises(BundleError, match=pattern), held(out, "a fit", error=BundleError):
            pytest.fail("both hold it")
    assert len(names(tmp_path)) == 1
    with held(out, "a fit"):
        pass
    assert names(tmp_path) == []


def test_of_many_threads_one_at_a_time_holds_it(tmp_path, way):
    inside, outcomes = [], []

    def hold(number):
        try:
            with held(tmp_path / "mine", "a fit"):
                inside.append(number)
                assert len(inside) == 1
                inside.remove(number)
            outcomes.append("held")
        except UserError:
            outcomes.append("refused")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(hold, range(200)))
    assert "held" in outcomes
    assert len(outcomes) == 200
    assert names(tmp_path) == []


def test_folders_above_go_with_it_unless_something_was_saved(tmp_path, way):
    with held(tmp_path / "a" / "b" / "mine", "a fit"):
        pass
    assert names(tmp_path) == []
    with held(tmp_path / "a" / "b" / "mine", "a fit"):
        (tmp_path / "a" / "mine").touch()
    assert names(tmp_path / "a") == ["mine"]


def test_an_error_frees_it(tmp_path, way):
    with pytest.raises(ZeroDivisionError), held(tmp_path / "mine", "a fit"):
        raise ZeroDivisionError
    assert names(tmp_path) == []


def test_a_link_and_what_it_points_to_are_one_output(tmp_path, way):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with held(tmp_path / "link", "a fit"), pytest.raises(UserError), held(tmp_path / "real", "a report"):
        pytest.fail("both hold it")


def test_without_locks_the_user_is_told_once(tmp_path, way, caplog):
    with held(tmp_path / "mine", "a fit"):
        pass
    assert caplog.text.count("locks no files; .mine.holder in it") == (way == "named")


def named(tmp_path, **changes):
    values = {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "born": "",
        "since": "now",
        "work": "a fit",
    }
    file = tmp_path / ".mine.holder"
    file.write_text(json.dumps(values | changes))
    return file


def test_without_locks_a_holder_of_another_machine_stays_until_the_user_removes_it(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "try_lock", lambda handle: None)
    file = named(tmp_path, host="elsewhere")
    pattern = r"a fit \(process \d+ on elsewhere, since now\).*if that has ended, remove .*\.mine\.holder"
    with pytest.raises(UserError, match=pattern), held(tmp_path / "mine", "a fit"):
        pytest.fail("nobody knows whether it has ended")
    file.unlink()
    with held(tmp_path / "mine", "a fit"):
        pass


def test_without_locks_a_number_that_another_process_has_got_since_is_no_holder(tmp_path, monkeypatch):
    if not locks._born(os.getpid()):
        pytest.skip("this system does not say when a process was started")
    monkeypatch.setattr(locks, "try_lock", lambda handle: None)
    named(tmp_path, born="1")
    with held(tmp_path / "mine", "a fit"):
        assert json.loads((tmp_path / ".mine.holder").read_text())["born"] != "1"


@pytest.mark.parametrize("age", [0, 100])
def test_without_locks_a_file_that_names_nobody_counts_for_a_minute(tmp_path, monkeypatch, age):
    monkeypatch.setattr(locks, "try_lock", lambda handle: None)
    file = tmp_path / ".mine.holder"
    file.touch()
    when = file.stat().st_mtime - age
    os.utime(file, (when, when))
    if age:
        with held(tmp_path / "mine", "a fit"):
            pass
    else:
        with pytest.raises(UserError, match="another process"), held(tmp_path / "mine", "a fit"):
            pytest.fail("its owner may write its name now")


def test_a_process_without_rights_to_it_is_told_of_the_file(tmp_path, monkeypatch):
    def refused(*arguments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(locks.os, "open", refused)
    with (
        pytest.raises(UserError, match=r"\.mine\.lock cannot be written: Permission denied"),
        held(tmp_path / "mine", "a fit"),
    ):
        pytest.fail("it cannot be held")


def test_a_process_of_this_machine_that_ended_is_known():
    ended = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    host = socket.gethostname()
    assert Holder(host, int(ended.stdout), "", "now", "a fit").has_ended
    assert not Holder(host, os.getpid(), locks._born(os.getpid()), "now", "a fit").has_ended
    assert not Holder("elsewhere", int(ended.stdout), "", "now", "a fit").has_ended
