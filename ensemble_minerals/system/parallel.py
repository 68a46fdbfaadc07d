"""Parallel tasks, on the cores of this machine or on the workers of a cluster.

`run_unordered` keeps tasks from starting parallel tasks of their own.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Generator, Iterable, Sequence
from threading import Lock
from typing import Any

from joblib import Parallel, delayed, parallel_config
from threadpoolctl import OpenBLASController, threadpool_limits

from ensemble_minerals.system.cluster import Cluster, DelayedCall
from ensemble_minerals.system.workers import end_with_parent

_WORKER = "LokyProcess"  # how joblib names its worker processes


def run_unordered(
    calls: Iterable[DelayedCall],
    *,
    n_jobs: int,
    shared: Sequence[Any] = (),
    threads: bool = False,
    cluster: Cluster | None = None,
) -> Generator[Any, None, None]:
    """Run calls in parallel, and yield their results in the order in which they finish.

    Args:
        calls: The calls, made by `joblib.delayed`; on this machine each is made when it is about to run.
        n_jobs: Number of calls that run at the same time on this machine; a cluster uses all its cores.
        shared: Arrays, and objects made of arrays, among the positional arguments. A cluster gets each once. They are
            not recognized inside a list that is an argument.
        threads: Whether to use threads on this machine instead of processes.
        cluster: Where the calls run; on this machine if None. The calls of workers that die run again on others.

    Yields:
        The result of each call.

    Raises:
        FitError: If workers of a cluster keep dying.

    Example:
        >>> sorted(run_unordered([delayed(pow)(n, 2) for n in range(4)], n_jobs=2, threads=True))
        [0, 1, 4, 9]
    """
    if cluster is not None and cluster.workers is not None:
        yield from cluster.workers.run(calls, shared)
        return
    run = Parallel(n_jobs=n_jobs, prefer="threads" if threads else None, return_as="generator_unordered")
    yield from run(delayed(_in_turn)(function, *arguments, **named) for function, arguments, named in calls)


def _in_turn(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Run a call without parallel tasks inside it."""
    end_worker_with_parent()
    with parallel_config(backend="sequential"):
        return function(*arguments, **named)


def end_worker_with_parent() -> None:
    """Let a worker of joblib on this machine end with its parent process; in any other process do nothing."""
    if multiprocessing.current_process().name.startswith(_WORKER):
        end_with_parent()


class _SingleThread:
    """Keeps BLAS and OpenMP to one thread in this process while at least one task has entered it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._users = 0
        self._limits: threadpool_limits | None = None

    def __enter__(self) -> None:
        with self._lock:
            if self._users == 0:
                _let_any_thread_set_limits()
                self._limits = threadpool_limits(1)
            self._users += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0 and self._limits is not None:
                _let_any_thread_set_limits()
                self._limits.restore_original_limits()
                _let_any_thread_set_limits()


def _let_any_thread_set_limits() -> None:
    """Free OpenBLAS from the thread that set its limits last: as long as that lives, threadpoolctl ignores others."""
    OpenBLASController.clear_controlling_thread(force=True)


single_thread = _SingleThread()
"""Keeps BLAS and OpenMP to one thread. Every parallel task enters it.

There are then no more threads than cores, and sums are computed in one order, however many tasks run. A worker does
not inherit the limit of its parent process, so each task has to set it. Tasks in one process share the limit: it ends
with the last of them.
"""
