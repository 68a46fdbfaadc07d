"""Locks on open files, which end with the process that holds them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

if sys.platform != "win32":
    import fcntl


def try_lock(handle: int) -> bool | None:
    """Lock an open file without waiting; False if another holds it, None where files cannot be locked."""
    if sys.platform == "win32":
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def is_still(handle: int, path: Path) -> bool:
    """Whether an open file is the one at a path: another process could have removed or replaced it."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
