"""Photos to features on a cluster: shards of photos go out, their features come back and into the store.

Workers open the photos themselves, by the same paths: photos, weights files and, if there is one, the cache folder
are on a file system that all of them see. A shard that a worker took with it when it died goes to another.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from threading import Lock

import numpy as np
from joblib import delayed
from numpy.typing import NDArray

from ensemble_minerals.data.decoding import MAX_PIXELS, MIN_SIDE
from ensemble_minerals.errors import ImageError, ImageReason, UserError
from ensemble_minerals.features.extraction import (
    CHUNK,
    ExtractionResult,
    Task,
    allocate,
    extract_features,
    find_tasks,
)
from ensemble_minerals.features.extractor import FeatureSource
from ensemble_minerals.features.store import FeatureStore
from ensemble_minerals.system import cpu
from ensemble_minerals.system.parallel import own_cores, unordered

LARGEST = 16 * CHUNK
"""Photos of a shard, at most: what is lost when a worker dies, and done twice."""

_PER_CORE = 4
"""Shards for each core, if there are photos enough: so that all are busy to the end."""

_opened: dict[tuple[str, str], FeatureSource] = {}
"""Sources of this process's last shard, by name and fingerprint: their networks are loaded."""

_busy = Lock()


def extract_on_cluster(
    paths: Sequence[Path],
    image_ids: Sequence[str],
    sources: Sequence[FeatureSource],
    *,
    n_jobs: int,
    store: FeatureStore | None = None,
    progress: Callable[[int, int], None] | None = None,
    max_pixels: int = MAX_PIXELS,
    min_side: int = MIN_SIDE,
    check_contents: bool = False,
) -> ExtractionResult:
    """Give the features of every photo from every source, computed by the workers of an open cluster.

    The answer is that of `extract_features`, whose arguments these are; ``seconds`` are summed over workers.

    Args:
        paths: The photos, as every worker sees them.
        image_ids: Digests of their contents.
        sources: What computes the features; they go to the workers by pickle.
        n_jobs: Cores of the cluster.
        store: On this machine: where features are looked up, and kept shard by shard.
        progress: Called with (photos done, photos to look at).
        max_pixels: Largest photo that is decoded.
        min_side: Smallest.
        check_contents: Whether a file whose digest is no more its image id is an error.

    Raises:
        FitError: If a source gives other than finite numbers, or workers keep dying.
        UserError: If a worker does not see the photos, or computes other numbers than this machine would.
    """
    features = {source.name: allocate(len(paths), source) for source in sources}
    tasks = find_tasks(paths, image_ids, sources, features, store)
    shards = list(_cut(tasks, n_jobs))
    calls = [
        delayed(compute_shard)(
            number,
            [task.path for task in shard],
            [task.image_id for task in shard],
            [(source, source.fingerprint) for source in shard[0].lacking],
            max_pixels=max_pixels,
            min_side=min_side,
            check_contents=check_contents,
        )
        for number, shard in enumerate(shards)
    ]
    whole = ExtractionResult(features, {}, {s.name: 0.0 for s in sources}, 0.0, {s.name: 0 for s in sources})
    errors: dict[int, ImageError] = {}
    decode_seconds, done = 0.0, 0
    with closing(unordered(calls, n_jobs=n_jobs)) as results:
        for number, found in results:
            shard = shards[number]
            errors |= _take(whole, shard, found, store)
            decode_seconds += found.decode_seconds
            done += len(shard)
            if progress is not None:
                progress(done, len(tasks))
    return ExtractionResult(
        features, dict(sorted(errors.items())), whole.seconds, decode_seconds, whole.n_computed
    )


def _cut(tasks: Sequence[Task], n_jobs: int) -> Iterator[list[Task]]:
    """Tasks of the same sources, in shards."""
    size = min(LARGEST, max(CHUNK, -(-len(tasks) // (_PER_CORE * n_jobs))))
    alike: dict[tuple[str, ...], list[Task]] = defaultdict(list)
    for task in tasks:
        alike[tuple(source.name for source in task.lacking)].append(task)
    for same in alike.values():
        for start in range(0, len(same), size):
            yield same[start : start + size]


def compute_shard(
    number: int,
    paths: Sequence[Path],
    image_ids: Sequence[str],
    sources: Sequence[tuple[FeatureSource, str]],
    *,
    max_pixels: int,
    min_side: int,
    check_contents: bool,
) -> tuple[int, ExtractionResult]:
    """What a worker does: one shard at a time, with all the cores it has; networks stay open for the next one."""
    with _busy:
        cores = own_cores()
        if cores is not None:
            cpu.share(cores)
        found = extract_features(
            paths,
            image_ids,
            _open(sources),
            n_threads=cpu.cores(),
            max_pixels=max_pixels,
            min_side=min_side,
            check_contents=check_contents,
        )
    return number, found


def _open(sources: Sequence[tuple[FeatureSource, str]]) -> list[FeatureSource]:
    """Sources of the last shard where they are the same, else these, if they compute here what they are to."""
    ready: dict[tuple[str, str], FeatureSource] = {}
    for source, fingerprint in sources:
        key = source.name, fingerprint
        ready[key] = _opened.get(key, source)
        if ready[key].fingerprint != fingerprint:
            raise UserError(
                f"a worker would compute other numbers for {source.name} than this machine "
                f"({source.facts.get('engine')}, {source.facts.get('precision')}, {source.facts.get('device')}): its "
                "processor or its libraries are others. Say what all of them have, --set engine=torch --set "
                "precision=float32, or start the fit on a machine like the workers"
            )
    _opened.clear()
    _opened.update(ready)
    return list(ready.values())


def _take(
    whole: ExtractionResult, shard: Sequence[Task], found: ExtractionResult, store: FeatureStore | None
) -> dict[int, ImageError]:
    """Put a shard's features where they belong; give the errors of photos."""
    errors: dict[int, ImageError] = {}
    for place, error in found.errors.items():
        task = shard[place]
        if error.reason == ImageReason.MISSING and task.path.exists():
            raise UserError(
                f"a worker does not see {task.path}, which is there; photos must lie on a file system that this "
                "machine and all workers see under the same path"
            )
        errors |= dict.fromkeys(task.positions, error)
        for array in whole.features.values():
            array[task.positions] = np.nan
    good = [place for place in range(len(shard)) if place not in found.errors]
    for source in shard[0].lacking:
        values: NDArray[np.float32] = found.features[source.name]
        for place in good:
            whole.features[source.name][shard[place].positions] = values[place]
        whole.seconds[source.name] += found.seconds[source.name]
        whole.n_computed[source.name] += len(good)
        kept = [place for place in good if shard[place].image_id]
        if store is not None and kept:
            ids = [shard[place].image_id for place in kept]
            store.put(ids, source.fingerprint, values[kept], source.facts)
    return errors
