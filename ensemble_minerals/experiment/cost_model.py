"""How long a fit will take: features are timed on a few photos, members are counted in operations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.config.extractors import BackboneConfig
from ensemble_minerals.config.members import MemberConfig
from ensemble_minerals.config.schema import Config
from ensemble_minerals.data.manifest import Manifest
from ensemble_minerals.experiment.dataset import FEATURES
from ensemble_minerals.experiment.fold_shape import FoldShape, multiplication_rate
from ensemble_minerals.features.extraction import ExtractionResult, SingleThreaded, extract_features
from ensemble_minerals.features.extractor import FeatureExtractor
from ensemble_minerals.features.pooling import pooling_of
from ensemble_minerals.features.store import FeatureStore
from ensemble_minerals.members.network_folds import devices
from ensemble_minerals.system import cpu
from ensemble_minerals.system.durations import format_estimate
from ensemble_minerals.system.plural import counted
from ensemble_minerals.system.runtime import Runtime

FEW = 32
"""Up to this number of photos without features none is timed: they are soon done."""

_ROUNDS = (2, 2, 12)
"""Photos of each round of timing: the first loads the networks, the last is for quick extractors."""

_SLOW = 0.25
"""Seconds a photo from which on the second round is enough."""

_COMBINING = 1e-7
"""Seconds of the meta-learner for each photo, member, pair of classes and pair of folds."""

_CURVE_FITS = 1.5
"""Fits of a fold's training rows that the learning curve takes for each fold: a quarter, half, three quarters."""

_DECODING = ""
"""Stands for decoding among the names of extractors."""


@dataclass(frozen=True)
class ExtractorTime:
    """What a feature extractor takes.

    Attributes:
        per_view: Seconds for one view of a photo.
        missing: Photos whose features, with the views as configured, are not stored yet.
        n_views: Views of a photo, as configured.
    """

    per_view: float
    missing: int
    n_views: int = 1


@dataclass(frozen=True)
class Costs:
    """How long the parts of a fit take, measured or modelled, for the whole configuration.

    Attributes:
        n_photos: Photos with different contents.
        extractors: By name.
        members: Seconds of each member in all folds.
        learning_curve: Seconds.
        rest: Seconds of what cannot be left out, such as what has been spent already.
    """

    n_photos: int
    extractors: Mapping[str, ExtractorTime]
    members: Mapping[str, float]
    learning_curve: float = 0.0
    rest: float = 0.0


@dataclass(frozen=True)
class Estimate:
    """How long a fit takes, in seconds.

    Attributes:
        features: All extractors.
        members: Members on features.
        networks: Members on trained networks.
        learning_curve: 0 where it is left out.
        rest: See `Costs`.
    """

    features: float
    members: float
    networks: float
    learning_curve: float
    rest: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.features + self.members + self.networks + self.learning_curve + self.rest


def estimate(config: Config, costs: Costs) -> Estimate:
    """How long the whole of a configuration takes."""
    return estimate_parts(config.expanded_members(), config.backbones, config, costs)


def estimate_parts(
    members: Sequence[MemberConfig],
    backbones: Sequence[BackboneConfig],
    config: Config,
    costs: Costs,
    *,
    learning_curve: bool = True,
) -> Estimate:
    """How long some members of a configuration take on some of its backbones, which may have fewer views.

    Args:
        members: What is fitted.
        backbones: What they use.
        config: The whole configuration.
        costs: Of the whole configuration.
        learning_curve: Whether it is computed.
    """
    configured = {backbone.name: len(backbone.views) for backbone in config.backbones}
    used = {extractor for member in members for extractor in member.features or ()}
    features = 0.0
    for backbone in backbones:
        if backbone.name in used and backbone.name in costs.extractors:
            extractor, n_views = costs.extractors[backbone.name], len(backbone.views)
            # Stored features are of all views together: other views are computed anew.
            photos = extractor.missing if n_views == configured[backbone.name] else costs.n_photos
            features += photos * n_views * extractor.per_view
    features += sum(
        extractor.missing * extractor.n_views * extractor.per_view
        for name, extractor in costs.extractors.items()
        if name in used and name not in configured
    )
    seconds = {member.name: costs.members.get(str(member.name), 0.0) for member in members}
    networks = sum(seconds[member.name] for member in members if member.network)
    curve = costs.learning_curve if learning_curve else 0.0
    return Estimate(features, sum(seconds.values()) - networks, networks, curve, costs.rest)


def describe(config: Config, costs: Costs, estimate: Estimate) -> str:
    """An estimate in words, such as ``about 21 s: features 3 s (1 backbone x 3 views x 100 photos), members 18 s``.

    Args:
        config: The whole configuration.
        costs: How much of it is computed.
        estimate: How long it takes.
    """
    missing = {name: extractor.missing for name, extractor in costs.extractors.items() if extractor.missing}
    computing = [backbone for backbone in config.backbones if backbone.name in missing]
    views = {len(backbone.views) for backbone in computing}
    photos = counted(max(missing.values(), default=0), "photo")
    if computing:
        each = counted(views.pop(), "view") if len(views) == 1 else "several views"
        what = f" ({counted(len(computing), 'backbone')} x {each} x {photos})"
    else:
        what = f" ({photos})" if missing else " (stored)"
    parts = [
        f"features {format_estimate(estimate.features)}{what}",
        f"members {format_estimate(estimate.members)}",
    ]
    if estimate.networks:
        parts.append(f"trained networks {format_estimate(estimate.networks)} at most")
    return f"about {format_estimate(estimate.total)}: {', '.join(parts)}"


def measure_costs(
    config: Config,
    manifest: Manifest,
    extractors: Mapping[str, FeatureExtractor],
    runtime: Runtime,
    *,
    always: bool,
) -> Costs:
    """Time the extractors on some of the photos that lack features, and estimate all the rest.

    Args:
        config: What would be fitted.
        manifest: The photos.
        extractors: That it needs, by name.
        runtime: Where the fit will run. Features of the photos that are timed are kept in its cache folder.
        always: Time the extractors also where only few photos lack features.
    """
    rows = manifest.usable
    ids, first = np.unique(np.array(manifest.feature_ids)[rows], return_index=True)
    with ExitStack() as stack:
        store = None
        if runtime.cache_dir is not None:
            store = stack.enter_context(FeatureStore(runtime.cache_dir / FEATURES))
        missing = {
            name: np.ones(len(ids), dtype=bool)
            if store is None
            else ~np.isin(ids, list(store.contains(extractor.fingerprint, ids.tolist())))
            for name, extractor in extractors.items()
        }
        lacking = (
            np.flatnonzero(np.any(list(missing.values()), axis=0)) if extractors else np.zeros(0, np.intp)
        )
        seconds: dict[str, float] = {}
        if len(lacking) > (0 if always else FEW):
            spread = np.linspace(0, len(lacking) - 1, min(sum(_ROUNDS), len(lacking))).astype(np.intp)
            needed = [extractor for name, extractor in extractors.items() if missing[name].any()]
            timed = rows[first[lacking[spread]]]
            seconds = _time_extractors(manifest, timed, needed, store, config, runtime)
    times = {
        name: ExtractorTime(
            seconds.get(name, 0.0) / extractor.n_views, int(missing[name].sum()), extractor.n_views
        )
        for name, extractor in extractors.items()
    }
    members = member_seconds(config, manifest, extractors, runtime.n_tasks)
    on_features = [members[str(m.name)] for m in config.expanded_members() if m.network is None]
    # The learning curve is computed on this machine, also where a cluster fits the members.
    curve = _CURVE_FITS * float(np.mean(on_features)) * runtime.n_tasks / cpu.cores() if on_features else 0.0
    n_classes = len(set(manifest.label[rows].tolist()))
    combining = _COMBINING * len(rows) * len(members) * (n_classes * config.folds.n_splits) ** 2
    rest = seconds.get(_DECODING, 0.0) * len(lacking) + combining
    return Costs(len(ids), times, members, curve, rest)


def _time_extractors(
    manifest: Manifest,
    rows: NDArray[np.intp],
    extractors: Sequence[FeatureExtractor],
    store: FeatureStore | None,
    config: Config,
    runtime: Runtime,
) -> dict[str, float]:
    """Seconds a photo of each extractor, and of decoding, with all the cores there are."""
    n_threads = cpu.cores()
    # A cluster computes with all its cores what is timed here on those of this machine.
    scale = 1.0 if runtime.is_local else n_threads / runtime.n_tasks
    seconds: dict[str, float] = {}
    start = 0
    for count in _ROUNDS:
        part = rows[start : start + count]
        if start >= len(rows) or (start > _ROUNDS[0] and sum(seconds.values()) > _SLOW):
            break
        extracted = extract_features(
            [manifest.file(row) for row in part.tolist()],
            manifest.image_id[part].tolist(),
            extractors,
            store=store,
            n_threads=n_threads,
            limits=config.data.limits,
            check_contents=True,
        )
        each = _seconds_a_photo(extracted, extractors, n_threads)
        seconds |= {name: scale * value for name, value in each.items()}
        start += count
    return seconds


def _seconds_a_photo(
    extracted: ExtractionResult, extractors: Sequence[FeatureExtractor], n_threads: int
) -> dict[str, float]:
    """Seconds a photo of what was just extracted; extractors that computed nothing are not in it."""
    seconds = {
        extractor.name: extracted.seconds[extractor.name]
        / extracted.n_computed[extractor.name]
        / (n_threads if isinstance(extractor, SingleThreaded) else 1)
        for extractor in extractors
        if extracted.n_computed[extractor.name]
    }
    n_decoded = max(extracted.n_computed.values(), default=0)
    return seconds | ({_DECODING: extracted.decode_seconds / n_decoded / n_threads} if n_decoded else {})


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
    shape = FoldShape.of(manifest.label[manifest.usable].tolist(), config)
    rate = multiplication_rate()
    columns = {
        name: extractor.n_features * (extractor.n_views if pooling_of(config, name) == "concat" else 1)
        for name, extractor in extractors.items()
    }
    seconds: dict[str, float] = {}
    trained: dict[str, tuple[float, float]] = {}
    members = config.expanded_members()
    sharing = Counter(member.features for member in members)
    for member in members:
        if member.network is not None:
            if member.network not in trained:
                trained[member.network] = _network_seconds(config, member.network, shape.n_classes)
            one = shape.training(member, *trained[member.network], config)
            at_once = len(devices()) if devices()[0] != "cpu" else n_tasks
        else:
            width = sum(columns[name] for name in member.features or ())
            one = shape.space(width) / rate / sharing[member.features] + shape.head(member, width) / rate
            at_once = n_tasks
        seconds[str(member.name)] = one * config.folds.n_splits / at_once
    return seconds


def _network_seconds(config: Config, name: str, n_classes: int) -> tuple[float, float]:
    """Seconds of a photo in training, all phases together, and in one forward pass."""
    from ensemble_minerals.networks.training.cost import epoch_seconds, training_seconds

    network = next(network for network in config.networks if network.name == name)
    forward, step = training_seconds(network, n_classes, device=devices()[0])
    return epoch_seconds(network, forward, step), forward
