"""The only way to write a file or a folder: it appears under its name whole, or not at all.

A draft is written in a work folder beside the target, and replaces the target in one step. A process holds a lock in
its work folder as long as it lives, so the next write of the same target can tell leftovers from work in progress.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from ensemble_minerals.errors import DiskError, UserError
from ensemble_minerals.system.file_locks import is_still, try_lock

_LOCK, _NEW, _OLD = "lock", "new-", "old"  # what a work folder holds
_ABANDONED = 86_400.0  # seconds after which a work folder counts as abandoned where files cannot be locked
_UNLOCKED = (
    60.0  # seconds after which one without a lock counts as abandoned; it is there for a moment otherwise
)
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CANNOT_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)  # of file systems that do not sync folders

# For each system the call that exchanges two names, the flag for it, and whether paths are relative to a folder.
_EXCHANGES = {"linux": ("renameat2", 2, True), "darwin": ("renamex_np", 2, False)}
_AT_CWD = -100


@contextmanager
def atomic_file(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Write a file: the block writes a draft, which takes the place of `path` at its end.

    After an error in the block there is no trace of the draft, and an older file stays. Of several processes that
    write the same file at once, the last one's stays. A symbolic link stays a link, and the file that it points to
    is replaced. The file gets the usual permissions (the umask decides), whatever those of the draft.

    Args:
        path: The file; its folder is made if need be.
        durable: Whether the file is on the disk at the end, and survives a loss of power. Not worth its time for
            what can be computed again.

    Yields:
        Path of the draft, with the suffix of `path`; the block must create it.

    Raises:
        OSError: If the block did not write the draft, or it cannot take the place.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "answers.csv"
        >>> with atomic_file(file) as draft:
        ...     _ = draft.write_text("path,label")
        ...     file.exists()
        False
        >>> file.read_text()
        'path,label'
    """
    target = _target(path)
    with _work_folder(target) as work:
        draft = work / f"{_NEW}{target.name}"
        yield draft
        _finish(draft, work, durable=durable)
        draft.replace(target)
        if durable:
            _sync(target.parent)


@contextmanager
def atomic_folder(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Write a folder: the block fills a draft, which takes the place of `path` at its end.

    An older folder is replaced as a whole. Where the system can exchange two folders in one step, `path` is never
    without one. Elsewhere the old folder goes aside before the new one comes; `recover` puts right what a killed
    process leaves in between. For links, permissions and errors see `atomic_file`.

    Args:
        path: The folder; those above it are made if need be.
        durable: Whether all files are on the disk at the end, see `atomic_file`.

    Yields:
        Path of the draft, an empty folder.

    Raises:
        OSError: If the draft cannot take the place; `path` is as it was.
    """
    target = _target(path)
    with _work_folder(target) as work:
        draft = work / f"{_NEW}{target.name}"
        draft.mkdir()
        yield draft
        if target.exists() and not target.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
        _finish(draft, work, durable=durable)
        if not _exchange(draft, target):
            with suppress(FileNotFoundError):
                target.rename(work / _OLD)
            draft.rename(target)
        if durable:
            _sync(target.parent)


def work_name(name: str, token: str) -> str:
    """Name of the work folder in which a draft of `name` is written: the longest name that a write needs."""
    return f".{name}.{token}.unfinished"


def recover(path: Path) -> None:
    """Put right what killed processes left of writing `path`.

    A folder that went aside comes back, and drafts are removed, those of version 0.1.0 too. Call it before the work
    for `path` and before a folder is read; it lists the folder above. It raises no error where it may not change
    anything.
    """
    target = _target(path)
    remains = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{1,8}}\.unfinished")
    with suppress(OSError):
        for work in [entry for entry in target.parent.iterdir() if remains.fullmatch(entry.name)]:
            _recover(work, target)
    draft, old = (target.with_name(f".{target.name}.{state}") for state in ("unfinished", "replaced"))
    with suppress(OSError):
        if draft.is_dir() and old.is_dir() and not target.exists():
            old.rename(target)
    for left in (draft, old):
        with suppress(OSError):
            if left.is_dir() and _is_older(left, _ABANDONED):
                shutil.rmtree(left, ignore_errors=True)


@contextmanager
def user_errors(path: Path) -> Iterator[None]:
    """Say in the user's words that `path` cannot be written.

    Raises:
        UserError: For any `OSError` of the block, except a `DiskError`.
    """
    try:
        yield
    except DiskError:
        raise
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from error


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, unless it is there.

    Raises:
        UserError: If it cannot be made; a `DiskError` if the disk is full.
    """
    with user_errors(path), _disk_errors(path):
        path.mkdir(parents=True, exist_ok=True)


def _target(path: Path) -> Path:
    """What is replaced: where a link points to."""
    return Path(os.path.realpath(path))


@contextmanager
def _work_folder(target: Path) -> Iterator[Path]:
    """A locked folder beside the target for a draft, and for an old folder that goes aside."""
    with _disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        work, lock = _locked_folder(target)
    try:
        with _disk_errors(target, work):
            yield work
    finally:
        _remove(work, target, lock)


@contextmanager
def _disk_errors(target: Path, work: Path | None = None) -> Iterator[None]:
    """Say which output met a full disk, how much of it was written, and how much room there was.

    Raises:
        DiskError: In place of any error that says that the disk is full.
    """
    try:
        yield
    except Exception as error:
        words = [os.strerror(number) for number in _DISK_FULL]  # libraries have errors of their own for it
        reason = next((word for word in words if word in str(error)), "")
        if not reason or isinstance(error, DiskError):
            raise
        done = [path.stat().st_size for path in work.rglob("*") if path.is_file()] if work else []
        free = shutil.disk_usage(target.parent).free if target.parent.exists() else 0
        raise DiskError(
            f"{target} cannot be written: {reason} ({sum(done) / 1e6:.1f} MB of it were written, "
            f"{(sum(done) + free) / 1e6:.1f} MB are not enough); make room, or choose another place"
        ) from error


def _locked_folder(target: Path) -> tuple[Path, int]:
    """The first work folder that no process holds. They are numbered, so remains are found without listing."""
    for number in count():
        work = target.with_name(work_name(target.name, str(number)))
        while True:
            try:
                work.mkdir()
            except FileExistsError:
                if _recover(work, target):
                    continue
                break
            try:
                lock = os.open(work / _LOCK, os.O_RDWR | os.O_CREAT)
            except FileNotFoundError:  # another process took it for remains just now
                continue
            except OSError:
                work.rmdir()
                raise
            if try_lock(lock) is not False and is_still(lock, work / _LOCK):
                return work, lock
            os.close(lock)
    raise AssertionError("there is always another number")


def _recover(work: Path, target: Path) -> bool:
    """Remove a work folder that no process holds; whether it is gone."""
    with suppress(OSError):
        try:
            lock = os.open(work / _LOCK, os.O_RDWR)
        except FileNotFoundError:
            if _is_older(work, _UNLOCKED):  # killed before or after it held the lock
                shutil.rmtree(work, ignore_errors=True)
        else:
            locked = try_lock(lock)
            abandoned = locked or (locked is None and _is_older(work, _ABANDONED))
            if abandoned and is_still(lock, work / _LOCK):
                _remove(work, target, lock)
            else:
                os.close(lock)
    return not os.path.lexists(work)


def _remove(work: Path, target: Path, lock: int) -> None:
    """Remove a work folder; a folder that went aside and was not replaced is brought back before.

    The lock goes last, while it is held, and then the empty folder: others may begin a folder of this name as soon
    as it is gone, so nothing of it may be touched after that.
    """
    try:
        if (work / _OLD).exists() and (work / f"{_NEW}{target.name}").exists() and not target.exists():
            (work / _OLD).rename(target)
        for path in work.iterdir():
            if path.name != _LOCK:
                shutil.rmtree(path, ignore_errors=True)
                with suppress(OSError):  # it is a file, or gone
                    path.unlink()
        with suppress(PermissionError):  # of Windows, as long as it is open
            (work / _LOCK).unlink()
    finally:
        os.close(lock)
    with suppress(OSError):
        (work / _LOCK).unlink(missing_ok=True)
        work.rmdir()


def _is_older(path: Path, seconds: float) -> bool:
    return time.time() - path.stat().st_mtime > seconds


def _finish(draft: Path, work: Path, *, durable: bool) -> None:
    """Give a draft and all in it the usual permissions, and bring it to the disk."""
    usual = stat.S_IMODE(work.stat().st_mode) & 0o777  # of a new folder; asking for the umask would change it
    for path in (*draft.rglob("*"), draft):
        if path.is_symlink():
            continue
        mode = path.stat().st_mode
        wanted = usual if stat.S_ISDIR(mode) else usual & 0o666
        if mode & 0o777 != wanted:
            with suppress(PermissionError):  # file systems without permissions
                path.chmod(stat.S_IMODE(mode) & ~0o777 | wanted)
        if durable:
            _sync(path)


def _sync(path: Path) -> None:
    """Bring a file or the names in a folder to the disk."""
    if os.name == "nt" and path.is_dir():
        return
    try:
        handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    except PermissionError:  # a folder that may be written to, but not read
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise
    finally:
        os.close(handle)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step; False if one is missing, or system or file system cannot."""
    name, flag, relative = _EXCHANGES.get(sys.platform, ("", 0, False))
    function = getattr(ctypes.CDLL(None), name, None) if name else None
    if function is None:
        return False
    first, second = os.fsencode(one), os.fsencode(other)
    here = ctypes.c_int(_AT_CWD)
    arguments: tuple[Any, ...] = (here, first, here, second) if relative else (first, second)
    return bool(function(*arguments, ctypes.c_uint(flag)) == 0)
