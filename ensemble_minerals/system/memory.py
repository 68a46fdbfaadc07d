"""The memory of the machine."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def total_memory() -> float:
    """Bytes of memory that this process can have: of the machine or its cgroup; infinite where neither is known."""
    known = [float("inf")]
    with suppress(AttributeError, OSError, ValueError):  # Windows has no sysconf
        known.append(float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")))
    for limit in (_CGROUP / "memory.max", _CGROUP / "memory" / "memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # "max" where there is no limit
            known.append(float(limit.read_text()))
    return min(known)
