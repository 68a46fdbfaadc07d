"""A child process in which the n-th change of files fails, or is where it is killed.

Changes below one folder are counted as Python makes them: names that are made, renamed and removed, files that are
opened for writing, every write, permissions, and bringing to the disk. What libraries in C or Rust write by
themselves is not counted.
"""

from __future__ import annotations

import _pyio
import builtins
import errno
import io
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

KILL = "KILL"
NO_SPACE, NO_PERMISSION, READ_ONLY = errno.ENOSPC, errno.EACCES, errno.EROFS

_PATHS = {
    "os.mkdir": 2, "os.remove": 1, "os.rmdir": 1, "os.chmod": 2, "os.rename": 2, "os.link": 2, "os.symlink": 2,
    "os.truncate": None,
}  # fmt: skip
"""Python's audit events that change files, and which argument is the descriptor of the folder of the path."""

_EXCHANGES = ("renameat2", "renamex_np")
_MET = b"met"
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@dataclass(frozen=True)
class Outcome:
    """What became of a child process.

    Attributes:
        at: The call that had the fault, counted from 1.
        status: ``done``, ``killed`` or ``raised``.
        met: Whether it came to that call; one that met its fault and is ``done`` got over it.
        error: Traceback of what it raised.
    """

    at: int
    status: str
    met: bool
    error: str = ""


def at_every_call(
    action: Callable[[], object], folder: Path, fault: str | int, prepare: Callable[[], object] = lambda: None
) -> Iterator[Outcome]:
    """Run an action again and again, each time with a fault one call later, until one run meets none.

    Args:
        action: Runs in a child process.
        folder: Calls that change what is in it are counted.
        fault: `KILL`, or the number of an error.
        prepare: Runs here before each child.

    Yields:
        The outcome of each child; look at the folder before you ask for the next.
    """
    for at in count(1):
        prepare()
        outcome = with_fault(action, folder, at, fault)
        yield outcome
        if not outcome.met:
            return


def with_fault(action: Callable[[], object], folder: Path, at: int, fault: str | int) -> Outcome:
    """Run an action in a child process, with a fault at the `at`-th call that changes what is in `folder`."""
    said, says = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, which the child does not use
        child = os.fork()
    if not child:
        code = 1
        try:
            os.close(said)
            _inject(folder.resolve(), at, fault, met=lambda: os.write(says, _MET))
            action()
            code = 0
        except BaseException:
            os.write(says, traceback.format_exc().encode(errors="replace")[-60_000:])
        finally:
            os._exit(code)
    os.close(says)
    with os.fdopen(said, "rb") as pipe:
        text = pipe.read()
    _, ended = os.waitpid(child, 0)
    if os.WIFSIGNALED(ended):
        status = "killed" if os.WTERMSIG(ended) == signal.SIGKILL else f"signal {os.WTERMSIG(ended)}"
    else:
        status = "raised" if os.WEXITSTATUS(ended) else "done"
    return Outcome(at, status, text.startswith(_MET), text.removeprefix(_MET).decode())


def _inject(folder: Path, at: int, fault: str | int, met: Callable[[], object]) -> None:
    """Let the `at`-th call of this process fail, for the rest of its life."""
    seen = 0

    def call() -> None:
        nonlocal seen
        seen += 1
        if seen != at:
            return
        met()
        if fault == KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(fault, os.strerror(int(fault)), "injected")

    def inside(path: Any, folder_descriptor: Any = -1) -> bool:
        if isinstance(path, int):
            return _place(path).is_relative_to(folder)
        relative = isinstance(folder_descriptor, int) and folder_descriptor >= 0
        above = _place(folder_descriptor) if relative else Path.cwd()
        return (above / os.fsdecode(path)).is_relative_to(folder)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _PATHS:
            position = _PATHS[event]
            removes = fault == NO_SPACE and event in ("os.remove", "os.rmdir", "os.chmod")
            if inside(arguments[0], -1 if position is None else arguments[position]) and not removes:
                call()
        elif event == "open" and arguments[2] & _WRITES and not isinstance(arguments[0], int):
            if inside(arguments[0]):
                call()
        elif event == "ctypes.dlsym" and arguments[1] in _EXCHANGES and fault == KILL:
            call()

    def counting(function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(descriptor: int, *arguments: Any) -> Any:
            if inside(descriptor):
                call()
            return function(descriptor, *arguments)

        return counted

    for name in ("fsync", "fdatasync", "write", "pwrite", "ftruncate"):
        if hasattr(os, name):
            setattr(os, name, counting(getattr(os, name)))
    # Python's own files in C do not call os.write; those written in Python do.
    builtins.open = io.open = _pyio.open  # type: ignore[assignment]
    sys.addaudithook(hook)


def _place(descriptor: int) -> Path:
    """Path of an open file."""
    if sys.platform == "darwin":
        import fcntl

        return Path(os.fsdecode(fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0")))
    return Path(f"/proc/self/fd/{descriptor}").readlink()
