"""Parallel tasks on this machine: results as they come, one thread a task."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Event

import numpy as np
import pytest
from cluster_tasks import double, nested, threads_of
from joblib import delayed
from threadpoolctl import threadpool_limits

from ensemble_minerals.system.parallel import run_unordered, single_thread


def run(calls):
    with closing(run_unordered(calls, n_jobs=2, threads=True)) as results:
        return sorted(results)


def test_results_come_as_they_are_ready():
    assert run([delayed(double)(n) for n in range(5)]) == [0, 2, 4, 6, 8]


def test_what_a_task_runs_in_parallel_runs_in_turn():
    ((task, inner),) = run([delayed(nested)(0)])
    assert inner == [task] * 3


def test_one_thread_is_given_back_when_the_last_task_is_done():
    before = threads_of("blas")
    with single_thread:
        with single_thread:
            assert set(threads_of("blas")) == {1}
        assert set(threads_of("blas")) == {1}  # the inner one has not given them back
    assert threads_of("blas") == before


def test_one_thread_is_kept_to_whichever_thread_asks_first_and_last():
    entered, leave = Event(), Event()
    with threadpool_limits(2), ThreadPoolExecutor(1) as pool:  # of this thread, which goes on
        first = pool.submit(_hold, entered, leave)
        entered.wait()
        with single_thread:
            leave.set()
            assert set(first.result()) == {1}
        assert set(threads_of("blas")) == {2}


def _hold(entered, leave):
    with single_thread:
        entered.set()
        leave.wait()
        return threads_of("blas")


def test_errors_of_tasks_are_their_own():
    with pytest.raises(IndexError):
        run([delayed(double)(9, np.zeros(3))])
