"""What a random split would say of an ensemble: photos of one object on both sides, as most tools draw it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.bundle.bundle import Bundle
from ensemble_minerals.data.folds import assign_folds
from ensemble_minerals.data.locating import only_at_hand
from ensemble_minerals.data.manifest import Manifest
from ensemble_minerals.experiment.dataset import FEATURES, extract
from ensemble_minerals.experiment.extractors import open_extractors
from ensemble_minerals.experiment.setup import build_ensemble, set_up
from ensemble_minerals.features.extractor import FeatureExtractor
from ensemble_minerals.features.store import FeatureStore
from ensemble_minerals.prediction.predictor import config_with_weights, extractors_in_precision
from ensemble_minerals.system.durations import format_duration
from ensemble_minerals.system.plural import counted
from ensemble_minerals.system.progress import Silent
from ensemble_minerals.system.runtime import Runtime

QUICK = 60.0
"""Seconds that the fit's members may have taken, for their random split to be computed without being asked for."""


@dataclass(frozen=True)
class RandomSplit:
    """Answers to the out-of-fold rows of a fit, by models that may have seen another photo of the same object.

    Attributes:
        proba: Shape (n, n_classes), rows as in `Bundle.out_of_fold`; None where there is none.
        reason: Why there is none; else empty.
    """

    proba: NDArray[np.float64] | None = None
    reason: str = ""


def answer_random_split(
    bundle: Bundle,
    fitted: Manifest,
    files: Mapping[int, Path],
    runtime: Runtime,
    *,
    wanted: bool | None = None,
) -> RandomSplit:
    """Train the members and their combination again, in as many folds, drawn without regard to row groups.

    Args:
        bundle: Of the fit.
        fitted: Its manifest.
        files: Photos at hand, by row of the manifest.
        runtime: Threads, and the cache folder of the fit.
        wanted: Whether to do it; if None, only where the features are in the cache and it is quick.
    """
    rows = bundle.out_of_fold.row
    if wanted is False or (reason := _obstacle(bundle, fitted, rows, files)):
        return RandomSplit(reason="not asked for" if wanted is False else reason)
    config = config_with_weights(bundle).model_copy(update={"refit": False})
    extractors = open_extractors(config, runtime, extractors_in_precision(bundle, config, runtime.cache_dir))
    manifest = only_at_hand(fitted, rows, files)
    if wanted is None and (reason := _too_long(bundle, manifest, extractors, runtime)):
        return RandomSplit(reason=reason)
    dataset = extract(manifest, config, extractors, runtime)
    if len(dataset.readable) < len(rows):
        return RandomSplit(reason="photos of the fit changed meanwhile")
    setup = set_up(dataset, config, replace(runtime, progress=Silent()))
    names = {member.name for member in bundle.fitted_ensemble.members}
    members = [member for member in setup.members if member.name in names]
    labels = fitted.label[rows]
    each = np.arange(len(rows))
    n_splits = len(np.unique(fitted.fold[rows]))
    folds = assign_folds(labels, each, n_splits=n_splits, seed=config.seed)
    ensemble = build_ensemble(config, members, runtime)
    ensemble.fit(setup.row_data(dataset, rows), labels, each, folds)
    return RandomSplit(ensemble.oof_proba_)


def _obstacle(bundle: Bundle, fitted: Manifest, rows: NDArray[np.intp], files: Mapping[int, Path]) -> str:
    """Why there can be no random split of these rows; empty where there can be one."""
    gone = len(rows) - int(np.isin(rows, list(files)).sum())
    obstacles = {
        "the fit has a plain hold-out instead of folds": len(np.unique(fitted.fold[rows])) < 2,
        "the networks of the ensemble would have to be trained once more": bool(bundle.networks),
        "no two photos show the same object, so that it would say the same": len(
            np.unique(fitted.row_group[rows])
        )
        == len(rows),
        f"{counted(gone, 'photo')} of the fit not at hand; --photos says where they are now": gone > 0,
    }
    return next((reason for reason, found in obstacles.items() if found), "")


def _too_long(
    bundle: Bundle, manifest: Manifest, extractors: Mapping[str, FeatureExtractor], runtime: Runtime
) -> str:
    """Why it is not done without being asked for; empty where it is quick."""
    seconds = float(bundle.metrics["seconds"].get("members", 0.0))
    if seconds > QUICK:
        return (
            f"it takes as long as the members of the fit, {format_duration(seconds)}; --random-split does it"
        )
    if not _all_stored(manifest, extractors, runtime):
        return "the features of the photos are not in the cache; --random-split computes them"
    return ""


def _all_stored(manifest: Manifest, extractors: Mapping[str, FeatureExtractor], runtime: Runtime) -> bool:
    if runtime.cache_dir is None or not (runtime.cache_dir / FEATURES).is_file():
        return False
    ids = np.array(manifest.feature_ids)[manifest.usable].tolist()
    with FeatureStore(runtime.cache_dir / FEATURES) as store:
        return all(
            store.contains(extractor.fingerprint, ids) >= set(ids) for extractor in extractors.values()
        )
