"""Processes that are killed at random moments, and at every change of a file."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from drawn.faults import KILL, NO_SPACE, Outcome, at_every_call

from campaign.commands import Command, commands, holds, measured
from campaign.commands import fit as fit_command
from campaign.trials import BLOCKED, HALF, TRACE, WRONG, Trial
from campaign.workplace import TIMEOUT, Ran, Workplace, in_child, scores

FRESH = 7
"""One in so many kills is of a process that has to import all modules; prime to the number of commands."""

IMPORTING = 5.0
"""Seconds that this takes, about."""


def kill_fits(place: Workplace, rng: np.random.Generator, count: int) -> Iterator[Trial]:
    """A killed fit leaves a whole bundle or none, and its next run has the figures of one that was left alone."""
    kinds = [fit_command(place, kind) for kind in ("heads", "heads", "heads", "networks")]
    for number in range(count):
        command = kinds[number % len(kinds)]
        alone = measured(place, command)
        folder = place.fresh("killed")
        cached = replace(command, arguments=(*command.arguments, "--cache", folder / "cache"))
        half, delay = kill(place, cached, folder, alone.seconds, number, rng)
        bundle = folder / command.output
        is_saved = bundle.exists()  # the report was killed
        ran = place.run(*(("report", bundle) if is_saved else cached.call_again(folder)))
        yield judged(
            f"{command.arguments[-1]} after {delay:.2f} s",
            cached,
            folder,
            ran,
            half,
            alone.scores,
        )


def kill_commands(place: Workplace, rng: np.random.Generator, count: int) -> Iterator[Trial]:
    """A killed command leaves a whole output or none, and runs again."""
    known = commands(place)
    for number in range(count):
        command = known[number % len(known)]
        seconds = measured(place, command).seconds
        folder = place.fresh("killed")
        half, delay = kill(place, command, folder, seconds, number, rng)
        ran = place.run(*command.call_again(folder))
        yield judged(f"{command.name} after {delay:.2f} s", command, folder, ran, half)


def kill(
    place: Workplace, command: Command, folder: Path, seconds: float, number: int, rng: np.random.Generator
) -> tuple[str, float]:
    """Start a command and kill it.

    Args:
        place: Where.
        command: What to kill.
        folder: Where it writes.
        seconds: How long it takes if nobody disturbs it.
        number: Of the trial; one in `FRESH` is killed while modules load, or later.
        rng: Chooses when.

    Returns:
        Why its output is not whole, and after how many seconds it was killed.
    """
    is_fresh = number % FRESH == 0
    delay = float(rng.uniform(0.0, seconds + (IMPORTING if is_fresh else 0.0)))
    process = place.start(*command.call(folder), is_fresh=is_fresh)
    time.sleep(delay)
    process.kill()
    process.finish()
    return broken_output(command, folder), delay


def broken_output(command: Command, folder: Path) -> str:
    """Why an output that is there is not whole."""
    output = folder / command.output
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return ""
    try:
        command.check(output)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def judged(what: str, command: Command, folder: Path, ran: Ran, half: str, expected: Any = None) -> Trial:
    """A trial from what a kill left and how the next run ended."""
    broken = (HALF,) if half else ()
    if ran.code != 0:
        broken += (BLOCKED,)
    if not ran.is_clean:
        broken += (TRACE,)
    if ran.code == 0:
        half = half or broken_output(command, folder)
        broken = broken or ((HALF,) if half else ())
        if expected is not None and not half and scores(folder / command.output) != expected:
            broken += (WRONG,)
    return Trial(what, broken, f"{half} {ran.said}" if broken else "")


def every_call(place: Workplace, _rng: np.random.Generator, count: int) -> Iterator[Trial]:
    """Kill or full disk at every change of a file: old or new stands whole, and the next write succeeds."""
    tried = 0
    for name, command, write in writers(place):
        old = place.fresh("old")
        write(old)  # in this process, so that no child has to import what it needs
        folder = place.root / "every call"

        def prepare(old: Path = old, folder: Path = folder) -> None:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(old, folder)

        for fault in (KILL, NO_SPACE):
            for outcome in at_every_call(partial(_in_time, write, folder), folder, fault, prepare):
                yield _judge_call(
                    f"{name}, {fault} at call {outcome.at}",
                    command,
                    write,
                    folder,
                    outcome,
                )
                tried += 1
                if tried == count:
                    return


def _in_time(write: Callable[[Path], object], folder: Path) -> None:
    signal.alarm(TIMEOUT)
    write(folder)


def _judge_call(
    what: str,
    command: Command,
    write: Callable[[Path], object],
    folder: Path,
    outcome: Outcome,
) -> Trial:
    half = broken_output(command, folder)
    missing = not (folder / command.output).exists()  # an older one was there before
    _, error = in_child(lambda: write(folder))
    # A folder without its lock may be of a process that begins just now; it goes after a minute.
    left = [path.name for path in folder.iterdir() if path.name != command.output and not is_young(path)]
    broken = (HALF,) if half or missing or left else ()
    broken += (BLOCKED,) if error else ()
    last = outcome.error.strip().rpartition("\n")[2]
    broken += (
        (TRACE,) if outcome.status == "raised" and not last.startswith("ensemble_minerals.errors.") else ()
    )
    return Trial(
        what,
        broken,
        f"{half} missing: {missing} left: {left} {last} {error}" if broken else "",
    )


def is_young(path: Path) -> bool:
    """Whether it is a work folder that has no lock yet."""
    return path.name.endswith(".unfinished") and not (path / "lock").exists()


def writers(
    place: Workplace,
) -> Iterator[tuple[str, Command, Callable[[Path], object]]]:
    """One write of each kind of output, in this process; each replaces what stands in the folder."""
    from ensemble_minerals.config.loading import load_config
    from ensemble_minerals.workflows import explain, fit, inspect, predict, report

    config = load_config(str(place.root / "heads.yaml"))
    known = {command.name: command for command in commands(place, networks=False)}
    cache = place.root / "cache"

    def answer(folder: Path) -> None:
        predict.predict(
            place.bundle,
            [place.new],
            out=folder / "a.csv",
            overwrite=True,
            n_jobs=1,
            cache_dir=cache,
        )

    def look(folder: Path) -> None:
        inspect.inspect_data(place.photos, config, cache_dir=cache).write(folder / "look")

    def train(folder: Path) -> None:
        fit.fit(
            place.photos,
            folder / "bundle",
            config,
            n_jobs=1,
            cache_dir=cache,
            overwrite=True,
        )

    def write_report(folder: Path) -> None:
        report.write_report(place.bundle, out=folder / "report", heatmaps=False, n_jobs=1)

    def show(folder: Path) -> None:
        explain.explain(
            place.bundle,
            [place.new],
            folder / "why",
            overwrite=True,
            n_jobs=1,
            cache_dir=cache,
        )

    yield "table", known["predict"], answer
    yield "inspection", known["inspect"], look
    yield "bundle", fit_command(place, "heads"), train
    yield "explanation", Command("explain", (), "why", holds("explain.json")), show
    yield "report", known["report"], write_report
