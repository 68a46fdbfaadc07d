"""Locks between processes: one at a time writes an output, and any other is told at once which one does."""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from ensemble_minerals.errors import UserError
from ensemble_minerals.system.atomic import user_errors
from ensemble_minerals.system.file_locks import is_still, try_lock

_log = logging.getLogger(__name__)

_UNWRITTEN = 60.0  # seconds after which a file that names nobody counts as left behind


@dataclass(frozen=True)
class Holder:
    """The process that writes an output.

    Attributes:
        host: Its machine.
        process: Its number there.
        born: When the system started it, as the system counts; empty where that is not known.
        since: When it began to write, in local time.
        work: What it does, such as "a fit".
    """

    host: str
    process: int
    born: str
    since: str
    work: str

    def __str__(self) -> str:
        return f"{self.work} (process {self.process} on {self.host}, since {self.since})"

    @property
    def has_ended(self) -> bool:
        """Whether the process is known to have ended; False for one of another machine."""
        return self.host == socket.gethostname() and not _lives(self.process, self.born)


@contextmanager
def held(path: Path, work: str, error: type[UserError] = UserError) -> Iterator[None]:
    """Be the only one who writes an output until the block ends, or the process does.

    Two hidden files beside the output can serve for it: ``.NAME.lock`` is locked and, where the file system locks
    no files, ``.NAME.holder`` names the process, which a warning says. Neither is there afterwards.

    Args:
        path: The output, which need not exist yet; a link is followed.
        work: What this process does, such as "a fit".
        error: Raised where another process, or another thread, holds the output.

    Raises:
        UserError: Of the type `error`; it names the holder. Or if the hidden file cannot be written.

    Example:
        >>> import tempfile
        >>> out = Path(tempfile.mkdtemp()) / "mine"
        >>> with held(out, "a fit"), held(out, "a fit"):
        ...     pass
        Traceback (most recent call last):
        ...
        ensemble_minerals.errors.UserError: ...mine is being written by a fit (process ...
    """
    target = Path(os.path.realpath(path))
    file = target.with_name(f".{target.name}.lock")
    me = Holder(
        socket.gethostname(), os.getpid(), _born(os.getpid()), time.strftime("%Y-%m-%d %H:%M:%S"), work
    )
    text = json.dumps(asdict(me)).encode()
    made = [folder for folder in file.parents if not folder.exists()]
    with user_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        handle = _locked(file, path, text, error)
        if handle is None:
            file = file.with_suffix(".holder")
            _claim(file, path, text, error)
            _log.warning(
                "%s locks no files; %s in it keeps others from writing %s now",
                file.parent,
                file.name,
                target.name,
            )
    try:
        yield
    finally:
        with suppress(OSError):
            file.unlink()  # before it is let go of: whoever opened it meanwhile sees that the name is gone
        if handle is not None:
            os.close(handle)
        with suppress(OSError):
            for folder in made:
                folder.rmdir()  # unless something was saved in it


def _locked(file: Path, path: Path, text: bytes, error: type[UserError]) -> int | None:
    """Lock a file and write who holds it; None where files cannot be locked."""
    while True:
        handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        locked = try_lock(handle)
        if locked and is_still(handle, file):
            os.ftruncate(handle, 0)
            os.write(handle, text)
            return handle
        os.close(handle)
        if locked is None:
            with suppress(OSError):
                file.unlink()
            return None
        if not locked:
            raise error(_refusal(path, _read(file)))


def _claim(file: Path, path: Path, text: bytes, error: type[UserError]) -> None:
    """Make a file that names this process, which must not be there unless its process has ended."""
    while True:
        try:
            handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            holder = _read(file)
            if not (_is_left_unwritten(file) if holder is None else holder.has_ended):
                advice = f"; if that has ended, remove {file}"
                raise error(_refusal(path, holder) + advice) from None
            aside = file.with_name(f"{file.name}.{uuid.uuid4().hex[:8]}")
            with suppress(FileNotFoundError):
                file.rename(aside)
                if _read(aside) != holder:  # somebody else removed it and claimed the name before
                    aside.rename(file)
                else:
                    aside.unlink()
            continue
        try:
            os.write(handle, text)
        finally:
            os.close(handle)
        return


def _refusal(path: Path, holder: Holder | None) -> str:
    return f"{path} is being written by {holder or 'another process'}; wait for it, or choose another place"


def _read(file: Path) -> Holder | None:
    """Who holds an output; None if the file does not say."""
    for _ in range(5):  # whoever just made the file writes it now
        with suppress(OSError, ValueError, TypeError):
            return Holder(**json.loads(file.read_bytes()))
        time.sleep(0.02)
    return None


def _is_left_unwritten(file: Path) -> bool:
    try:
        return time.time() - file.stat().st_mtime > _UNWRITTEN
    except FileNotFoundError:
        return True


def _born(process: int) -> str:
    """When a process of this machine was started, as the system counts; empty where it does not say."""
    with suppress(OSError, IndexError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    return ""


def _lives(process: int, born: str) -> bool:
    """Whether a process of this machine is there, and is the one that was started then."""
    if sys.platform == "win32":
        return True  # nothing in Python's library tells
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return not born or _born(process) == born
