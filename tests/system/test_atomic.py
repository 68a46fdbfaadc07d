"""Files and folders appear whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from threading import Event, Thread

import pytest
from drawn.faults import KILL, NO_PERMISSION, NO_SPACE, at_every_call, with_fault
from hypothesis import given, settings
from hypothesis import strategies as st

from ensemble_minerals.errors import DiskError, UserError
from ensemble_minerals.system import atomic
from ensemble_minerals.system.atomic import atomic_file, atomic_folder, make_folder, recover, user_errors


class Killed(BaseException):
    """Like a signal: nothing catches it on purpose."""


@pytest.fixture(params=["exchanged", "set aside"])
def way(request, monkeypatch):
    """Both ways of replacing a folder; the second is that of systems that cannot exchange two names."""
    if request.param == "set aside":
        monkeypatch.setattr(atomic, "_exchange", lambda one, other: False)
    return request.param


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_folder(folder: Path, text: str, *, durable: bool = True) -> None:
    with atomic_folder(folder, durable=durable) as draft:
        (draft / "deep").mkdir()
        (draft / "deep" / "a.txt").write_text(text)


def read_folder(folder: Path) -> str:
    assert names(folder) == ["deep"]
    return (folder / "deep" / "a.txt").read_text()


# -- files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_appears_when_it_is_whole(tmp_path, durable):
    file = tmp_path / "answers.csv"
    file.write_text("old")
    with atomic_file(file, durable=durable) as draft:
        assert draft.suffix == ".csv"
        draft.write_text("new")
        assert file.read_text() == "old"
    assert file.read_text() == "new"
    assert names(tmp_path) == ["answers.csv"]


def test_the_folders_of_a_file_are_made(tmp_path):
    with atomic_file(tmp_path / "deep" / "er" / "a.txt") as draft:
        draft.write_text("new")
    assert names(tmp_path / "deep" / "er") == ["a.txt"]


def give_up(context):
    with context as draft:
        (draft if draft.suffix else draft / "half.txt").write_text("half")
        raise Killed


def test_a_draft_that_was_given_up_leaves_no_trace(tmp_path):
    with pytest.raises(Killed):
        give_up(atomic_file(tmp_path / "answers.csv"))
    with pytest.raises(Killed):
        give_up(atomic_folder(tmp_path / "report"))
    assert names(tmp_path) == []


def test_a_draft_that_was_not_written_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_file(tmp_path / "answers.csv"):
        pass
    assert names(tmp_path) == []


def test_of_two_at_once_the_last_one_stays(tmp_path):
    file = tmp_path / "answers.csv"
    with atomic_file(file) as first:
        first.write_text("first")
        with atomic_file(file) as second:
            second.write_text("second")
        assert file.read_text() == "second"
    assert file.read_text() == "first"
    assert names(tmp_path) == ["answers.csv"]


# -- folders ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("durable", [True, False])
def test_a_folder_is_replaced_as_a_whole(tmp_path, way, durable):
    folder = tmp_path / "deep" / "report"
    write_folder(folder, "old")
    (folder / "stray.txt").touch()
    with atomic_folder(folder, durable=durable) as draft:
        (draft / "new.txt").touch()
        assert names(folder) == ["deep", "stray.txt"]
    assert names(folder) == ["new.txt"]
    assert names(tmp_path / "deep") == ["report"]


def test_folders_are_exchanged_in_one_step(tmp_path, monkeypatch):
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    if not atomic._exchange(tmp_path / "one", tmp_path / "other"):
        pytest.skip("this system cannot exchange two names")
    write_folder(tmp_path / "report", "old")
    monkeypatch.setattr(Path, "rename", lambda *paths: pytest.fail("the name was free for a moment"))
    write_folder(tmp_path / "report", "new")
    assert read_folder(tmp_path / "report") == "new"


@pytest.mark.parametrize(
    ("platform", "name", "arguments"),
    [
        ("linux", "renameat2", [-100, b"one", -100, b"other", 2]),
        ("darwin", "renamex_np", [b"one", b"other", 2]),
    ],
)
@pytest.mark.parametrize("result", [0, -1])
def test_the_call_of_the_system(monkeypatch, platform, name, arguments, result):
    calls = []

    class Library:
        def __init__(self, path):
            setattr(self, name, lambda *given: calls.append(given) or result)

    monkeypatch.setattr(atomic.ctypes, "CDLL", Library)
    monkeypatch.setattr(sys, "platform", platform)
    assert atomic._exchange(Path("one"), Path("other")) == (result == 0)
    assert [getattr(argument, "value", argument) for argument in calls[0]] == arguments


def test_an_exchange_with_what_is_not_there_is_refused(tmp_path):
    assert not atomic._exchange(tmp_path / "one", tmp_path / "other")


def test_a_system_without_the_call_falls_back(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "_EXCHANGES", {sys.platform: ("no_such_function", 2, True)})
    write_folder(tmp_path / "report", "old")
    write_folder(tmp_path / "report", "new")
    assert read_folder(tmp_path / "report") == "new"


def test_a_folder_does_not_take_the_place_of_a_file(tmp_path, way):
    (tmp_path / "file").write_text("precious")
    with pytest.raises(NotADirectoryError):
        write_folder(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "precious"
    assert names(tmp_path) == ["file"]


def failing_at(*starts, rename):
    """`Path.rename` that fails for paths whose names start with one of these."""

    def failing(self, target):
        if self.name.startswith(starts):
            raise OSError("the disk is gone")
        return rename(self, target)

    return failing


def test_a_failed_last_step_loses_neither_old_nor_new(tmp_path, way, monkeypatch):
    """Until then the old report was removed first, and after an error both were gone."""
    folder = tmp_path / "report"
    write_folder(folder, "old")
    monkeypatch.setattr(Path, "rename", failing_at("new-", rename=Path.rename))
    monkeypatch.setattr(atomic, "_exchange", lambda one, other: False)
    with pytest.raises(OSError, match="the disk is gone"):
        write_folder(folder, "new")
    assert read_folder(folder) == "old"
    assert names(tmp_path) == ["report"]


def test_an_old_folder_that_cannot_be_put_back_is_kept_for_the_next_run(tmp_path, monkeypatch):
    folder, rename = tmp_path / "report", Path.rename
    write_folder(folder, "old")
    monkeypatch.setattr(atomic, "_exchange", lambda one, other: False)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", failing_at("new-", "old", rename=rename))
        with pytest.raises(OSError, match="the disk is gone"):
            write_folder(folder, "new")
    assert not folder.exists()
    recover(folder)
    assert read_folder(folder) == "old"
    assert names(tmp_path) == ["report"]


def test_errors_in_the_words_of_the_user(tmp_path):
    with (
        pytest.raises(UserError, match="report cannot be written: the disk is full"),
        user_errors(tmp_path / "report"),
    ):
        raise OSError("the disk is full")


# -- links --------------------------------------------------------------------------------------------------


def test_a_link_to_a_folder_stays_and_what_it_points_to_is_replaced(tmp_path, way):
    """Until then the result was deleted."""
    real, link = tmp_path / "disk" / "report", tmp_path / "link"
    write_folder(real, "old")
    link.symlink_to(real)
    write_folder(link, "new")
    assert link.is_symlink()
    assert read_folder(real) == "new"
    assert (names(tmp_path), names(tmp_path / "disk")) == (["disk", "link"], ["report"])


def test_a_link_to_a_file_stays_and_what_it_points_to_is_replaced(tmp_path):
    real, link = tmp_path / "disk" / "a.csv", tmp_path / "link.csv"
    link.symlink_to(real)
    for text in ("first", "second"):
        with atomic_file(link) as draft:
            draft.write_text(text)
        assert link.is_symlink()
        assert real.read_text() == text


# -- permissions --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_permissions_are_the_usual_ones(tmp_path, umask):
    before = os.umask(umask)
    try:
        with atomic_folder(tmp_path / "bundle") as draft:
            (draft / "deep").mkdir(mode=0o700)
            for name in ("private", "deep/private"):
                (draft / name).touch(mode=0o600)
            (draft / "open").touch()
            (draft / "open").chmod(0o777)
        with atomic_file(tmp_path / "file") as draft:
            draft.touch(mode=0o600)
    finally:
        os.umask(before)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes == {path: (0o777 if path.is_dir() else 0o666) & ~umask for path in tmp_path.rglob("*")}


def test_links_in_a_folder_stay_as_they_are(tmp_path):
    (tmp_path / "elsewhere").touch(mode=0o600)
    with atomic_folder(tmp_path / "bundle") as draft:
        (draft / "link").symlink_to(tmp_path / "elsewhere")
    assert (tmp_path / "bundle" / "link").is_symlink()
    assert stat.S_IMODE((tmp_path / "elsewhere").stat().st_mode) == 0o600


# -- on the disk --------------------------------------------------------------------------------------------


@pytest.fixture
def synced(monkeypatch) -> list[str]:
    """Names of what is brought to the disk, in order."""
    seen: list[str] = []
    sync = atomic._sync
    monkeypatch.setattr(atomic, "_sync", lambda path: (seen.append(path.name), sync(path)))
    return seen


def test_everything_durable_is_brought_to_the_disk_and_the_folder_above_last(tmp_path, synced):
    write_folder(tmp_path / "report", "new")
    assert set(synced) == {"deep", "a.txt", "new-report", tmp_path.name}
    assert synced[-1] == tmp_path.name
    synced.clear()
    with atomic_file(tmp_path / "a.csv") as draft:
        draft.touch()
    assert synced == ["new-a.csv", tmp_path.name]


def test_what_can_be_computed_again_is_not_waited_for(tmp_path, synced):
    with atomic_file(tmp_path / "a.csv", durable=False) as draft:
        draft.touch()
    with atomic_folder(tmp_path / "b", durable=False):
        pass
    assert synced == []


# -- killed -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [KILL, NO_SPACE, NO_PERMISSION])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_fault_at_any_call_leaves_the_old_or_the_new_whole_and_the_next_write_is_clean(
    tmp_path, way, kind, fault
):
    root, target = tmp_path / "root", tmp_path / "root" / "report"
    write, read = (write_folder, read_folder) if kind == "folder" else (write_file, Path.read_text)

    def anew():
        shutil.rmtree(root, ignore_errors=True)
        write(target, "old", durable=False)

    outcomes = []
    for outcome in at_every_call(lambda: write(target, "new"), root, fault, anew):
        outcomes.append(outcome)
        if not target.exists():
            assert (way, kind, outcome.status) == ("set aside", "folder", "killed")
            recover(target)
        assert read(target) in ("old", "new")
        assert outcome.status != "done" or read(target) == "new"
        for left in root.glob(".*.unfinished"):  # one without a lock is removed after a minute
            os.utime(left, (0, 0))
        write(target, "newer", durable=False)
        assert read(target) == "newer"
        assert names(root) == ["report"]
    assert len(outcomes) >= 8


def test_a_file_is_written_without_listing_its_folder(tmp_path, monkeypatch):
    """A cache can be a folder of a hundred thousand files."""
    real = os.scandir, os.listdir

    def unlisted(folder, real):
        assert folder != tmp_path
        return real(folder)

    monkeypatch.setattr(os, "scandir", lambda folder: unlisted(folder, real[0]))
    monkeypatch.setattr(os, "listdir", lambda folder: unlisted(folder, real[1]))
    write_file(tmp_path / "a.csv", "new")
    write_folder(tmp_path / "report", "new")
    monkeypatch.undo()
    assert names(tmp_path) == ["a.csv", "report"]


def write_file(file: Path, text: str, *, durable: bool = True) -> None:
    with atomic_file(file, durable=durable) as draft:
        draft.write_text(text)


def die_while_writing(folder: Path, step: str) -> None:
    """Another process replaces the folder in two steps, and is killed before `step`."""
    program = f"""
        import os, signal
        from pathlib import Path
        from ensemble_minerals.system import atomic
        atomic._exchange = lambda one, other: False
        rename = Path.rename
        def dying(self, target):
            if self.name.startswith({step!r}):
                os.kill(os.getpid(), signal.SIGKILL)
            return rename(self, target)
        Path.rename = dying
        with atomic.atomic_folder(Path({str(folder)!r})) as draft:
            (draft / "half.txt").touch()
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=False)
    assert ended.returncode == -signal.SIGKILL


@pytest.mark.parametrize("step", ["report", "new-report"])
def test_the_next_run_repairs_what_a_kill_left(tmp_path, step):
    folder = tmp_path / "report"
    write_folder(folder, "old")
    die_while_writing(folder, step)
    assert folder.exists() == (
        step == "report"
    )  # the name was free when it was killed before the second step
    assert len(names(tmp_path)) == 1 + (step == "report")
    recover(folder)
    assert read_folder(folder) == "old"
    assert names(tmp_path) == ["report"]


def test_the_next_write_removes_the_remains(tmp_path):
    folder = tmp_path / "report"
    write_folder(folder, "old")
    die_while_writing(folder, "new-report")
    write_folder(folder, "new")
    assert read_folder(folder) == "new"
    assert names(tmp_path) == ["report"]


def test_work_in_progress_is_not_taken_for_remains(tmp_path):
    file = tmp_path / "answers.csv"
    with atomic_file(file) as draft:
        draft.write_text("new")
        recover(file)
        assert draft.exists()
    assert file.read_text() == "new"


def test_readers_that_mend_take_nothing_from_a_writer(tmp_path):
    """Readers that find the work folder while its writer removes it must not remove that of the next write."""
    folder, ended = tmp_path / "bundle", Event()

    def mend() -> None:
        while not ended.is_set():
            recover(folder)

    readers = [Thread(target=mend) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for number in range(200):
            with atomic_folder(folder, durable=False) as draft:
                (draft / "answers.csv").write_text(str(number), encoding="utf-8")
            assert (folder / "answers.csv").read_text(encoding="utf-8") == str(number)
    finally:
        ended.set()
        for reader in readers:
            reader.join()
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("age", [3600, 90_000])
def test_without_locks_old_remains_are_removed(tmp_path, monkeypatch, age):
    monkeypatch.setattr(atomic, "try_lock", lambda handle: None)
    remains = tmp_path / ".a.csv.0123abcd.unfinished"
    remains.mkdir()
    (remains / "lock").touch()
    when = remains.stat().st_mtime - age
    os.utime(remains, (when, when))
    recover(tmp_path / "a.csv")
    assert remains.exists() == (age == 3600)


def test_what_version_0_1_0_left_is_put_right(tmp_path):
    """It was killed between its two renames."""
    old, draft = tmp_path / ".mine.replaced", tmp_path / ".mine.unfinished"
    write_folder(old, "old")
    write_folder(draft, "new")
    recover(tmp_path / "mine")
    assert read_folder(tmp_path / "mine") == "old"
    recover(tmp_path / "mine")
    assert draft.exists()  # perhaps it is still being written
    os.utime(draft, (0, 0))
    recover(tmp_path / "mine")
    assert names(tmp_path) == ["mine"]


def test_a_folder_that_was_removed_later_does_not_come_back(tmp_path):
    """Its replacement was there when the process was killed; then the user removed it."""
    work = tmp_path / ".mine.0.unfinished"
    write_folder(work / "old", "old")
    (work / "lock").touch()
    recover(tmp_path / "mine")
    assert names(tmp_path) == []


def test_other_names_are_left_alone(tmp_path):
    others = [
        ".a.csv.bak",
        ".b.csv.0123abcd.unfinished",
        ".a.csv.0123abcd.unfinished.zip",
        ".a.csv.checkpoint",
    ]
    for name in others:
        (tmp_path / name).mkdir()
    with atomic_file(tmp_path / "a.csv") as draft:
        draft.touch()
    assert names(tmp_path) == sorted([*others, "a.csv"])


def full_disk(draft: Path) -> None:
    draft.write_bytes(b"0" * 100_000)
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def library_on_a_full_disk(draft: Path) -> None:
    raise RuntimeError("I/O error: No space left on device (os error 28)")


@pytest.mark.parametrize("write", [full_disk, library_on_a_full_disk])
def test_a_full_disk_is_told_with_the_place_and_the_room(tmp_path, write):
    target = tmp_path / "a.csv"
    said = pytest.raises(DiskError, match=r"a\.csv cannot be written: No space left .* MB are not enough")
    with said, user_errors(target), atomic_file(target) as draft:
        write(draft)
    assert names(tmp_path) == []


@pytest.mark.parametrize(("fault", "error"), [(NO_SPACE, "DiskError"), (NO_PERMISSION, "UserError")])
def test_a_folder_that_cannot_be_made_is_said(tmp_path, fault, error):
    folder = tmp_path / "a" / "b"
    for outcome in at_every_call(
        lambda: make_folder(folder), tmp_path, fault, lambda: shutil.rmtree(tmp_path / "a", True)
    ):
        if outcome.met:
            assert f"ensemble_minerals.errors.{error}: {folder} cannot be written" in outcome.error
    make_folder(folder)
    make_folder(folder)
    assert folder.is_dir()


# -- any failures, one after the other ----------------------------------------------------------------------

FAILURES = st.tuples(st.sampled_from([KILL, NO_SPACE, NO_PERMISSION]), st.integers(1, 25))


@settings(max_examples=15)
@given(st.lists(FAILURES, min_size=1, max_size=4), st.booleans())
def test_after_any_failures_the_folder_is_one_that_was_written(failures, durable):
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "bundle"
        write_folder(folder, "0")
        known = ["0"]
        for number, (fault, at) in enumerate(failures, start=1):
            known.append(str(number))
            with_fault(
                lambda number=number: write_folder(folder, str(number), durable=durable),
                Path(home),
                at,
                fault,
            )
            recover(folder)
            assert read_folder(folder) in known
        write_folder(folder, "last")
        assert read_folder(folder) == "last"
