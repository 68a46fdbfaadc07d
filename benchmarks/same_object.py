"""How many changed copies of real photos are found again, and how many pairs are reported for nothing.

Photos of the folders are bases, one of each known object; a changed copy of each is drawn (`planted.py`) and put
among them. Every pair reported is counted: right where both photos show one base, or were looked at by eye and found
to show one object (`same_object_pairs.csv`, by digest). Pairs of bases that nobody has looked at count as wrong and
are listed, so that somebody looks. A collage shows two bases, and both are to be found.

    python benchmarks/same_object.py ../shared/data/minerals7 ../shared/data/clothing10 [--photos 300] [--against]

`--against` measures imagededup on the same photos: its hashes, and its CNN with a packaged EfficientNet-Lite0 as its
own custom model, each at its own threshold and at the one that keeps precision 0.99 with most recall, which a user
cannot know (*surest*). It is no dependency: `pip install imagededup`. Its authors publish a recall of 0.38 for
transformed copies (CNN; UKBench with transformations).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import timing
from numpy.typing import NDArray
from planted import CHANGES, Planted, looked_at, plant

from ensemble_minerals.config.loading import load_config
from ensemble_minerals.experiment.dataset import extract, scan_photos
from ensemble_minerals.experiment.extractors import open_extractors
from ensemble_minerals.experiment.grouping import compared_photos, group_photos
from ensemble_minerals.system.cpu import cores
from ensemble_minerals.system.runtime import Runtime

Pairs = dict[tuple[int, int], float]
"""Reported pairs, smaller position first, each with a score: the larger, the surer."""

PRECISION = 0.99
FEATURES = 60  # photos by which the cost of a fit's features is measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--photos", type=int, default=None, help="so many of each folder")
    parser.add_argument("--folder", type=Path, default=None, help="where the planted set is drawn, and kept")
    parser.add_argument("--against", action="store_true", help="measure imagededup, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        target = options.folder or Path(temporary) / "planted"
        planted = plant(options.data, target, options.photos)
        finders: dict[str, Callable[[], Pairs]] = {"ours": lambda: ours(target, planted, Path(temporary))}
        if options.against:
            finders |= imagededup_finders(target, planted)
        columns = {}
        for name, find in finders.items():
            started = time.perf_counter()
            pairs = find()
            seconds = time.perf_counter() - started
            columns[name] = column(planted, set(pairs), seconds)
            if name == "ours":
                list_unseen(planted, pairs)
            else:
                columns[f"{name}, surest"] = column(planted, sure(planted, pairs), seconds)
    print(f"| {len(planted.files)} photos | " + " | ".join(columns) + " |")
    print("|---|" + "---|" * len(columns))
    for row in next(iter(columns.values())):
        print(f"| {row} | " + " | ".join(values[row] for values in columns.values()) + " |")


def column(planted: Planted, pairs: set[tuple[int, int]], seconds: float) -> dict[str, str]:
    """Recall of each change, precision, time."""
    wanted, judged = planted.wanted(), looked_at()
    found = {
        change: [pair in pairs for pair, drawn in wanted.items() if drawn == change] for change in CHANGES
    }
    right = sum(planted.is_true(pair, judged) is True for pair in pairs)
    every = [hit for hits in found.values() for hit in hits]
    return {
        **{f"{change} ({len(hits)})": f"{np.mean(hits):.3f}" for change, hits in found.items() if hits},
        "**recall, all changes**": f"{np.mean(every):.3f}",
        "**precision, all pairs**": f"{right / max(len(pairs), 1):.4f} of {len(pairs)}",
        "seconds, all": f"{seconds:.1f}",
    }


def list_unseen(planted: Planted, pairs: Iterable[tuple[int, int]]) -> None:
    """Name the reported pairs of different bases that nobody has looked at."""
    judged = looked_at()
    for first, second in sorted(pairs):
        if planted.is_true((first, second), judged) is None:
            timing.note(f"look at: {planted.files[first]} | {planted.files[second]}")


def sure(planted: Planted, pairs: Pairs) -> set[tuple[int, int]]:
    """The most pairs from the surest on that keep the precision: a threshold chosen by hindsight."""
    judged = looked_at()
    ordered = sorted(pairs, key=lambda pair: -pairs[pair])
    right = np.cumsum([planted.is_true(pair, judged) is True for pair in ordered])
    enough = np.flatnonzero(right >= PRECISION * np.arange(1, len(ordered) + 1))
    return set(ordered[: int(enough[-1]) + 1] if enough.size else [])


def ours(folder: Path, planted: Planted, cache: Path) -> Pairs:
    """Pairs that a fit keeps together; what finding them takes, and what the features of a fit take, are noted.

    The embeddings are those of the first backbone, which the features then find in the cache: they are timed apart.
    """
    config, runtime = load_config("default"), Runtime(cores(), cache)
    scanned = scan_photos(folder, config, runtime)
    times = [clock()]
    compared_photos(scanned, config, runtime)
    times.append(clock())
    _, report = group_photos(scanned, config, runtime)
    times.append(clock())
    few = max(1, len(scanned) // FEATURES)
    status = ["excluded" if row % few else one for row, one in enumerate(scanned.status.tolist())]
    some, extractors = scanned.replace(status=status), open_extractors(config, runtime)
    extract(some, config, extractors, Runtime(cores()))  # compiles the networks
    started = clock()
    extract(some, config, extractors, Runtime(cores()))
    features = (clock() - started) * len(scanned) / len(some.usable)
    timing.note("seconds, processor seconds:")
    for name, spent in zip(
        ("embeddings", "search", "features"), (*np.diff(times, axis=0), features), strict=True
    ):
        timing.note(f"  {name} {spent[0]:.1f}, {spent[1]:.1f}")
    place = {file: at for at, file in enumerate(planted.files)}
    position = [place[scanned.file(row)] for row in range(len(scanned))]
    return {_ordered(position[pair.first], position[pair.second]): 1.0 for pair in report.pairs}


def clock() -> NDArray[np.float64]:
    """Seconds and processor seconds."""
    return np.array([time.perf_counter(), time.process_time()])


def imagededup_finders(folder: Path, planted: Planted) -> dict[str, Callable[[], Pairs]]:
    """The ways of imagededup to find duplicates, at thresholds loose enough to see all scores that matter."""
    try:
        from imagededup import methods
        from imagededup.utils import CustomModel
    except ImportError:
        sys.exit(
            "imagededup is not here: pip install imagededup, in an environment that has this package too"
        )
    place = {str(file): at for at, file in enumerate(planted.files)}

    def pairs(found: dict[str, list[tuple[str, Any]]], sign: float) -> Pairs:
        return {
            _ordered(place[str(folder / one)], place[str(folder / other)]): sign * float(score)
            for one, others in found.items()
            for other, score in others
        }

    def by_hash(method: str, bits: int) -> Callable[[], Pairs]:
        def find() -> Pairs:
            hasher = getattr(methods, method)(verbose=False)
            encodings = hasher.encode_images(image_dir=folder, recursive=True)
            found = hasher.find_duplicates(
                encoding_map=encodings, max_distance_threshold=bits, scores=True, recursive=True
            )
            return pairs(found, -1.0)

        return find

    def by_network() -> Pairs:
        network = methods.CNN(verbose=False, model_config=CustomModel("lite0", *_lite0()))
        encodings = network.encode_images(image_dir=folder, recursive=True)
        return pairs(
            network.find_duplicates(encoding_map=encodings, min_similarity_threshold=0.9, scores=True), 1.0
        )

    finders = {f"imagededup {m}": by_hash(m, 10) for m in ("PHash", "DHash", "AHash", "WHash")}
    return finders | {"imagededup CNN": by_network}


def _lite0() -> tuple[Any, Any]:
    """The packaged network without its classifier, and how it wants its photos."""
    from torchvision.transforms import Compose, InterpolationMode, Normalize, Resize, ToTensor

    from ensemble_minerals.networks.models.weights import load_network

    network: Any = load_network("tf_efficientnet_lite0", "package:efficientnet_lite0").network
    network.reset_classifier(0)
    size = Resize((224, 224), InterpolationMode.BICUBIC)
    return network, Compose([size, ToTensor(), Normalize([0.5] * 3, [0.5] * 3)])


def _ordered(one: int, other: int) -> tuple[int, int]:
    return min(one, other), max(one, other)


if __name__ == "__main__":
    main()
