"""Parallel tasks, on the cores of this machine or on the cluster that is open, see `cluster`.

`run_unordered` does more than `joblib.Parallel`: it sends large arrays to every worker once, keeps tasks from
starting parallel tasks of their own, and runs the tasks of workers that died again on others.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from threading import Lock
from typing import Any, TypeAlias

import joblib
from joblib import Parallel, delayed, parallel_config
from threadpoolctl import threadpool_limits

from ensemble_minerals.errors import FitError
from ensemble_minerals.system.cluster import sending_to
from ensemble_minerals.system.workers import end_with_parent

DelayedCall: TypeAlias = tuple[Callable[..., Any], Sequence[Any], Mapping[str, Any]]
"""A function, its arguments and its keyword arguments, as `joblib.delayed` returns them."""

_WORKER = "LokyProcess"  # how joblib names its worker processes
_ATTEMPTS = 5
"""So many times in a row, without any result in between, tasks are sent again after workers have died."""


@contextmanager
def on_this_machine() -> Iterator[None]:
    """Run joblib's tasks in threads of this machine until the block ends: for tasks too small for a cluster."""
    with parallel_config(backend="threading"):
        yield


def is_remote() -> bool:
    """Whether joblib's tasks go to a cluster."""
    backend, _ = joblib.parallel.get_active_backend()
    return type(backend).__module__ != "joblib._parallel_backends"


def run_unordered(
    calls: Sequence[DelayedCall], *, n_jobs: int, shared: Sequence[Any] = (), threads: bool = False
) -> Generator[Any, None, None]:
    """Run calls in parallel, and yield their results in the order in which they finish.

    Args:
        calls: The calls, made by `joblib.delayed`.
        n_jobs: Number of calls that run at the same time; a Dask cluster uses all its cores.
        shared: Arrays, and objects made of arrays, among the arguments. Every worker of a cluster gets each once. If
            a worker dies with the last copy of one, the remaining calls are sent again together with all. They are
            recognized as arguments, but not inside a list that is an argument.
        threads: Whether to use threads on this machine instead of processes.

    Yields:
        The result of each call.

    Raises:
        FitError: If workers keep dying.

    Example:
        >>> sorted(run_unordered([delayed(pow)(n, 2) for n in range(4)], n_jobs=2, threads=True))
        [0, 1, 4, 9]
    """
    left = dict(enumerate(calls))
    attempts = 0
    while attempts < _ATTEMPTS:
        attempts += 1
        with _scattered(shared):
            run = Parallel(
                n_jobs=n_jobs, prefer="threads" if threads else None, return_as="generator_unordered"
            )
        numbered = (
            delayed(_numbered)(number, function, *arguments, **named)
            for number, (function, arguments, named) in [*left.items()]
        )
        try:
            for number, result in run(numbered):
                del left[number]
                attempts = 0
                yield result
            return
        except _lost_worker_errors():
            continue
        except _killed_worker_errors() as error:
            raise FitError(
                f"several workers died one after the other of the same task ({error}); is their memory too small?\n"
                "What was finished is kept: go on with --resume when they have more."
            ) from error
    raise FitError(
        f"workers of the cluster died {_ATTEMPTS} times before any of them had finished a task.\n"
        "What was finished is kept: go on with --resume when the cluster is well again."
    )


def _numbered(number: int, function: Callable[..., Any], *arguments: Any, **named: Any) -> tuple[int, Any]:
    """Run a call without parallel tasks inside it, which would go to the cluster again."""
    end_worker_with_parent()
    with parallel_config(backend="sequential"):
        return number, function(*arguments, **named)


def end_worker_with_parent() -> None:
    """Let a worker of joblib on this machine end with its parent process; in any other process do nothing."""
    if multiprocessing.current_process().name.startswith(_WORKER):
        end_with_parent()


@contextmanager
def _scattered(arrays: Sequence[Any]) -> Iterator[None]:
    """Send arrays to every worker of an active Dask cluster; else all workers would fetch them from the first one."""
    backend, _ = joblib.parallel.get_active_backend()
    client = getattr(backend, "client", None)
    if client is None or not arrays:
        yield
        return
    with sending_to(client, arrays):
        yield


def _lost_worker_errors() -> tuple[type[BaseException], ...]:
    """Errors that say that arrays or tasks were lost together with a worker."""
    ray = sys.modules.get("ray")
    return (CancelledError,) if ray is None else (CancelledError, ray.exceptions.RayActorError)


def _killed_worker_errors() -> tuple[type[BaseException], ...]:
    """Errors that say that the scheduler gave up a task, because it killed several workers."""
    distributed = sys.modules.get("distributed")
    return () if distributed is None else (distributed.KilledWorker,)


class _SingleThread:
    """Keeps BLAS and OpenMP to one thread in this process while at least one task has entered it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._users = 0
        self._limits: threadpool_limits | None = None

    def __enter__(self) -> None:
        with self._lock:
            if self._users == 0:
                self._limits = threadpool_limits(1)
            self._users += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0 and self._limits is not None:
                self._limits.restore_original_limits()


single_thread = _SingleThread()
"""Keeps BLAS and OpenMP to one thread. Every parallel task enters it.

There are then no more threads than cores, and sums are computed in one order, however many tasks run. A worker does
not inherit the limit of its parent process, so each task has to set it. Tasks in one process share the limit: it ends
with the last of them.
"""
