"""How long a fit will take: what is done to each photo is timed on a few, members are counted in operations."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.config.members import LogisticHeadConfig, MemberConfig, MlpHeadConfig
from ensemble_minerals.config.schema import Config, FoldsConfig
from ensemble_minerals.data.manifest import Manifest
from ensemble_minerals.data.same_object.finding import ComparedPhotos, find_same_objects
from ensemble_minerals.experiment.dataset import FEATURES
from ensemble_minerals.features.extraction import SingleThreaded, extract_features
from ensemble_minerals.features.extractor import FeatureExtractor
from ensemble_minerals.features.pooling import pooling_of
from ensemble_minerals.features.store import FeatureStore
from ensemble_minerals.members.network_folds import devices
from ensemble_minerals.system import cpu
from ensemble_minerals.system.durations import format_estimate
from ensemble_minerals.system.parallel import single_thread
from ensemble_minerals.system.plural import counted
from ensemble_minerals.system.progress import Silent
from ensemble_minerals.system.runtime import Runtime

FEW = 32
"""Up to this number of photos without features none is timed: they are soon done."""

_WARM_UP, _TIMED = 4, 12
"""Photos on which networks are loaded, for more than a few photos, and then timed."""

_COMBINING = 4e-7
"""Seconds of the meta-learner on one core for each photo, member, class, and fold or pair of folds."""

_CURVE_FITS = 1.5
"""Fits of a fold's training rows that the learning curve takes for each fold: a quarter, half, three quarters."""

_SOLVING = 2700
"""Operations of a flat logistic regression for each row, column and square root of the number of classes."""

_CHOOSING = 7.0
"""Times that a regression takes whose penalty is chosen, over one of a given penalty."""


@dataclass(frozen=True)
class Costs:
    """Seconds of the parts of a fit.

    Attributes:
        n_missing: Photos that lack features.
        features: Of each extractor, for all photos that lack its features.
        members: Of each member in all folds.
        learning_curve: Of the learning curve.
        rest: Of what cannot be left out, such as what has been spent already.
        always: Extractors that are used in any case: the one that finds photos of the same object.
    """

    n_missing: int
    features: Mapping[str, float]
    members: Mapping[str, float]
    learning_curve: float = 0.0
    rest: float = 0.0
    always: tuple[str, ...] = ()

    def total(self, members: Iterable[MemberConfig]) -> float:
        """Seconds of a fit of some of the members, without the learning curve."""
        own = list(members)
        used = {*self.always, *(name for member in own for name in member.features or ())}
        features = sum(seconds for name, seconds in self.features.items() if name in used)
        return features + sum(self.members[str(member.name)] for member in own) + self.rest


def describe(config: Config, costs: Costs) -> str:
    """An estimate in words: ``about 21 s: features 3 s (100 photos), members 18 s``."""
    members = config.expanded_members()
    by_network = [costs.members[str(member.name)] for member in members if member.network is not None]
    photos = counted(costs.n_missing, "photo") if costs.n_missing else "stored"
    parts = [
        f"features {format_estimate(sum(costs.features.values()))} ({photos})",
        f"members {format_estimate(sum(costs.members.values()) - sum(by_network))}",
    ]
    if by_network:
        parts.append(f"trained networks {format_estimate(sum(by_network))} at most")
    total = costs.total(members) + costs.learning_curve
    return f"about {format_estimate(total)}: {', '.join(parts)}"


def measure_costs(
    config: Config,
    manifest: Manifest,
    extractors: Mapping[str, FeatureExtractor],
    runtime: Runtime,
    *,
    always: bool,
) -> Costs:
    """Time what is done to some of the photos that lack features, and estimate all the rest.

    Args:
        config: What would be fitted.
        manifest: The photos.
        extractors: That it needs, by name.
        runtime: Where the fit will run. What is computed of the photos that are timed is kept in its cache folder.
        always: Time also where only few photos lack features.
    """
    rows = manifest.usable
    ids, first = np.unique(np.array(manifest.feature_ids)[rows], return_index=True)
    features = dict.fromkeys(extractors, 0.0)
    with ExitStack() as stack:
        store = None
        if runtime.cache_dir is not None:
            store = stack.enter_context(FeatureStore(runtime.cache_dir / FEATURES))
        stored = {
            name: set() if store is None else set(store.contains(extractor.fingerprint, ids.tolist()))
            for name, extractor in extractors.items()
        }
        lacking = [
            n for n, one in enumerate(ids.tolist()) if any(one not in known for known in stored.values())
        ]
        rest = 0.0
        if len(lacking) > (0 if always else FEW):
            spread = np.linspace(0, len(lacking) - 1, min(_WARM_UP + _TIMED, len(lacking))).astype(np.intp)
            timed = rows[first[np.array(lacking)[spread]]]
            seconds, decoding = _time_extractors(manifest, timed, extractors, store, config, runtime)
            features = {name: one * (len(ids) - len(stored[name])) for name, one in seconds.items()}
            rest = len(lacking) * (decoding + _same_object_seconds(manifest, timed, config, runtime))
    members = member_seconds(config, manifest, extractors, runtime.n_tasks)
    on_features = [members[str(m.name)] for m in config.expanded_members() if m.network is None]
    # The learning curve is computed on this machine, also where a cluster fits the members.
    curve = _CURVE_FITS * float(np.mean(on_features)) * runtime.n_tasks / cpu.cores() if on_features else 0.0
    n_classes = len(set(manifest.label[rows].tolist()))
    left_out = 1 + math.comb(config.folds.n_splits + 1, 2)
    rest += _COMBINING * len(rows) * len(members) * n_classes * left_out / cpu.cores()
    finding = config.backbones[:1] if config.duplicates.near else ()
    return Costs(len(lacking), features, members, curve, rest, tuple(one.name for one in finding))


def _same_object_seconds(
    manifest: Manifest, rows: NDArray[np.intp], config: Config, runtime: Runtime
) -> float:
    """Seconds a photo of the search for photos of one object, in which each photo is compared with a few others."""
    photos = ComparedPhotos.of(manifest, rows)
    started = time.perf_counter()
    find_same_objects(
        photos, config.duplicates, replace(runtime, progress=Silent()), limits=config.data.limits
    )
    return (time.perf_counter() - started) / len(rows)


def _time_extractors(
    manifest: Manifest,
    rows: NDArray[np.intp],
    extractors: Mapping[str, FeatureExtractor],
    store: FeatureStore | None,
    config: Config,
    runtime: Runtime,
) -> tuple[dict[str, float], float]:
    """Seconds a photo of each extractor, and of decoding, with all the cores there are."""
    n_threads = cpu.cores()
    # A cluster computes with all its cores what is timed here on those of this machine.
    scale = 1.0 if runtime.is_local else n_threads / runtime.n_tasks
    seconds, decoding = dict.fromkeys(extractors, 0.0), 0.0
    for part in filter(len, (rows[:_WARM_UP], rows[_WARM_UP:])):
        extracted = extract_features(
            [manifest.file(row) for row in part.tolist()],
            manifest.image_id[part].tolist(),
            list(extractors.values()),
            store=store,
            n_threads=n_threads,
            limits=config.data.limits,
            check_contents=True,
        )
        for name, extractor in extractors.items():
            if n_computed := extracted.n_computed[name]:
                at_once = n_threads if isinstance(extractor, SingleThreaded) else 1
                seconds[name] = scale * extracted.seconds[name] / n_computed / at_once
        n_decoded = max(extracted.n_computed.values(), default=0)
        decoding = scale * extracted.decode_seconds / max(n_decoded, 1) / n_threads
    return seconds, decoding


def member_seconds(
    config: Config, manifest: Manifest, extractors: Mapping[str, FeatureExtractor], n_tasks: int
) -> dict[str, float]:
    """Seconds of each member in all folds.

    Args:
        config: Members and folds.
        manifest: The photos.
        extractors: What members use, by name.
        n_tasks: Fits of a member at once.
    """
    rows = manifest.usable
    fold = Fold.of(manifest.label[rows[manifest.split[rows] != "test"]].tolist(), config.folds)
    columns = {
        name: extractor.n_features * (extractor.n_views if pooling_of(config, name) == "concat" else 1)
        for name, extractor in extractors.items()
    }
    # A member on one backbone may learn from each view as a row.
    views = {one.name: len(one.views) for one in config.backbones if one.pooling == "rows"}
    members = config.expanded_members()
    sharing = Counter(name for member in members for name in member.features or ())
    rate = multiplication_rate() * n_tasks / config.folds.n_splits
    seconds = {}
    for member in members:
        if (own := member.features) and member.network is None:
            viewed = replace(fold, n_rows=fold.n_rows * (views.get(own[0], 1) if len(own) == 1 else 1))
            products = sum(viewed.products(columns[name]) / sharing[name] for name in own)
            solving = viewed.solving(member, sum(columns[name] for name in own))
            seconds[str(member.name)] = (products + solving) / rate
    return seconds | _network_seconds(config, fold, n_tasks)


def _network_seconds(config: Config, fold: Fold, n_tasks: int) -> dict[str, float]:
    members = [member for member in config.expanded_members() if member.network is not None]
    if not members:
        return {}
    from ensemble_minerals.networks.training.cost import measure_training

    at_once = n_tasks if devices()[0] == "cpu" else min(len(members) * config.folds.n_splits, len(devices()))
    measured = {
        network.name: (network, measure_training(network, fold.n_classes, device=devices()[0]))
        for network in config.networks
    }
    seconds = {}
    for member in members:
        network, cost = measured[str(member.network)]
        epochs = sum(phase.epochs for phase in network.phases)
        passes = fold.n_held_out * len(network.views) + network.validation_fraction * fold.n_rows * epochs
        trained = fold.oversampled(member) * (1 - network.validation_fraction)
        apart = member.specialists == "separate"
        n_networks = {"one_vs_rest": fold.n_classes, "hierarchical": fold.n_classes // 2 + 1}
        one = (trained * cost.training + passes * cost.forward) * (
            n_networks.get(member.strategy, 1) if apart else 1
        )
        seconds[str(member.name)] = one * config.folds.n_splits / at_once
    return seconds


@dataclass(frozen=True)
class Fold:
    """An average fold in numbers.

    Attributes:
        n_rows: Training rows.
        n_held_out: Rows to be predicted.
        n_classes: Classes.
        largest: Training rows of the largest class.
    """

    n_rows: float
    n_held_out: float
    n_classes: int
    largest: float

    @classmethod
    def of(cls, labels: Sequence[str], folds: FoldsConfig) -> Fold:
        """Of rows with these labels."""
        counts = Counter(labels)
        trained = 1 - (folds.holdout if folds.n_splits == 1 else 1 / folds.n_splits)
        n = trained * len(labels)
        return cls(n, len(labels) - n, max(2, len(counts)), trained * max(counts.values(), default=0))

    def products(self, width: int) -> float:
        """Operations that prepare so many columns: inner products of the rows, or of many rows the columns'."""
        return 2 * self.n_rows * min(self.n_rows, 1.5 * width) * width

    def solving(self, member: MemberConfig, width: int) -> float:
        """Operations of a member's head."""
        rank = min(self.n_rows, width)
        if isinstance(member.head, MlpHeadConfig):
            n_passes = member.head.max_epochs * (2 if member.strategy == "flat" else 4)
            return 6 * self.oversampled(member) * rank * sum(member.head.hidden) * n_passes
        auto = isinstance(member.head, LogisticHeadConfig) and member.head.C == "auto"
        # Copies of a row are a weight on it, and rows that a sampler makes are solved with those that it combines.
        times = (
            (1 if member.strategy == "flat" else 1.3)
            * (1.4 if member.sampler.makes_rows else 1)
            * (_CHOOSING if auto else 1)
        )
        return _SOLVING * self.n_rows * rank * math.sqrt(self.n_classes) * times

    def oversampled(self, member: MemberConfig) -> float:
        """Training rows after over-sampling."""
        if member.sampler.kind == "none":
            return self.n_rows
        return max(self.n_rows, self.n_classes * self.largest * getattr(member.sampler, "ratio", 1.0))


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
