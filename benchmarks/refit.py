"""A fit, and fitting again: with nothing changed, and with ten photos added, each in a process of its own.

Cold fits of all photos, each also against its stage of features (the backbones' preparation and passes, the
descriptor, the store); warm ones after the last; and, from a
second cache that has seen all photos but ten, fits of all. Seconds are those of the whole process, imports included.

    python benchmarks/refit.py DATA [--config default] [--runs 5] [--cold-runs 1] [--added 10]

`--warm-cache DIR` measures the warm fit alone, on a cache that a fit has filled.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import timing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--config", default="default")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--cold-runs", type=int, default=1)
    parser.add_argument("--added", type=int, default=10)
    parser.add_argument("--warm-cache", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if options.warm_cache is not None:
            warm = _fits(options.data, options.config, options.warm_cache, work, options.runs, "warm fit")
            timing.table("fitting again", [("warm fit, process included", timing.spread(warm))])
            return
        cold: list[float] = []
        over: list[float] = []
        told: list[float] = []
        for number in range(options.cold_runs):
            shutil.rmtree(work / "cache", ignore_errors=True)
            name = f"cold fit {number + 1}"
            # Under a limit the bundle says what was estimated.
            cold += _fits(options.data, options.config, work / "cache", work, 1, name, "--time-limit", "10h")
            stages = json.loads((work / "bundle" / "metrics.json").read_text())["seconds"]
            limit = json.loads((work / "bundle" / "bundle.json").read_text())["time_limit"]
            told.append(limit["estimated"] / cold[-1])
            over.append(cold[-1] / stages["features"])
        warm = _fits(options.data, options.config, work / "cache", work, options.runs, "warm fit")
        held_back = timing.photos_of(options.data, options.added)
        fewer = work / "fewer"
        shutil.copytree(options.data, fewer)
        for photo in held_back:
            (fewer / photo.relative_to(options.data)).unlink()
        _fits(fewer, options.config, work / "grown", work, 1, f"fit of all but {options.added}")
        added: list[float] = []
        for _ in range(options.runs):
            shutil.rmtree(work / "again", ignore_errors=True)
            shutil.copytree(work / "grown", work / "again")
            added += _fits(options.data, options.config, work / "again", work, 1, "with them")
    timing.table(
        f"fitting again, {options.config}",
        [
            ("cold fit", timing.spread(cold)),
            ("what a cold fit estimates, over it", f"{statistics.median(told):.2f}"),
            ("**cold fit over its feature pass**", f"{statistics.median(over):.2f}"),
            ("warm fit", timing.spread(warm)),
            (f"fit after {options.added} photos were added", timing.spread(added)),
            (
                f"**{options.added} photos added, over the cold fit**",
                f"{statistics.median(added) / statistics.median(cold):.1%}",
            ),
            ("warm over cold", f"{statistics.median(warm) / statistics.median(cold):.1%}"),
        ],
    )


def _fits(
    data: Path, config: str, cache: Path, work: Path, runs: int, name: str, *options: str
) -> list[float]:
    """Seconds of fits as a user runs them, one after the other."""
    arguments = [
        sys.executable, "-m", "ensemble_minerals", "fit", data, "--config", config, "--out", work / "bundle",
        "--overwrite", "--no-report", "--cache", cache, *options,
    ]  # fmt: skip
    times = []
    for number in range(runs):
        times.append(timing.command(arguments))
        timing.note(f"{name}, run {number + 1} of {runs}: {times[-1]:.1f} s")
    return times


if __name__ == "__main__":
    main()
