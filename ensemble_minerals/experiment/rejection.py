"""The stage that learns which photos show none of the classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from ensemble_minerals.config.schema import Config
from ensemble_minerals.data.decoding import photo_digest
from ensemble_minerals.data.fold_inputs import FoldInputs
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
from ensemble_minerals.members.rows import RowData, are_many
from ensemble_minerals.system.parallel import single_thread
from ensemble_minerals.system.runtime import Runtime
from ensemble_minerals.system.sealed import read_sealed_pair, write_sealed_pair

NOT_LEARNED = (
    "photos that show none of the classes will not be told: "
    "without frozen features that takes answers to several folds"
)
"""Said where networks alone were trained once, and scored on a plain hold-out."""

FloatMatrix = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Begun:
    """A rejection that is being learned while members are fitted.

    Attributes:
        features: Names of all frozen extractors: most often each counts in the ensemble.
        fitted: What comes of it.
    """

    features: list[str]
    fitted: Future[FittedRejection]


@contextmanager
def begin_rejection(
    dataset: Dataset, config: Config, runtime: Runtime, strangers: Sequence[Path] = ()
) -> Iterator[Begun | None]:
    """Learn a rejection in threads beside the block, in which members on features are fitted.

    Those wait for each other in the interpreter, and leave cores to a rejection, which is hardly ever in it.

    Yields:
        None where nothing is learned ahead: with one thread, or by a deadline, which is that of members; where
        networks are trained, which take all cores; where rows are so many that memory counts; and where there are
        strangers, whose features are computed first.
    """
    is_apart = strangers or any(member.network for member in config.members) or are_many(len(dataset.rows))
    is_free = runtime.n_jobs > 1 and runtime.deadline is None
    if is_apart or not is_free or config.rejection is None or not can_be_fitted(dataset.inputs):
        yield None
        return
    runtime = replace(runtime, n_jobs=runtime.n_jobs // 2)
    pool = ThreadPoolExecutor(1, thread_name_prefix="rejection")
    try:
        with single_thread:
            names = list(dataset.features)
            yield Begun(names, pool.submit(_learn_from_features, names, dataset, config, runtime))
    finally:
        pool.shutdown(wait=False)  # an error of the block is told at once


def learn_rejection(
    trained: Trained,
    dataset: Dataset,
    config: Config,
    runtime: Runtime,
    strangers: Sequence[Path] = (),
    begun: Begun | None = None,
) -> FittedRejection | None:
    """Learn from the features of the frozen extractors that count in the ensemble; from its answers if none does.

    Args:
        trained: The ensemble.
        dataset: The photos.
        config: How much is refused; nothing is learned where it says null, or where it cannot be learned.
        runtime: Threads, and where features are kept.
        strangers: Photos that show none of the classes.
        begun: What is taken where it learns from the same features.

    Raises:
        DataError: If there are strangers, and none can be read.
    """
    if config.rejection is None:
        return None
    names = _frozen_features(trained.ensemble, dataset)
    if begun is not None and begun.features == names:
        return begun.fitted.result()
    answered = trained.ensemble.out_of_fold_.take(trained.ensemble.answered_)
    if not can_be_fitted(dataset.inputs if names else answered.known):
        runtime.progress.note(NOT_LEARNED)
        return None
    if names:
        return _learn_from_features(names, dataset, config, runtime, strangers)
    return _learn({ANSWERS: centered(answered.log_proba())}, answered.known, config, runtime)


def _learn_from_features(
    names: Sequence[str], dataset: Dataset, config: Config, runtime: Runtime, strangers: Sequence[Path] = ()
) -> FittedRejection:
    blocks = dataset.blocks(dataset.rows)
    others = _features_of(strangers, [dataset.extractors[name] for name in names], config, runtime)
    return _learn({name: blocks[name] for name in names}, dataset.inputs, config, runtime, others)


def _learn(
    matrices: Mapping[str, FloatMatrix],
    known: FoldInputs,
    config: Config,
    runtime: Runtime,
    strangers: Mapping[str, FloatMatrix] | None = None,
) -> FittedRejection:
    """Learn from matrices of rows, or find what was learned from the same in the cache."""
    assert config.rejection is not None
    refuse, file = config.rejection.refuse, None
    cached = CachedRows.open(runtime.cache_dir, RowData(matrices), known) if strangers is None else None
    if cached is not None:
        file = cached.file([*matrices], "rejection", refuse)
        if (sealed := read_sealed_pair(file)) is not None:
            rejection = Rejection.read(tuple(matrices), refuse, load(sealed[1]), len(known.classes))
            return FittedRejection(rejection, sealed[0])
    fitted = fit_rejection(
        matrices,
        known,
        refuse=refuse,
        strangers=strangers,
        leave_out=ANSWERS not in matrices,
        n_jobs=runtime.n_jobs,
    )
    if file is not None:
        write_sealed_pair(file, fitted.left_out, save(fitted.rejection.arrays()), durable=False)
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
