"""Time and memory as the number of photos grows: 755, 5,640 and 100,000 photos, drawn by code.

Each run has a process of its own. The photos are small textures (48 px), and the configuration is small: one tiny
network with random weights, three members, five folds. So the figures say nothing about accuracy; what is
measured is how the program's own parts grow: scan, features, search for what is alike, folds, members,
combination. Nothing is kept between runs.

Two figures of memory: the peak of the resident set, which counts pages of files that are mapped, and the peak of
what is not backed by a file. The kernel takes back pages of the first kind when others need the room.

    python benchmarks/growth.py [--sizes 755 5640 100000] [--folder DIR] [--runs 1]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import numpy as np
import timing
from PIL import Image

CLASSES = ("biotite", "bornite", "chrysocolla", "malachite", "muscovite", "pyrite", "quartz")
SIDE = 48
STAGES = ("scan", "features", "alike", "folds", "members", "combination")

CONFIG = """
backbones:
  - {name: tiny, model: test_resnet, weights: random, size: 32, layers: [-1], views: [squash, center]}
members:
  - {features: each, strategy: flat, head: {kind: logistic, C: 30.0}}
  - {features: each, strategy: one_vs_rest, head: {kind: logistic, C: 50.0}, sampler: random}
  - {features: each, strategy: hierarchical, head: {kind: logistic, C: 100.0}, sampler: random}
precision: float32
"""

RUN = """
import json, resource, sys, threading, time
from pathlib import Path
from ensemble_minerals.config.loading import load_config
from ensemble_minerals.experiment import dataset
from ensemble_minerals.experiment.grouping import group_photos
from ensemble_minerals.experiment.splitting import split
from ensemble_minerals.ensemble.stacked import StackedEnsemble
from ensemble_minerals.system.cpu import cores
from ensemble_minerals.experiment.extractors import open_extractors
from ensemble_minerals.experiment.setup import set_up
from ensemble_minerals.system.runtime import Runtime
from ensemble_minerals.system.stopwatch import Stopwatch

def status(name):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) / 1024
    return float("nan")

anonymous, ended = [0.0], threading.Event()
def watch():
    while not ended.wait(0.02):
        anonymous[0] = max(anonymous[0], status("RssAnon"))
threading.Thread(target=watch, daemon=True).start()

data, config, work = sys.argv[1], sys.argv[2], Path(sys.argv[3])
config = load_config(config)
started = time.perf_counter()
runtime, stopwatch = Runtime(cores(), work), Stopwatch()
with stopwatch("scan"):
    manifest = dataset.scan_photos(Path(data), config, runtime)
with stopwatch("alike"):
    manifest, found = group_photos(manifest, config, runtime)
with stopwatch("features"):
    manifest = split(manifest, config, found.pairs)
    photos = dataset.extract(manifest, config, open_extractors(config, runtime), runtime)
setup = set_up(photos, config, runtime, work=work)
seconds = dict(stopwatch.seconds)
before = status("VmHWM"), anonymous[0]
seconds["folds"] = time.perf_counter() - started - sum(seconds.values())
fitting = time.perf_counter()
ensemble = StackedEnsemble(setup.members, runtime=runtime, random_state=config.seed)
ensemble.fit(setup.row_data(photos, photos.rows), photos.labels, photos.groups, photos.folds)
seconds["members"] = ensemble.cross_fit_seconds_
seconds["combination"] = time.perf_counter() - fitting - ensemble.cross_fit_seconds_
seconds["all"] = time.perf_counter() - started
ended.set()
print(json.dumps({
    "seconds": seconds,
    "cpu_seconds": time.process_time(),
    "rows": len(photos.rows),
    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    "peak_before_members_mb": before[0],
    "anonymous_mb": anonymous[0],
    "anonymous_before_members_mb": before[1],
}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[755, 5640, 100_000])
    parser.add_argument("--folder", type=Path, default=None, help="Where the photos are drawn, and kept.")
    parser.add_argument("--runs", type=int, default=1)
    options = parser.parse_args()
    results: dict[int, list[timing.Json]] = {size: [] for size in options.sizes}
    with tempfile.TemporaryDirectory() as temporary:
        base = options.folder or Path(temporary)
        base.mkdir(parents=True, exist_ok=True)
        (base / "growth.yaml").write_text(CONFIG, encoding="utf-8")
        for size in options.sizes:
            data = draw(base / f"photos-{size}", size)
            for _ in range(options.runs):
                with tempfile.TemporaryDirectory(dir=base) as kept:
                    result = timing.fresh(RUN, data, base / "growth.yaml", kept)
                results[size].append(result)
                timing.note(f"{size}: {result}")
    rows = []
    for size, runs in results.items():
        total = statistics.median(result["seconds"]["all"] for result in runs)
        parts = {stage: statistics.median(result["seconds"][stage] for result in runs) for stage in STAGES}
        each = ", ".join(f"{stage} {1000 * part / size:.2f}" for stage, part in parts.items())
        cpu = statistics.median(result["cpu_seconds"] for result in runs)
        peak = statistics.median(result["peak_mb"] for result in runs)
        anonymous = statistics.median(result["anonymous_mb"] for result in runs)
        rows += [
            (f"{size:,} photos", f"{total:.1f} s, {1000 * total / size:.2f} ms a photo ({each})"),
            (f"{size:,} photos, CPU time", f"{1000 * cpu / size:.2f} ms a photo"),
            (f"{size:,} photos, peak memory", f"{peak:.0f} MB, not of files {anonymous:.0f} MB"),
        ]
    if {5640, 100_000} <= set(results):
        for key, name in (("peak_mb", "peak memory"), ("anonymous_mb", "peak memory not of files")):
            large, small = (
                statistics.median(result[key] for result in results[size]) for size in (100_000, 5640)
            )
            rows.append((f"**{name}, 100,000 over 5,640**", f"{large / small:.2f}"))
    timing.table("growth", rows)


def draw(folder: Path, size: int) -> Path:
    """Draw photos: grain of three scales in the class's colors, every hundredth a mirrored copy of the one before."""
    done = folder / ".done"
    if done.exists():
        return folder
    timing.note(f"drawing {size} photos")
    rng = np.random.default_rng(size)
    palette = np.random.default_rng(7).uniform(60, 190, (len(CLASSES), 3))
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    for number in range(size):
        label = number % len(CLASSES) if number % 100 else (number - 1) % len(CLASSES)
        target = folder / CLASSES[label]
        target.mkdir(parents=True, exist_ok=True)
        pixels = pixels[:, ::-1] if number and number % 100 == 0 else _texture(rng, palette[label])
        Image.fromarray(pixels).save(target / f"{number:06}.jpg", quality=85)
    done.touch()
    return folder


def _texture(rng: np.random.Generator, color: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    ground = np.broadcast_to(color + rng.normal(0, 25, 3), (SIDE, SIDE, 3)).copy()
    for cells, strength in ((4, 35), (12, 25), (SIDE, 12)):
        noise = rng.normal(0, strength, (cells, cells)).astype(np.float32)
        grain = Image.fromarray(noise).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        ground += np.asarray(grain)[..., None] * rng.uniform(0.6, 1.4, 3)
    return np.clip(ground, 0, 255).astype(np.uint8)


if __name__ == "__main__":
    main()
