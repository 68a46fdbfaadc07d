"""The processor: how many cores this process may use, and what they are good at."""

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
_NVIDIA = Path("/dev/nvidiactl")

_SWITCH_INTERVAL = 2e-4
"""Switch interval of `short_switch_interval`, in seconds."""

_T = TypeVar("_T")


def cores() -> int:
    """Number of cores that this process may use: the affinity and the cgroup quota count, not the machine.

    More threads than that wait for each other at barriers, which can make them a hundred times slower.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, min(count, _quota(), *_limit))


def count_jobs(n_jobs: int) -> int:
    """Number of concurrent tasks or threads; -1 means one for each core.

    Raises:
        UserError: If `n_jobs` is 0 or below -1.

    Example:
        >>> count_jobs(3)
        3
    """
    if n_jobs == 0 or n_jobs < -1:
        raise UserError(f"n_jobs={n_jobs}: give the number of tasks at once, or -1 for all processors")
    return cores() if n_jobs == -1 else n_jobs


def short_switch_interval() -> AbstractContextManager[None]:
    """Let Python switch threads often, for threads that leave the interpreter for a short time only.

    A thread that returns from a product of small matrices waits until another thread gives up the interpreter, or
    for Python's switch interval of 5 ms. That is as long as ten such products.
    """
    return _interval.held(_SWITCH_INTERVAL)


class ProcessSetting(Generic[_T]):
    """A setting of the whole process that several threads change for a while and then restore.

    Threads may hold values at the same time, and let go of them in any order. A thread that lets go of a value
    restores the value that it held before. If it held none, it restores the original value: the one before the
    first thread came. It does so if it is the last thread, or if each thread has a value of its own.

    Args:
        read: Gives the current value.
        write: Sets a value.
        per_thread: Whether each thread has a value of its own.
    """

    def __init__(
        self, read: Callable[[], _T], write: Callable[[_T], object], *, per_thread: bool = False
    ) -> None:
        self._read, self._write, self._per_thread = read, write, per_thread
        self._lock, self._n_held = Lock(), 0
        self._thread = local()

    @contextmanager
    def held(self, value: _T) -> Iterator[None]:
        """Set a value until the block ends."""
        around: list[_T] = self._thread.__dict__.setdefault("values", [])
        with self._lock:
            # Every thread reads: in PyTorch a thread that never did would take over the process's value later.
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
                elif self._per_thread or not self._n_held:
                    self._write(self._before)


_interval = ProcessSetting(sys.getswitchinterval, sys.setswitchinterval)


def limit_cores(count: int) -> None:
    """Let this process use no more cores than `count`: a cluster runs several workers on one machine."""
    _limit[:] = [count]


_limit: list[int] = []
"""Number of cores that a cluster gave this worker; empty without a cluster."""


def _quota() -> int:
    """Whole cores that the cgroup (version 2, then 1) grants; a large number where there is no limit.

    joblib's `cpu_count` reads the same, but importing joblib takes 76 ms, 7 % of `predict` of one photo.
    """
    unlimited = 1 << 16
    try:
        quota, period = (_CGROUP / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (_CGROUP / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (_CGROUP / "cpu" / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return unlimited
    if quota == "max" or int(quota) <= 0:
        return unlimited
    return math.ceil(int(quota) / int(period))


@cache
def instruction_sets() -> frozenset[str]:
    """Instruction sets of the processor, in lower case; empty where the system does not tell (only Linux does)."""
    return frozenset(_cpuinfo("flags", "Features").split())


@cache
def _model() -> str:
    """What the processor is called; empty where the system does not tell."""
    return _cpuinfo("model name")


def _cpuinfo(*names: str) -> str:
    """The first value under one of these names that the system tells of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith(names)), "").partition(":")[2].strip()


def has_fast_bfloat16() -> bool:
    """Whether PyTorch may be quick at bfloat16: with matrix units (AMX).

    With AVX-512 BF16 alone it depends on the processor. OpenVINO took 0.6 of the time of float32 for three
    EfficientNet-Lites on an EPYC, and 1.5 of it on a Xeon, which is why `features.engine_choice` measures.
    """
    return "amx_bf16" in instruction_sets()


def has_accelerator() -> bool:
    """Whether PyTorch may find a graphics card, or Apple's own processor."""
    return _NVIDIA.exists() or sys.platform == "darwin"


def hardware_digest() -> str:
    """Digest of the hardware that decides which engine is chosen, 16 hexadecimal digits."""
    accelerators = [_NVIDIA.exists(), os.environ.get("CUDA_VISIBLE_DEVICES")]
    known = repr((platform.system(), platform.machine(), _model(), sorted(instruction_sets()), accelerators))
    return blake2b(known.encode(), digest_size=8).hexdigest()
