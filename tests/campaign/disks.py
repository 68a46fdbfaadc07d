"""Disks that are full or may not be written to, for every command."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from campaign.commands import commands, fit, measured
from campaign.kills import broken_output
from campaign.trials import BLOCKED, HALF, TRACE, WRONG, Trial
from campaign.workplace import Workplace

SHARES = (0.0, 0.02, 0.2, 0.4, 0.6, 0.8)
"""Of the room that an output needs."""


def full_disk(place: Workplace, rng: np.random.Generator, count: int) -> Iterator[Trial]:
    """An output that has no room ends with exit code 1, a sentence that names it, and nothing half.

    The room is that of a small tmpfs for root, and the largest size of a file for others.
    """
    known = [*commands(place), fit(place, "heads")]
    for number in range(count):
        command = known[number % len(known)]
        sizes = measured(place, command).sizes
        share = SHARES[number // len(known) % len(SHARES)] * rng.uniform(0.8, 1.2)
        room = max(4096, int((sum(sizes) if os.geteuid() == 0 else max(sizes)) * share))
        folder = place.fresh("full")
        with small_disk(folder, room) as options:
            ran = place.run(*command.call(folder), **options)
            half = broken_output(command, folder)
            is_there = (folder / command.output).exists()
            left = [
                path.name
                for path in folder.iterdir()
                if not path.name.endswith((".checkpoint", command.output))
            ]
        broken = (HALF,) if half or left else ()
        broken += () if ran.is_clean else (TRACE,)
        if ran.code == 0:
            broken += () if is_there else (WRONG,)
        elif ran.code != 1 or str(folder) not in ran.said:
            broken += (WRONG,)
        said = f"exit {ran.code} {half} left: {left} {ran.said}"
        yield Trial(f"{command.name} with {room:,} bytes", broken, said if broken else "")


def no_permission(place: Workplace, _rng: np.random.Generator, count: int) -> Iterator[Trial]:
    """A place that may not be written to ends with exit code 2 at once, and a cache there costs time only."""
    known = [*commands(place), fit(place, "heads")]
    for number in range(count):
        command = known[number % len(known)]
        folder = place.fresh("forbidden")
        with forbidden(folder):
            if number < len(known):
                what = "--out"
                ran = place.run(*command.call(folder))
                broken = () if ran.code == 2 and str(folder) in ran.said else (WRONG,)
            else:
                what = "the user's cache"
                free = place.fresh("free")
                user = {"ENSEMBLE_MINERALS_CACHE": "", "XDG_CACHE_HOME": str(folder)}
                ran = place.run(*command.call(free), environment=user)
                broken = () if ran.code == 0 else (BLOCKED,)
        broken += () if ran.is_clean else (TRACE,)
        said = f"exit {ran.code} {ran.said}"
        yield Trial(f"{command.name}, {what}", broken, said if broken else "")


def full_cache(place: Workplace, _rng: np.random.Generator, count: int) -> Iterator[Trial]:
    """A cache on a full disk costs time, never the fit."""
    for number in range(count):
        free, folder = place.fresh("free"), place.fresh("full")
        with small_disk(folder, 4096 * (1 + 10 * number)) as options:
            ran = place.run(*fit(place, "heads").call(free), "--cache", folder, **options)
        broken = () if ran.code == 0 else (BLOCKED,)
        broken += () if ran.is_clean else (TRACE,)
        yield Trial(f"cache of {4 + 40 * number} kB", broken, ran.said if broken else "")


@contextmanager
def small_disk(folder: Path, room: int) -> Iterator[dict[str, object]]:
    """Give a folder little room; yields options for the process that writes to it."""
    if os.geteuid() == 0 and _mount("-t", "tmpfs", "-o", f"size={room}", "tmpfs", str(folder)):
        try:
            yield {}
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
    else:
        yield {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))}


@contextmanager
def forbidden(folder: Path) -> Iterator[None]:
    """Forbid to write into a folder: root by a mount that is read-only, others by permissions."""
    if os.geteuid() == 0 and _mount("-t", "tmpfs", "-o", "ro", "tmpfs", str(folder)):
        try:
            yield
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
    else:
        folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
        try:
            yield
        finally:
            folder.chmod(stat.S_IRWXU)


def _mount(*arguments: str) -> bool:
    return subprocess.run(["mount", *arguments], check=False, capture_output=True).returncode == 0
