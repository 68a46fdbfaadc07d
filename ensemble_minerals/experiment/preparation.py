"""From scanned photos to rows that can be learned from: what shows one object, the split, then the features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ensemble_minerals.config.schema import Config
from ensemble_minerals.data.manifest import Manifest
from ensemble_minerals.data.same_object.given_pairs import NO_PAIRS, GivenPairs
from ensemble_minerals.experiment.dataset import Dataset, extract
from ensemble_minerals.experiment.grouping import group_photos
from ensemble_minerals.experiment.quantization import in_int8
from ensemble_minerals.experiment.splitting import split
from ensemble_minerals.features.extractor import FeatureExtractor
from ensemble_minerals.system.runtime import Runtime


def prepare(
    manifest: Manifest,
    config: Config,
    extractors: Mapping[str, FeatureExtractor],
    runtime: Runtime,
    corrected: GivenPairs = NO_PAIRS,
) -> Dataset:
    """Group photos, split them, and compute their features: what cannot be split is told before that work.

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
    manifest, found = group_photos(manifest, config, runtime, corrected)
    manifest = split(manifest, config, found.pairs)
    if config.precision == "int8":
        extractors = in_int8(extractors, manifest, config, runtime)
    dataset = extract(manifest, config, extractors, runtime)
    if len(dataset.readable) == len(manifest.usable):
        return dataset
    # Photos that vanished meanwhile may have left a fold without a class.
    return replace(dataset, manifest=split(dataset.manifest, config, found.pairs))
