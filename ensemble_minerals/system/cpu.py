"""The processor this program may use: how many cores, and what they are quick at."""

from __future__ import annotations

import math
import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from hashlib import blake2b
from pathlib import Path
from threading import Lock, local
from typing import Generic, TypeVar

from ensemble_minerals.errors import UserError

_CGROUP = Path("/sys/fs/cgroup")

_TURN = 2e-4
"""Seconds after which a thread that waits for the interpreter asks for it."""

_T = TypeVar("_T")


def cores() -> int:
    """Cores this process may really use: affinity and cgroup quota, not what the machine has.

    Threads beyond them wait for each other at barriers, up to a hundredfold slower.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, min(count, _quota(), *_share))


def count_jobs(n_jobs: int) -> int:
    """Concurrent tasks or threads that `n_jobs` asks for; -1 is one a core.

    Raises:
        UserError: If it is no number of tasks.
    """
    if n_jobs == 0 or n_jobs < -1:
        raise UserError(f"n_jobs={n_jobs}: give the number of tasks at once, or -1 for all processors")
    return cores() if n_jobs == -1 else n_jobs


def short_turns() -> AbstractContextManager[None]:
    """Let threads whose steps outside the interpreter are short wait less for their turn in it.

    A thread that comes back from a product of small matrices waits until another gives the interpreter up, or for
    Python's interval of 5 ms, which is as long as ten such products.
    """
    return _interval.held(_TURN)


class ProcessSetting(Generic[_T]):
    """Something of the whole process, or partly of its threads, that is set for a while.

    Threads may hold it at once, in any order. One that lets go writes what it held around that; else what stood
    before the first of them came, when it is the last, or where each thread has its own.

    Args:
        read: What stands now.
        write: Sets another value.
        of_threads: Whether what one thread sets may differ from what another sees.
    """

    def __init__(
        self, read: Callable[[], _T], write: Callable[[_T], object], *, of_threads: bool = False
    ) -> None:
        self._read, self._write, self._of_threads = read, write, of_threads
        self._lock, self._n_held = Lock(), 0
        self._thread = local()

    @contextmanager
    def held(self, value: _T) -> Iterator[None]:
        """Set it as long as this is entered."""
        around: list[_T] = self._thread.__dict__.setdefault("values", [])
        with self._lock:
            # Read by each thread: one that never asked PyTorch would take over the process's number later.
            before = self._read()
            if not self._n_held:
                self._before = before
            self._write(value)
            self._n_held += 1
        around.append(value)
        try:
            yield
        finally:
            around.pop()
            with self._lock:
                self._n_held -= 1
                if around:
                    self._write(around[-1])
                elif self._of_threads or not self._n_held:
                    self._write(self._before)


_interval = ProcessSetting(sys.getswitchinterval, sys.setswitchinterval)


def share(count: int) -> None:
    """Let this process use no more cores than these: a cluster runs several workers on one machine."""
    _share[:] = [count]


_share: list[int] = []
"""Cores that a cluster gave this worker; empty where there is no cluster."""


def _quota() -> int:
    """Whole cores that the cgroup (version 2, then 1) grants; many where there is no limit."""
    unlimited = 1 << 16
    try:
        given, period = (_CGROUP / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            given = (_CGROUP / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (_CGROUP / "cpu" / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return unlimited
    if given == "max" or int(given) <= 0:
        return unlimited
    return math.ceil(int(given) / int(period))


@cache
def flags() -> frozenset[str]:
    """Instruction sets of the processor, where the system tells (Linux); else empty."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    listed = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return frozenset(listed.partition(":")[2].split())


def quick_at_bfloat16() -> bool:
    """Whether bfloat16 is worth its rounding: matrix units (AMX).

    Measured without them, with AVX-512 BF16 alone, it was slower than float32 by half for EfficientNet-Lite0
    and by three quarters for ViT-S/14; with them it took half of float32's time.
    """
    return "amx_bf16" in flags()


def identity() -> str:
    """Digest of what decides the choice of an engine on this machine; 16 hexadecimal digits."""
    accelerators = [Path("/dev/nvidiactl").exists(), os.environ.get("CUDA_VISIBLE_DEVICES")]
    known = repr((platform.system(), platform.machine(), sorted(flags()), accelerators))
    return blake2b(known.encode(), digest_size=8).hexdigest()
