"""Photos to features on a cluster: shards of photos go out, their features come back and into the store.

Workers open the photos themselves, by the same paths: photos, weights files and, if there is one, the cache folder
are on a file system that all of them see. A shard whose worker died goes to another worker.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from threading import Lock

import numpy as np
from joblib import delayed
from numpy.typing import NDArray

from ensemble_minerals.errors import ImageError, ImageReason, UserError
from ensemble_minerals.features.extraction import CHUNK, ExtractionResult, extract_features
from ensemble_minerals.features.extraction_tasks import ExtractionTask, empty_features, find_tasks
from ensemble_minerals.features.extractor import FeatureExtractor
from ensemble_minerals.features.store import FeatureStore
from ensemble_minerals.system import cpu
from ensemble_minerals.system.cluster import Cluster
from ensemble_minerals.system.parallel import run_unordered
from ensemble_minerals.system.progress import StageProgress
from ensemble_minerals.system.runtime import DEFAULT_LIMITS, DecodeLimits

LARGEST = 16 * CHUNK
"""Photos of a shard, at most: what is lost, and computed again, when a worker dies."""

_PER_CORE = 4
"""Shards for each core, if there are enough photos, so that all cores are busy to the end."""

_opened: dict[tuple[str, str], FeatureExtractor] = {}
"""Extractors of this process's last shard, by name and fingerprint: their networks are loaded."""

_busy = Lock()


def extract_on_cluster(
    paths: Sequence[Path],
    image_ids: Sequence[str],
    extractors: Sequence[FeatureExtractor],
    *,
    cluster: Cluster,
    store: FeatureStore | None = None,
    progress: StageProgress | None = None,
    limits: DecodeLimits = DEFAULT_LIMITS,
    check_contents: bool = False,
) -> ExtractionResult:
    """Compute or fetch the features of every photo by every extractor, on the workers of a cluster.

    The result is that of `extract_features`, with the same arguments; ``seconds`` are summed over workers.

    Args:
        paths: The photos, as every worker sees them.
        image_ids: Digests of their contents.
        extractors: What computes the features; they go to the workers by pickle.
        cluster: Where its workers are.
        store: On this machine: where features are looked up, and stored shard by shard.
        progress: Called with (photos done, photos to compute).
        limits: Sizes of the photos that are decoded.
        check_contents: Whether a file whose digest is not its image id any more is an error.

    Raises:
        FitError: If an extractor gives numbers that are not finite, or workers keep dying.
        UserError: If a worker does not see the photos, or computes other numbers than this machine would.
    """
    features = {extractor.name: empty_features(len(paths), extractor) for extractor in extractors}
    tasks = find_tasks(paths, image_ids, extractors, features, store)
    shards = list(_cut(tasks, cluster.n_cores))
    calls = [
        delayed(compute_shard)(
            number,
            [task.source for task in shard],
            [task.image_id for task in shard],
            [(extractor, extractor.fingerprint) for extractor in shard[0].lacking],
            limits=limits,
            check_contents=check_contents,
        )
        for number, shard in enumerate(shards)
    ]
    whole = ExtractionResult(
        features, {}, {s.name: 0.0 for s in extractors}, 0.0, {s.name: 0 for s in extractors}
    )
    errors: dict[int, ImageError] = {}
    decode_seconds, done = 0.0, 0
    with closing(run_unordered(calls, n_jobs=cluster.n_cores, cluster=cluster)) as results:
        for number, computed in results:
            shard = shards[number]
            errors |= _take(whole, shard, computed, store)
            decode_seconds += computed.decode_seconds
            done += len(shard)
            if progress is not None:
                progress(done, len(tasks))
    return ExtractionResult(
        features, dict(sorted(errors.items())), whole.seconds, decode_seconds, whole.n_computed
    )


def _cut(tasks: Sequence[ExtractionTask[Path]], n_jobs: int) -> Iterator[list[ExtractionTask[Path]]]:
    """Shards of tasks that lack features of the same extractors."""
    size = min(LARGEST, max(CHUNK, -(-len(tasks) // (_PER_CORE * n_jobs))))
    by_lacking: dict[tuple[str, ...], list[ExtractionTask[Path]]] = defaultdict(list)
    for task in tasks:
        by_lacking[tuple(extractor.name for extractor in task.lacking)].append(task)
    for same in by_lacking.values():
        for start in range(0, len(same), size):
            yield same[start : start + size]


def compute_shard(
    number: int,
    paths: Sequence[Path],
    image_ids: Sequence[str],
    extractors: Sequence[tuple[FeatureExtractor, str]],
    *,
    limits: DecodeLimits,
    check_contents: bool,
) -> tuple[int, ExtractionResult]:
    """Compute one shard on a worker, with all the cores it has; networks stay open for the next shard."""
    with _busy:
        computed = extract_features(
            paths,
            image_ids,
            _open(extractors),
            n_threads=cpu.cores(),
            limits=limits,
            check_contents=check_contents,
        )
    return number, computed


def _open(extractors: Sequence[tuple[FeatureExtractor, str]]) -> list[FeatureExtractor]:
    """The last shard's extractors where they are the same, else these, which must give the same numbers here."""
    ready: dict[tuple[str, str], FeatureExtractor] = {}
    for extractor, fingerprint in extractors:
        key = extractor.name, fingerprint
        ready[key] = _opened.get(key, extractor)
        if ready[key].fingerprint != fingerprint:
            raise UserError(
                f"a worker would compute other numbers for {extractor.name} than this machine "
                f"({', '.join(str(extractor.metadata.get(k)) for k in ('engine', 'precision', 'device'))}): its "
                "processor or its libraries are others. Say what all of them have, --set engine=torch --set "
                "precision=float32, or start the fit on a machine like the workers"
            )
    _opened.clear()
    _opened.update(ready)
    return list(ready.values())


def _take(
    whole: ExtractionResult,
    shard: Sequence[ExtractionTask[Path]],
    computed: ExtractionResult,
    store: FeatureStore | None,
) -> dict[int, ImageError]:
    """Put a shard's features where they belong, and return the errors of its photos."""
    errors: dict[int, ImageError] = {}
    for position, error in computed.errors.items():
        task = shard[position]
        if error.reason == ImageReason.MISSING and task.source.exists():
            raise UserError(
                f"a worker does not see {task.source}, which is there; photos must lie on a file system that this "
                "machine and all workers see under the same path"
            )
        errors |= dict.fromkeys(task.positions, error)
        for array in whole.features.values():
            array[task.positions] = np.nan
    readable = [position for position in range(len(shard)) if position not in computed.errors]
    for extractor in shard[0].lacking:
        values: NDArray[np.float32] = computed.features[extractor.name]
        for position in readable:
            whole.features[extractor.name][shard[position].positions] = values[position]
        whole.seconds[extractor.name] += computed.seconds[extractor.name]
        whole.n_computed[extractor.name] += len(readable)
        known = [position for position in readable if shard[position].image_id]
        if store is not None and known:
            ids = [shard[position].image_id for position in known]
            store.put_features(ids, extractor.fingerprint, values[known], extractor.metadata)
    return errors
