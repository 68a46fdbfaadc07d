"""Shared by the benchmarks: runs in turns, in one process or in fresh ones, and a table of medians."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Json = dict[str, Any]


def seconds(work: Callable[[], object]) -> float:
    """Time of one run."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def alternate(works: dict[str, Callable[[], object]], runs: int) -> dict[str, list[float]]:
    """Times of several works, run in turns, so that a busy machine slows all of them alike."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for number in range(runs):
        for name, work in works.items():
            times[name].append(seconds(work))
            note(f"run {number + 1} of {runs}, {name}: {times[name][-1]:.2f} s")
    return times


def fresh(script: str, *arguments: object, python: str = sys.executable, **environment: str) -> Json:
    """Run a script in an interpreter of its own; it prints one line of JSON last.

    Returns:
        What it printed, with `process_seconds` from start to end of the process added.
    """
    taken, printed = _run([python, "-c", script, *arguments], environment)
    printed_values: Json = json.loads(printed.strip().splitlines()[-1])
    return printed_values | {"process_seconds": taken}


def command(arguments: Sequence[object], **environment: str) -> float:
    """Seconds from start to end of a command; its output is discarded."""
    return _run(arguments, environment)[0]


def ratio(slow: Sequence[float], quick: Sequence[float]) -> float:
    """Median over the runs of one time over the other of the same run."""
    return statistics.median(s / q for s, q in zip(slow, quick, strict=True))


def spread(values: Sequence[float], digits: int = 2, unit: str = " s") -> str:
    """Median, and the range in brackets."""
    shown = f"{statistics.median(values):.{digits}f}{unit}"
    if len(values) > 1:
        shown += f" ({min(values):.{digits}f} to {max(values):.{digits}f}, {len(values)} runs)"
    return shown


def table(title: str, rows: Sequence[tuple[str, str]]) -> None:
    """Print figures as Markdown."""
    print(f"| {title} | measured |\n|---|---|")
    for name, value in rows:
        print(f"| {name} | {value} |")


def note(text: str) -> None:
    """Print progress on standard error."""
    print(f"... {text}", file=sys.stderr, flush=True)


def photos_of(data: Path, limit: int | None = None) -> list[Path]:
    """Files of a folder of class folders, or `limit` of them, spread evenly."""
    files = sorted(path for path in data.rglob("*") if path.is_file() and not path.name.startswith("."))
    if limit is None or limit >= len(files):
        return files
    return [files[position * len(files) // limit] for position in range(limit)]


def _environment() -> dict[str, str]:
    """Ours, with byte code allowed: an installed program has it, and so has every library it is compared with."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _run(arguments: Sequence[object], environment: dict[str, str]) -> tuple[float, str]:
    """Seconds from start to end of a command, and what it printed; a command that fails ends the benchmark."""
    started = time.perf_counter()
    done = subprocess.run(
        [str(argument) for argument in arguments],
        capture_output=True,
        text=True,
        check=False,
        env=_environment() | environment,
    )
    taken = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"a run of the benchmark failed: {' '.join(map(str, arguments))}\n{done.stderr}")
    return taken, done.stdout
