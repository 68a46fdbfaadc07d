"""How long the parts of a fit will take, found out on a few of its photos."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ensemble_minerals.config.members import MemberConfig, MlpHeadConfig
from ensemble_minerals.config.schema import Config
from ensemble_minerals.ensemble.network_tasks import devices
from ensemble_minerals.experiment.cost_model import Costs, ExtractorTime
from ensemble_minerals.experiment.dataset import FEATURES, Scan
from ensemble_minerals.features.extraction import ExtractionResult, SingleThreaded, extract_features
from ensemble_minerals.features.extractor import FeatureExtractor
from ensemble_minerals.features.registry import pooling_of
from ensemble_minerals.features.store import FeatureStore
from ensemble_minerals.system import cpu
from ensemble_minerals.system.parallel import Cluster, single_thread

FEW = 32
"""Photos that lack features, up to which no time is taken: they are soon done."""

_TRIALS = (2, 2, 12)
"""Photos of each round: the first loads the networks, the last is for those that are quick."""

_SLOW = 0.25
"""Seconds a photo from which on the second round is enough."""

_COMBINING = 1e-7
"""Seconds of the meta-learner for each photo, member, pair of classes and pair of folds."""

_SHARES = 1.5
"""Fits of a fold's training rows that the learning curve takes for each fold: a quarter, half, three quarters."""


def measure_costs(
    config: Config,
    scan: Scan,
    extractors: Mapping[str, FeatureExtractor],
    *,
    cache_dir: Path | None,
    cluster: Cluster,
    always: bool,
) -> Costs:
    """Time the sources on some of the photos that lack features, and reckon the rest.

    Args:
        config: What would be fitted.
        scan: The photos.
        extractors: That it needs, by name.
        cache_dir: Where features are kept between runs; those of the photos looked at are kept there, too.
        cluster: Where the fit will run.
        always: Also where only few photos lack features.
    """
    manifest = scan.manifest
    rows = manifest.usable
    ids, first = np.unique(manifest.image_id[rows], return_index=True)
    paths = [manifest.file(int(rows[place])) for place in first]
    with ExitStack() as stack:
        store = None if cache_dir is None else stack.enter_context(FeatureStore(cache_dir / FEATURES))
        missing = {
            name: np.ones(len(ids), dtype=bool)
            if store is None
            else ~store.contains(ids.tolist(), extractor.fingerprint)
            for name, extractor in extractors.items()
        }
        lacking = (
            np.flatnonzero(np.any(list(missing.values()), axis=0)) if extractors else np.zeros(0, np.intp)
        )
        seconds: dict[str, float] = {}
        if len(lacking) > (0 if always else FEW):
            chosen = lacking[
                np.linspace(0, len(lacking) - 1, min(sum(_TRIALS), len(lacking))).astype(np.intp)
            ]
            seconds = _time_extractors(
                [paths[place] for place in chosen],
                [str(ids[place]) for place in chosen],
                [extractor for name, extractor in extractors.items() if missing[name].any()],
                store=store,
                config=config,
                cluster=cluster,
            )
    times = {
        name: ExtractorTime(seconds.get(name, 0.0) / extractor.n_views, int(missing[name].sum()))
        for name, extractor in extractors.items()
    }
    members = _member_seconds(config, scan, extractors, cluster)
    quick = [members[str(m.name)] for m in config.expanded_members() if m.network is None]
    # Drawn here, whatever computes the rest.
    curve = _SHARES * float(np.mean(quick)) * cluster.n_cores / cpu.cores() if quick else 0.0
    n_classes = len(set(manifest.label[rows].tolist()))
    combining = _COMBINING * len(rows) * len(members) * (n_classes * config.folds.n_splits) ** 2
    return Costs(len(ids), times, members, curve, seconds.get("", 0.0) * len(lacking) + combining)


def _time_extractors(
    paths: Sequence[Path],
    ids: Sequence[str],
    extractors: Sequence[FeatureExtractor],
    *,
    store: FeatureStore | None,
    config: Config,
    cluster: Cluster,
) -> dict[str, float]:
    """Seconds a photo in each source, and by the name "" of its decoding, with all the cores there are."""
    n_threads = cpu.cores()
    shared = 1.0 if cluster.is_local else n_threads / cluster.n_cores
    seconds: dict[str, float] = {}
    start = 0
    for count in _TRIALS:
        part = slice(start, start + count)
        if start >= len(paths) or (start > _TRIALS[0] and sum(seconds.values()) > _SLOW):
            break
        found = extract_features(
            paths[part],
            ids[part],
            extractors,
            store=store,
            n_threads=n_threads,
            limits=config.data.limits,
            check_contents=True,
        )
        seconds |= _each(found, extractors, n_threads, shared)
        start += count
    return seconds


def _each(
    found: ExtractionResult, extractors: Sequence[FeatureExtractor], n_threads: int, shared: float
) -> dict[str, float]:
    """Seconds a photo of what was just extracted; sources that saw none are not in it."""
    seconds = {
        extractor.name: shared
        * found.seconds[extractor.name]
        / found.n_computed[extractor.name]
        / (n_threads if isinstance(extractor, SingleThreaded) else 1)
        for extractor in extractors
        if found.n_computed[extractor.name]
    }
    looked_at = max(found.n_computed.values(), default=0)
    return seconds | ({"": shared * found.decode_seconds / looked_at / n_threads} if looked_at else {})


def _member_seconds(
    config: Config, scan: Scan, extractors: Mapping[str, FeatureExtractor], cluster: Cluster
) -> dict[str, float]:
    """Seconds of each member in all folds, with all tasks at once that there are cores for."""
    manifest = scan.manifest
    labels = manifest.label[manifest.usable].tolist()
    share = 1 - config.folds.holdout if config.folds.n_splits == 1 else 1 - 1 / config.folds.n_splits
    shape = FoldShape(
        n_rows=round(share * len(labels)),
        n_held_out=round((1 - share) * len(labels)),
        n_classes=max(2, len(set(labels))),
        largest=share * max(Counter(labels).values(), default=0),
    )
    rate = multiplication_rate()
    columns = {
        name: extractor.n_features * (extractor.n_views if pooling_of(config, name) == "concat" else 1)
        for name, extractor in extractors.items()
    }
    seconds: dict[str, float] = {}
    trained: dict[str, tuple[float, float]] = {}
    members = config.expanded_members()
    together = Counter(member.features for member in members)
    for member in members:
        if member.network is not None:
            if member.network not in trained:
                trained[member.network] = _network_seconds(config, member.network, shape.n_classes)
            one = shape.training(member, *trained[member.network], config)
            tasks = len(devices()) if devices()[0] != "cpu" else cluster.n_cores
        else:
            width = sum(columns[name] for name in member.features or ())
            one = shape.space(width) / rate / together[member.features] + shape.head(member, width) / rate
            tasks = cluster.n_cores
        seconds[str(member.name)] = one * config.folds.n_splits / tasks
    return seconds


def _network_seconds(config: Config, name: str, n_classes: int) -> tuple[float, float]:
    """Seconds of a photo in training, all phases together, and in one forward pass."""
    from ensemble_minerals.networks.training.cost import epoch_seconds, training_seconds

    network = next(network for network in config.networks if network.name == name)
    forward, step = training_seconds(network, n_classes, device=devices()[0])
    return epoch_seconds(network, forward, step), forward


@dataclass(frozen=True)
class FoldShape:
    """A fold in numbers.

    Attributes:
        n_rows: Training rows.
        n_held_out: Rows to be answered.
        n_classes: Classes.
        largest: Training rows of the largest class.
    """

    n_rows: int
    n_held_out: int
    n_classes: int
    largest: float

    def space(self, width: int) -> float:
        """Operations of a row space of so many columns: a Gram matrix, its eigenvectors, a rotation."""
        n, d = float(self.n_rows), float(width)
        small, large = min(n, d), max(n, d)
        return 0.0 if small > _MAX_RANK else 3 * small**2 * large + 10 * small**3

    def head(self, member: MemberConfig, width: int) -> float:
        """Operations of a head on it, calibrated by `benchmarks/estimates.py`."""
        n, rank = float(self.n_rows), float(min(self.n_rows, width))
        if min(n, width) > _MAX_RANK:
            rank = float(width)
        if isinstance(member.head, MlpHeadConfig):
            n = self._drawn(member) if member.sampler.kind != "none" else n
            one = 6 * n * rank * sum(member.head.hidden) * member.head.max_epochs
            return one * (2 if member.strategy == "flat" else 4)
        one = 4 * n * rank * self.n_classes * _ITERATIONS
        if member.sampler.kind not in ("none", "random"):  # copies of a row are a weight on it
            return 2 * one * self._drawn(member) / n
        return one if member.strategy == "flat" else 1.4 * one

    def training(self, member: MemberConfig, each: float, forward: float, config: Config) -> float:
        """Seconds of a member's networks in one fold, on one core or one GPU."""
        network = next(network for network in config.networks if network.name == member.network)
        n_nets = 1
        if member.specialists == "separate" and member.strategy != "flat":
            n_nets = self.n_classes if member.strategy == "one_vs_rest" else self.n_classes // 2 + 1
        rows = self._drawn(member) if member.sampler.kind != "none" else float(self.n_rows)
        watched = sum(phase.epochs for phase in network.phases) * network.validation_fraction * self.n_rows
        learned = rows * (1 - network.validation_fraction)
        answered = self.n_held_out * len(network.views)
        return n_nets * (learned * each + (watched + answered) * forward)

    def _drawn(self, member: MemberConfig) -> float:
        """Training rows after over-sampling."""
        return max(float(self.n_rows), self.n_classes * self.largest * getattr(member.sampler, "ratio", 1.0))


_MAX_RANK = 2048
"""Rank from which on row spaces keep the columns, see `RowSpace`."""

_ITERATIONS = 300
"""Passes over the rows, all told, until a flat logistic regression is solved."""


def multiplication_rate() -> float:
    """Floating point operations a second of one core, in double precision, beside all else that runs now."""
    side, rounds = 384, 10
    factor = np.random.default_rng(0).random((side, side))
    with single_thread:
        factor @ factor  # the first is slow
        started = time.perf_counter()
        for _ in range(rounds):
            factor @ factor
        return 2 * rounds * side**3 / (time.perf_counter() - started)
