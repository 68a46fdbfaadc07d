"""How long a fit will take: what is done to each photo is timed on a few, members are counted in operations."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.config.members import MemberConfig
from ensemble_minerals.config.schema import Config
from ensemble_minerals.data.manifest import Manifest
from ensemble_minerals.data.same_object.finding import ComparedPhotos, find_same_objects
from ensemble_minerals.experiment.dataset import FEATURES
from ensemble_minerals.experiment.fold_shape import FoldShape, multiplication_rate
from ensemble_minerals.experiment.grouping import computes_all_views
from ensemble_minerals.features.extraction import SingleThreaded, extract_features
from ensemble_minerals.features.extractor import FeatureExtractor
from ensemble_minerals.features.pooling import pooling_of
from ensemble_minerals.features.store import FeatureStore
from ensemble_minerals.members.network_folds import devices
from ensemble_minerals.system import cpu
from ensemble_minerals.system.durations import format_estimate
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

_THREAD = 0.6
"""What a thread more brings to the training of a network, as a share of the first."""

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
        rest: All else.
    """

    features: float
    members: float
    networks: float
    rest: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.features + self.members + self.networks + self.rest


def estimate(config: Config, costs: Costs, *, learning_curve: bool = True) -> Estimate:
    """How long a configuration takes.

    Args:
        config: The one whose costs are known, or less: fewer members, backbones or views.
        costs: Of the whole configuration.
        learning_curve: Whether it is computed.
    """
    members = config.expanded_members()
    used = {name for member in members for name in member.features or ()}
    n_views = {backbone.name: len(backbone.views) for backbone in config.backbones}
    features = 0.0
    for name, one in costs.extractors.items():
        if name in used:
            views = n_views.get(name, one.n_views)
            # Stored features are of all views together: other views are computed anew.
            photos = one.missing if views == one.n_views else costs.n_photos
            features += photos * views * one.per_view
    seconds = [costs.members.get(str(member.name), 0.0) for member in members]
    networks = sum(one for member, one in zip(members, seconds, strict=True) if member.network)
    curve = costs.learning_curve if learning_curve else 0.0
    return Estimate(features, sum(seconds) - networks, networks, curve + costs.rest)


def describe(config: Config, costs: Costs) -> str:
    """An estimate in words: ``about 21 s: features 3 s (1 backbone x 3 views x 100 photos), members 18 s``."""
    estimated = estimate(config, costs)
    missing = {name: one.missing for name, one in costs.extractors.items() if one.missing}
    views = [len(backbone.views) for backbone in config.backbones if backbone.name in missing]
    photos = counted(max(missing.values(), default=0), "photo")
    if views:
        each = counted(views[0], "view") if len(set(views)) == 1 else "several views"
        what = f" ({counted(len(views), 'backbone')} x {each} x {photos})"
    else:
        what = f" ({photos})" if missing else " (stored)"
    parts = [
        f"features {format_estimate(estimated.features)}{what}",
        f"members {format_estimate(estimated.members)}",
    ]
    if estimated.networks:
        parts.append(f"trained networks {format_estimate(estimated.networks)} at most")
    return f"about {format_estimate(estimated.total)}: {', '.join(parts)}"


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
        lacking = np.flatnonzero(np.any([*missing.values(), np.zeros(len(ids), bool)], axis=0))
        seconds: dict[str, float] = {}
        same_object = 0.0
        if len(lacking) > (0 if always else FEW):
            spread = np.linspace(0, len(lacking) - 1, min(_WARM_UP + _TIMED, len(lacking))).astype(np.intp)
            needed = [extractor for name, extractor in extractors.items() if missing[name].any()]
            timed = rows[first[lacking[spread]]]
            seconds = _time_extractors(manifest, timed, needed, store, config, runtime)
            same_object = len(lacking) * _same_object_seconds(manifest, timed, config, runtime)
    times = {
        name: ExtractorTime(
            seconds.get(name, 0.0) / extractor.n_views, int(missing[name].sum()), extractor.n_views
        )
        for name, extractor in extractors.items()
    }
    own_view = config.duplicates.near and not computes_all_views(config, runtime)
    if own_view and config.backbones and config.backbones[0].name in times:
        # Likely pairs are proposed by one view of the first backbone.
        same_object += len(lacking) * times[config.backbones[0].name].per_view
    members = member_seconds(config, manifest, extractors, runtime.n_tasks)
    on_features = [members[str(m.name)] for m in config.expanded_members() if m.network is None]
    # The learning curve is computed on this machine, also where a cluster fits the members.
    curve = _CURVE_FITS * float(np.mean(on_features)) * runtime.n_tasks / cpu.cores() if on_features else 0.0
    n_classes = len(set(manifest.label[rows].tolist()))
    left_out = 1 + math.comb(config.folds.n_splits + 1, 2)
    combining = _COMBINING * len(rows) * len(members) * n_classes * left_out / cpu.cores()
    decoding = len(lacking) * seconds.get(_DECODING, 0.0)
    return Costs(len(ids), times, members, curve, decoding + same_object + combining)


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
    extractors: Sequence[FeatureExtractor],
    store: FeatureStore | None,
    config: Config,
    runtime: Runtime,
) -> dict[str, float]:
    """Seconds a photo of each extractor that computes something, and of decoding, with all the cores there are."""
    n_threads = cpu.cores()
    # A cluster computes with all its cores what is timed here on those of this machine.
    scale = 1.0 if runtime.is_local else n_threads / runtime.n_tasks
    seconds: dict[str, float] = {}
    for part in filter(len, (rows[:_WARM_UP], rows[_WARM_UP:])):
        extracted = extract_features(
            [manifest.file(row) for row in part.tolist()],
            manifest.image_id[part].tolist(),
            extractors,
            store=store,
            n_threads=n_threads,
            limits=config.data.limits,
            check_contents=True,
        )
        for extractor in extractors:
            if n_computed := extracted.n_computed[extractor.name]:
                at_once = n_threads if isinstance(extractor, SingleThreaded) else 1
                seconds[extractor.name] = scale * extracted.seconds[extractor.name] / n_computed / at_once
        n_decoded = max(extracted.n_computed.values(), default=0)
        seconds[_DECODING] = scale * extracted.decode_seconds / max(n_decoded, 1) / n_threads
    return seconds


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
    shape = FoldShape.of(manifest.label[rows[manifest.split[rows] != "test"]].tolist(), config)
    rate = multiplication_rate()
    columns = {
        name: extractor.n_features * (extractor.n_views if pooling_of(config, name) == "concat" else 1)
        for name, extractor in extractors.items()
    }
    seconds: dict[str, float] = {}
    trained: dict[str, tuple[float, float]] = {}
    members = config.expanded_members()
    sharing = Counter(name for member in members for name in member.features or ())
    n_networks = sum(member.network is not None for member in members)
    for member in members:
        if member.network is not None:
            if member.network not in trained:
                trained[member.network] = _network_seconds(config, member.network, shape.n_classes)
            one = shape.training(member, *trained[member.network], config)
            at_once = _networks_at_once(n_networks * config.folds.n_splits, n_tasks)
        else:
            width = sum(columns[name] for name in member.features or ())
            viewed = shape.in_views(_views_as_rows(config, member))
            space = sum(viewed.space(columns[name]) / sharing[name] for name in member.features or ())
            one = (space + viewed.head(member, width)) / rate
            at_once = n_tasks
        seconds[str(member.name)] = one * config.folds.n_splits / at_once
    return seconds


def _views_as_rows(config: Config, member: MemberConfig) -> int:
    """Training rows of a photo: its views, where a member learns from each."""
    by_name = {backbone.name: backbone for backbone in config.backbones}
    own = [by_name[name] for name in member.features or () if name in by_name]
    return len(own[0].views) if len(member.features or ()) == 1 and own and own[0].pooling == "rows" else 1


def _networks_at_once(n_trained: int, n_tasks: int) -> float:
    """Networks that train at once; fewer than there are cores have several threads each and count for more."""
    if devices()[0] != "cpu":
        return min(n_trained, len(devices()))
    at_once = min(n_trained, n_tasks)
    return at_once * (1 + _THREAD * (n_tasks // at_once - 1))


def _network_seconds(config: Config, name: str, n_classes: int) -> tuple[float, float]:
    """Seconds of a photo in training, all phases together, and in one forward pass."""
    from ensemble_minerals.networks.training.cost import epoch_seconds, training_seconds

    network = next(network for network in config.networks if network.name == name)
    forward, step = training_seconds(network, n_classes, device=devices()[0])
    return epoch_seconds(network, forward, step), forward
