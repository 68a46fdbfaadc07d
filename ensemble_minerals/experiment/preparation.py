"""From scanned photos to rows that can be learned from: what shows one object, the split, then the features."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial

from ensemble_minerals.config.schema import Config
from ensemble_minerals.data.manifest import Manifest
from ensemble_minerals.data.same_object.given_pairs import NO_PAIRS, GivenPairs
from ensemble_minerals.experiment.dataset import Dataset, as_dataset, extract, gather_features
from ensemble_minerals.experiment.grouping import group_photos
from ensemble_minerals.experiment.splitting import split
from ensemble_minerals.features.extractor import FeatureExtractor
from ensemble_minerals.features.pooling import Gathered
from ensemble_minerals.system.cache_folder import cache_limit
from ensemble_minerals.system.imports import imported_beside
from ensemble_minerals.system.runtime import Runtime

MANY = 4
"""Photos of each class for each fold, from which on a class hardly has too few objects for the folds."""

_NEXT = tuple(
    f"ensemble_minerals.experiment.{stage}" for stage in ("training", "rejection", "scoring", "saving")
)
"""The stages that follow: to import them, and scikit-learn with them, takes a second."""


def prepare(
    manifest: Manifest,
    config: Config,
    extractors: Mapping[str, FeatureExtractor],
    runtime: Runtime,
    corrected: GivenPairs = NO_PAIRS,
) -> Dataset:
    """Group photos, split them, and compute their features.

    What cannot be split is told before that work, unless each class has so many photos that it hardly happens: a
    photo is then decoded once for the features of all extractors.

    Args:
        manifest: As scanned.
        config: What counts as the same object, folds, how views are pooled.
        extractors: By name.
        runtime: Features are kept in its cache folder.
        corrected: Pairs of rows that people want together or apart.

    Raises:
        DataError: If nothing usable is left, or a class has too few row groups for the folds.
        WeightsError: If a backbone's weights cannot be had.
        ConfigError: If backbones are to be computed in int8, and what that needs is not installed.
    """
    if _is_at_once(manifest, config, extractors):
        limit, rows = cache_limit(), manifest.usable
        # Called after the user's pairs were read, and once.
        gather = cache(partial(_gather, manifest, config, extractors, runtime))
        manifest, found = group_photos(manifest, config, runtime, corrected, gather)
        manifest = split(manifest, config, found.pairs)
        return as_dataset(manifest, gather(), rows, extractors, runtime, limit)
    manifest, found = group_photos(manifest, config, runtime, corrected)
    manifest = split(manifest, config, found.pairs)
    if config.precision == "int8":
        from ensemble_minerals.experiment.quantization import in_int8

        extractors = in_int8(extractors, manifest, config, runtime)
    dataset = extract(manifest, config, extractors, runtime)
    if len(dataset.readable) == len(manifest.usable):
        return dataset
    # Photos that vanished meanwhile may have left a fold without a class.
    return replace(dataset, manifest=split(dataset.manifest, config, found.pairs))


def _gather(
    manifest: Manifest, config: Config, extractors: Mapping[str, FeatureExtractor], runtime: Runtime
) -> Gathered:
    """Features of all usable photos."""
    with imported_beside(*_NEXT):
        return gather_features(manifest, config, extractors, runtime, "Computing features")


def _is_at_once(manifest: Manifest, config: Config, extractors: Mapping[str, FeatureExtractor]) -> bool:
    """Whether all features are computed before photos are compared: each class has many that are learned from."""
    is_compared = config.duplicates.near and config.backbones and config.backbones[0].name in extractors
    if not is_compared or config.precision == "int8":
        return False
    rows = manifest.usable
    labels = manifest.label[rows[manifest.split[rows] != "test"]].tolist()
    return min(Counter(labels).values(), default=0) >= MANY * config.folds.n_splits
