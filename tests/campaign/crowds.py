"""Many processes at once: on one cache, into one output, and on a cluster whose workers are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np

from campaign.commands import fit, measured
from campaign.kills import broken_output
from campaign.trials import BLOCKED, HALF, TRACE, WRONG, Trial
from campaign.workplace import Ran, Workplace, scores

KILLS = 12
"""Workers that are killed in one fit; it could never end on a busy machine if none lived until it had begun."""


def one_cache(place: Workplace, _rng: np.random.Generator, count: int) -> Iterator[Trial]:
    """Fits that fill one new cache at once all have the figures of one that is alone."""
    command = fit(place, "backbone")
    expected = measured(place, command).scores
    folder = place.fresh("crowd")
    folders = [folder / str(number) for number in range(count)]
    for one in folders:
        one.mkdir()
    running = [place.start(*command.call(one), "--no-report", "--cache", folder / "cache") for one in folders]
    try:
        for one, process in zip(folders, running, strict=True):
            ran = process.finish()
            broken = _of_fit(ran)
            if not broken and scores(one / command.output) != expected:
                broken = (WRONG,)
            yield Trial(f"process {one.name}", broken, ran.said if broken else "")
    finally:
        for process in running:
            process.kill()


def one_output(place: Workplace, rng: np.random.Generator, count: int) -> Iterator[Trial]:
    """Of two fits into one output, the second is told who is at work; the bundle is that of one of them."""
    command = fit(place, "heads")
    expected = measured(place, command).scores
    for number in range(count):
        folder = place.fresh("pair")
        first = place.start(*command.call(folder), "--no-report")
        with suppress(subprocess.TimeoutExpired):
            first.process.wait(float(rng.uniform(0, 1)))
        second = place.start(*command.call(folder), "--no-report")
        ends = [first.finish(), second.finish()]
        half = broken_output(command, folder)
        broken = (HALF,) if half else ()
        broken += () if all(ran.is_clean for ran in ends) else (TRACE,)
        if sorted(ran.code for ran in ends) != [0, 2]:
            broken += (BLOCKED,)
        elif not half and scores(folder / command.output) != expected:
            broken += (WRONG,)
        said = "; ".join(f"exit {ran.code} {ran.said}" for ran in ends)
        yield Trial(f"pair {number}", broken, f"{half} {said}" if broken else "")


def dying_workers(place: Workplace, rng: np.random.Generator, count: int) -> Iterator[Trial]:
    """A fit on a Dask cluster whose workers are killed every few seconds has the figures of one on this machine.

    It may end because they die too fast; then it says so, and ``--resume`` finishes it.
    """
    command = fit(place, "heads")
    expected = measured(place, command).scores
    seconds = measured(place, command).seconds
    for number in range(count):
        folder = place.fresh("cluster")
        with mortal_cluster(rng, seconds) as address:
            ran = place.run(
                *command.call(folder),
                "--no-report",
                "--no-cache",
                "--backend",
                "dask",
                "--scheduler",
                address,
            )
        if ran.code == 1 and "go on with --resume" in ran.said:
            ran = place.run(*command.call(folder), "--no-report", "--no-cache", "--resume")
        broken = _of_fit(ran)
        if not broken and scores(folder / command.output) != expected:
            broken = (WRONG,)
        yield Trial(f"cluster {number}", broken, ran.said if broken else "")


def _of_fit(ran: Ran) -> tuple[str, ...]:
    return (() if ran.is_clean else (TRACE,)) + (() if ran.code == 0 else (BLOCKED,))


@contextmanager
def mortal_cluster(rng: np.random.Generator, seconds: float) -> Iterator[str]:
    """Address of a Dask scheduler one of whose two workers is killed every few seconds.

    Args:
        rng: Chooses when, and which.
        seconds: Of a fit here. A machine that is slow at that is slow at starting workers, and Dask gives up a task
            that was with four workers that died.
    """
    code = (
        "import distributed, sys\n"
        "if __name__ == '__main__':\n"
        "    made = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=':0')\n"
        "    print(made.scheduler_address, *(w.pid for w in made.workers.values()), flush=True)\n"
        "    for line in sys.stdin:\n"
        "        print(*(w.pid for w in made.workers.values()), flush=True)\n"
    )
    cluster = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert cluster.stdin is not None
    assert cluster.stdout is not None
    address, *_ = cluster.stdout.readline().split()
    over = threading.Event()

    def kill() -> None:
        for _ in range(KILLS):
            if over.wait(float(rng.uniform(0.4, 0.9)) * max(8, seconds)):
                return
            cluster.stdin.write("who\n")
            workers = cluster.stdout.readline().split()
            with suppress(ProcessLookupError, ValueError):  # the next one has not begun
                os.kill(int(workers[int(rng.integers(len(workers)))]), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield address
    finally:
        over.set()
        killer.join()
        cluster.stdin.close()
        cluster.wait(60)
