"""How long a fit will take: what is done to each photo is timed on a few, members are counted in operations."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ensemble_minerals.config.members import LogisticHeadConfig, MemberConfig, MlpHeadConfig
from ensemble_minerals.config.schema import Config, FoldsConfig
from ensemble_minerals.data.manifest import Manifest
from ensemble_minerals.data.same_object.finding import ComparedPhotos, find_same_objects
from ensemble_minerals.experiment.dataset import FEATURES
from ensemble_minerals.features.costs import measure_extractors
from ensemble_minerals.features.extraction import SingleThreaded
from ensemble_minerals.features.extractor import FeatureExtractor
from ensemble_minerals.features.pooling import pooling_of
from ensemble_minerals.features.registry import backbones_of, extractor_names
from ensemble_minerals.features.store import FeatureStore
from ensemble_minerals.system import cpu
from ensemble_minerals.system.durations import format_estimate
from ensemble_minerals.system.parallel import single_thread
from ensemble_minerals.system.plural import counted
from ensemble_minerals.system.progress import Silent
from ensemble_minerals.system.runtime import Runtime

_COMPARED, _TIMED = 16, 4
"""Photos that are compared to time that, and those of them that extractors are timed on."""

_CURVE_FITS = 1.5
"""Fits of a fold's training rows that the learning curve takes for each fold: a quarter, half, three quarters."""

_SOLVING = 2700
"""Operations of a logistic regression for each row, column and square root of the number of classes."""

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
        rest: Of what cannot be left out.
    """

    n_missing: int
    features: Mapping[str, float]
    members: Mapping[str, float]
    learning_curve: float = 0.0
    rest: float = 0.0

    def total(self, config: Config) -> float:
        """Seconds of a fit of a configuration or of some of its members, without the learning curve."""
        used = {*extractor_names(config), *backbones_of(config)}
        features = sum(seconds for name, seconds in self.features.items() if name in used)
        return features + sum(self.members[str(m.name)] for m in config.expanded_members()) + self.rest

    def in_words(self, config: Config) -> str:
        """The whole estimate: ``about 21 s: features 3 s (100 photos), members 18 s``."""
        trained = [self.members[str(m.name)] for m in config.expanded_members() if m.network is not None]
        photos = counted(self.n_missing, "photo") if self.n_missing else "stored"
        parts = [
            f"features {format_estimate(sum(self.features.values()))} ({photos})",
            f"members {format_estimate(sum(self.members.values()) - sum(trained))}",
        ]
        if trained:
            parts.append(f"trained networks {format_estimate(sum(trained))} at most")
        # Members of photos that were all seen before may be found in the cache.
        about = "about" if self.n_missing else "at most about"
        return f"{about} {format_estimate(self.total(config) + self.learning_curve)}: {', '.join(parts)}"


def measure_costs(
    config: Config,
    manifest: Manifest,
    extractors: Mapping[str, FeatureExtractor],
    runtime: Runtime,
    *,
    few: int = 0,
) -> Costs:
    """Time what is done to some of the photos that lack features, and estimate all the rest.

    Args:
        config: What would be fitted.
        manifest: The photos.
        extractors: That it needs, by name.
        runtime: Where the fit will run. Features in its cache folder cost nothing.
        few: Up to this number of photos without features none is timed: they are soon done.
    """
    rows = manifest.usable
    ids, first = np.unique(np.array(manifest.feature_ids)[rows], return_index=True)
    lacking = {name: set(ids.tolist()) for name in extractors}
    if runtime.cache_dir is not None:
        with FeatureStore(runtime.cache_dir / FEATURES) as store:
            for name, extractor in extractors.items():
                lacking[name] -= set(store.contains(extractor.fingerprint, ids.tolist()))
    missing = [n for n, one in enumerate(ids.tolist()) if any(one in own for own in lacking.values())]
    features, rest = dict.fromkeys(extractors, 0.0), 0.0
    if len(missing) > few:
        spread = np.linspace(0, len(missing) - 1, min(_COMPARED, len(missing))).astype(np.intp)
        some = rows[first[np.array(missing)[spread]]]
        timed = measure_extractors(
            {name: extractor for name, extractor in extractors.items() if lacking[name]},
            [manifest.file(row) for row in some[:: _COMPARED // _TIMED].tolist()],
            limits=config.data.limits,
            rounds=1,
        )
        # A cluster computes with all its cores what is timed here on those of this machine.
        scale = 1.0 if runtime.is_local else cpu.cores() / runtime.n_tasks
        for name, cost in timed.items():
            at_once = cpu.cores() if isinstance(extractors[name], SingleThreaded) else 1
            features[name] = scale * len(lacking[name]) * (cost.predict_ms or 0.0) / 1000 / at_once
        started = time.perf_counter()
        photos, silent = ComparedPhotos.of(manifest, some), replace(runtime, progress=Silent())
        find_same_objects(photos, config.duplicates, silent, limits=config.data.limits)
        rest = len(missing) * (time.perf_counter() - started) / len(some)
    members = member_seconds(config, manifest, extractors, runtime.n_tasks)
    on_features = [members[str(m.name)] for m in config.expanded_members() if m.network is None]
    # The learning curve is computed on this machine, also where a cluster fits the members.
    curve = _CURVE_FITS * float(np.mean(on_features)) * runtime.n_tasks / cpu.cores() if on_features else 0.0
    return Costs(len(missing), features, members, curve, rest)


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
    rows = manifest.usable[manifest.split[manifest.usable] != "test"]
    fold = Fold.of(manifest.label[rows].tolist(), config.folds)
    rate = multiplication_rate() * n_tasks / config.folds.n_splits
    seconds = {}
    for member in config.expanded_members():
        if (names := member.features) and member.network is None:
            width, times = 0, 1
            for name in names:
                pooling, n_views = pooling_of(config, name), extractors[name].n_views
                width += extractors[name].n_features * (n_views if pooling == "concat" else 1)
                # A member on one backbone may learn from each view as a row.
                times = n_views if pooling == "rows" and len(names) == 1 else 1
            seconds[str(member.name)] = fold.operations(member, width, times) / rate
    return seconds | _network_seconds(config, fold, n_tasks)


def _network_seconds(config: Config, fold: Fold, n_tasks: int) -> dict[str, float]:
    members = [member for member in config.expanded_members() if member.network is not None]
    if not members:
        return {}
    from ensemble_minerals.networks.devices import devices
    from ensemble_minerals.networks.training.cost import measure_training

    # As `train_in_processes` does: cores that no other task takes are threads of each.
    at_once = min(len(members) * config.folds.n_splits, n_tasks if devices()[0] == "cpu" else len(devices()))
    n_threads = max(1, min(n_tasks // at_once, cpu.cores()))
    n_specialists = {"one_vs_rest": fold.n_classes, "hierarchical": fold.n_classes // 2 + 1}
    seconds = {}
    for network in config.networks:
        cost = measure_training(network, fold.n_classes, device=devices()[0], n_threads=n_threads)
        epochs = sum(phase.epochs for phase in network.phases)
        passes = fold.n_held_out * len(network.views) + network.validation_fraction * fold.n_rows * epochs
        for member in members:
            if member.network == network.name:
                trained = fold.oversampled(member) * (1 - network.validation_fraction)
                times = n_specialists.get(member.strategy, 1) if member.specialists == "separate" else 1
                one = times * (trained * cost.training + passes * cost.forward)
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

    def operations(self, member: MemberConfig, width: int, times: int = 1) -> float:
        """Operations of a member's fit: inner products of rows, or of many rows the columns', and its head's.

        Args:
            member: What is fitted.
            width: Its columns.
            times: Rows of a photo.
        """
        n = self.n_rows * times
        rank = min(n, width)
        products = 2 * n * min(n, 1.5 * width) * width
        if isinstance(member.head, MlpHeadConfig):
            n_passes = member.head.max_epochs * (2 if member.strategy == "flat" else 4)
            return products + 6 * self.oversampled(member) * times * rank * sum(member.head.hidden) * n_passes
        auto = isinstance(member.head, LogisticHeadConfig) and member.head.C == "auto"
        return products + _SOLVING * n * rank * math.sqrt(self.n_classes) * (_CHOOSING if auto else 1)

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
