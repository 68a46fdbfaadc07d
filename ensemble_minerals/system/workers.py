"""Worker processes end with the process that started them, even if that is killed."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time

_INTERVAL = 0.5  # seconds between two looks at the parent

_watching: set[int] = set()
"""Numbers of the processes that watch; a process that is forked from one does not."""


def end_with_parent() -> None:
    """Let this worker process end soon after its parent process has; in a process that is no worker do nothing.

    A worker that waits for work, or is in the middle of it, does not notice otherwise that nobody wants its results.
    As soon as all workers have ended, the trackers of `multiprocessing` remove the shared memory.
    """
    parent = multiprocessing.parent_process()
    if parent is None or parent.pid is None or os.getpid() in _watching:
        return
    _watching.add(os.getpid())
    threading.Thread(target=_watch, args=(parent.pid,), name="parent-watch", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_INTERVAL)
    os._exit(1)  # nothing is left to be tidied up for
