"""The stage that learns which photos show none of the classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from ensemble_minerals.config.schema import Config
from ensemble_minerals.data.decoding import photo_digest
from ensemble_minerals.ensemble.combination import centered
from ensemble_minerals.ensemble.rejection import ANSWERS, Rejection, refused
from ensemble_minerals.ensemble.rejection_fit import FittedRejection, can_be_fitted, fit_rejection
from ensemble_minerals.ensemble.stacked import StackedEnsemble
from ensemble_minerals.errors import DataError, ImageError
from ensemble_minerals.experiment.dataset import Dataset
from ensemble_minerals.experiment.training import Trained
from ensemble_minerals.features.extraction import extract_features
from ensemble_minerals.features.extractor import FeatureExtractor
from ensemble_minerals.features.pooling import gather, pooling_of
from ensemble_minerals.members.cached_rows import CachedRows
from ensemble_minerals.members.rows import RowData
from ensemble_minerals.system.runtime import Runtime
from ensemble_minerals.system.sealed import read_sealed_pair, write_sealed_pair

NOT_LEARNED = (
    "photos that show none of the classes will not be told: "
    "without frozen features that takes answers to several folds"
)
"""Said where networks alone were trained once, and scored on a plain hold-out."""

FloatMatrix = NDArray[np.floating[Any]]


def learn_rejection(
    trained: Trained, dataset: Dataset, config: Config, runtime: Runtime, strangers: Sequence[Path] = ()
) -> FittedRejection | None:
    """Learn from the features of the frozen extractors that count in the ensemble; from its answers if none does.

    Args:
        trained: The ensemble.
        dataset: The photos.
        config: How much is refused; nothing is learned where it says null, or where it cannot be learned.
        runtime: Threads, and where features are kept.
        strangers: Photos that show none of the classes.

    Raises:
        DataError: If there are strangers, and none can be read.
    """
    if config.rejection is None:
        return None
    names = _frozen_features(trained.ensemble, dataset)
    if names:
        blocks = dataset.blocks(dataset.rows)
        matrices = {name: blocks[name] for name in names}
        others = _features_of(strangers, [dataset.extractors[name] for name in names], config, runtime)
    else:
        answered = trained.ensemble.out_of_fold_.take(trained.ensemble.answered_)
        matrices, others = {ANSWERS: centered(answered.log_proba())}, None
    known = dataset.inputs if names else answered.known
    if not can_be_fitted(known):
        runtime.progress.note(NOT_LEARNED)
        return None
    refuse, file = config.rejection.refuse, None
    cached = CachedRows.open(runtime.cache_dir, RowData(matrices), known) if others is None else None
    if cached is not None:
        file = cached.file([*matrices], "rejection", refuse)
        if (sealed := read_sealed_pair(file)) is not None:
            rejection = Rejection.read(tuple(matrices), refuse, load(sealed[1]), len(known.classes))
            return FittedRejection(rejection, sealed[0])
    fitted = fit_rejection(
        matrices, known, refuse=refuse, strangers=others, leave_out=bool(names), n_jobs=runtime.n_jobs
    )
    if file is not None:
        write_sealed_pair(file, fitted.left_out, save(fitted.rejection.arrays()))
    return fitted


def rejection_figures(fitted: FittedRejection, strangers: Sequence[Path]) -> dict[str, Any]:
    """What ``metrics.json`` says under ``rejection``.

    Args:
        fitted: The rejection.
        strangers: Photos that the user gave as strangers.

    Returns:
        JSON values: ``left_out``, the AUROC of each class against the others by models that did not know it, and
        ``refused``, the share of the photos of the fit that is refused, each compared with photos of other folds;
        ``strangers``, digests of the strangers.
    """
    rejection = fitted.rejection
    return {
        "features": list(rejection.features),
        "weights": rejection.weight.tolist(),
        "left_out": fitted.left_out,
        "refused": float(refused(rejection.of_rows, rejection.refuse).mean()),
        "strangers": sorted({digest for file in strangers if (digest := _digest(file))}),
    }


def _digest(file: Path) -> str:
    """Digest of a file; empty where it cannot be read."""
    try:
        return photo_digest(file)
    except ImageError:
        return ""


def _frozen_features(ensemble: StackedEnsemble, dataset: Dataset) -> list[str]:
    """Frozen extractors whose features a member with a weight takes."""
    fitted = ensemble.fitted_ensemble_
    weight = fitted.combination.weight_of_members(len(fitted.members))
    used = {
        name
        for member, own in zip(fitted.members, weight, strict=True)
        if own > 0
        for name in member.features
    }
    return [name for name in dataset.features if name in used]


def _features_of(
    files: Sequence[Path], extractors: Sequence[FeatureExtractor], config: Config, runtime: Runtime
) -> Mapping[str, FloatMatrix] | None:
    """Features of photos that are not of the data set; those that cannot be read are left out with a note."""
    if not files:
        return None
    compute = partial(extract_features, n_threads=runtime.n_jobs, limits=config.data.limits)
    gathered = gather(
        compute,
        files,
        [""] * len(files),
        extractors,
        {extractor.name: pooling_of(config, extractor.name) for extractor in extractors},
        progress=runtime.progress.stage("Computing features of strangers"),
    )
    readable = np.setdiff1d(np.arange(len(files)), list(gathered.errors))
    if not readable.size:
        first = gathered.errors[0]
        raise DataError(f"none of the {len(files):,} files of the strangers is a photo; {files[0]}: {first}")
    if gathered.errors:
        runtime.progress.note(
            f"{len(gathered.errors):,} of {len(files):,} files of the strangers cannot be read"
        )
    return {name: values[readable] for name, values in gathered.features.items()}
