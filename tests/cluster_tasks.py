"""Tasks for `test_clusters`, in a module that a new worker imports in no time."""

from __future__ import annotations

import os
import signal
import time

import threadpoolctl
from joblib import Parallel, delayed

from ensemble_minerals.errors import UserError
from ensemble_minerals.system import cpu
from ensemble_minerals.system.parallel import single_thread


def double(number, array=None):
    return 2 * number + (0 if array is None else float(array[number]))


def slow_double(number, array):
    time.sleep(0.2)
    return 2 * number + float(array[number])


def threads_of(kind):
    return [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == kind]


def limited(number):
    with single_thread:
        return threads_of("blas")


def nested(number):
    return os.getpid(), Parallel(n_jobs=4)(delayed(os.getpid)() for _ in range(3))


def cores(number):
    return cpu.cores()


def fail(message):
    raise UserError(message)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(number, marker):
    if not marker.exists():
        marker.touch()
        die()
    return number
