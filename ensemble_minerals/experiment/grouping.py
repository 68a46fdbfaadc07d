"""The stage that finds photos of the same object, before the bulk of the features is computed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ensemble_minerals.config.schema import Config
from ensemble_minerals.data.contamination import leave_out_contaminated
from ensemble_minerals.data.manifest import Manifest, Status
from ensemble_minerals.data.same_object.finding import ComparedPhotos, find_same_objects
from ensemble_minerals.data.same_object.given_pairs import NO_PAIRS, GivenPairs, read_given_pairs
from ensemble_minerals.data.same_object.groups import SameObjectReport
from ensemble_minerals.experiment.dataset import gather_features, mark_unreadable
from ensemble_minerals.features.pooling import Gathered
from ensemble_minerals.features.registry import build_extractors, precision_for
from ensemble_minerals.system.memmap import take
from ensemble_minerals.system.runtime import Runtime

EMBEDDING_VIEWS = ("squash",)
"""Views of an only backbone that propose which photos are compared: the whole photo."""


def group_photos(
    manifest: Manifest,
    config: Config,
    runtime: Runtime,
    corrected: GivenPairs = NO_PAIRS,
    gather: Callable[[], Gathered] | None = None,
) -> tuple[Manifest, SameObjectReport]:
    """Fill in row groups, one for each object; set exact copies and contradictory labels aside.

    Args:
        manifest: As scanned.
        config: What counts as the same object, and the backbone whose embeddings propose pairs.
        runtime: Embeddings and local features are kept in its cache folder.
        corrected: Pairs of rows that people want together or apart, besides those of the configuration.
        gather: See `compared_photos`.

    Returns:
        The manifest, and what was found, in rows of the manifest.

    Raises:
        DataError: If the user's pairs of photos cannot be read, or contradict each other.
        WeightsError: If the first backbone's weights cannot be had.
    """
    path = config.duplicates.pairs
    given = NO_PAIRS if path is None else read_given_pairs(Path(path), manifest)
    given = given.and_also(corrected)
    manifest, photos, rows = compared_photos(manifest, config, runtime, gather)
    report = find_same_objects(
        photos,
        config.duplicates,
        runtime,
        limits=config.data.limits,
        given=given.among({row: position for position, row in enumerate(rows.tolist())}),
        n_folds=config.folds.n_splits,
    )
    report = report.at(rows, len(manifest))
    return apply_groups(manifest, report, config), report


def compared_photos(
    manifest: Manifest,
    config: Config,
    runtime: Runtime,
    gather: Callable[[], Gathered] | None = None,
) -> tuple[Manifest, ComparedPhotos, np.ndarray[tuple[int], np.dtype[np.intp]]]:
    """The usable photos with their embeddings, ready to be compared; see `group_photos`.

    Args:
        manifest: As scanned.
        config: What counts as the same object, and the backbone whose embeddings propose pairs.
        runtime: Features are kept in its cache folder.
        gather: Gives features of the usable photos, with embeddings by the first backbone; where it is None, these
            alone are computed.

    Returns:
        The manifest, in which photos that changed since the scan have their reason; the photos; and their rows.
    """
    rows = manifest.usable
    aside = manifest.split == "test"  # stays as it was published: neither copies nor conflicts
    if not (config.backbones and config.duplicates.near):
        return manifest, ComparedPhotos.of(manifest, rows, aside=aside[rows]), rows
    gathered = _gather_embeddings(manifest, config, runtime) if gather is None else gather()
    kept = np.setdiff1d(np.arange(len(rows)), list(gathered.errors))
    embeddings = None if gathered.embeddings is None else take(gathered.embeddings, kept)
    manifest = mark_unreadable(manifest, rows, gathered.errors)
    rows = rows[kept]
    return manifest, ComparedPhotos.of(manifest, rows, embeddings, aside=aside[rows]), rows


def _gather_embeddings(manifest: Manifest, config: Config, runtime: Runtime) -> Gathered:
    """Features by the first backbone."""
    first = config.backbones[0]
    # The first of several backbones gets all its views, which the features then find in the cache.
    if len(config.backbones) == 1 or runtime.cache_dir is None:
        first = first.model_copy(update={"views": EMBEDDING_VIEWS})
    described = config.model_copy(update={"backbones": (first,)})
    precision = precision_for(config, len(manifest.usable))
    extractors = build_extractors(described, [first.name], cache_dir=runtime.cache_dir, precision=precision)
    return gather_features(manifest, described, extractors, runtime, "Looking for photos of one object")


def apply_groups(manifest: Manifest, report: SameObjectReport, config: Config) -> Manifest:
    """Write what was found into the manifest: row groups, exact copies, contradictory labels, contaminated photos.

    Args:
        manifest: The photos.
        report: In rows of the manifest.
        config: Whether exact copies are set aside, and photos of the training part that show what is tested.
    """
    status, reason = manifest.status.tolist(), manifest.reason.tolist()
    if config.duplicates.exact == "drop":
        for row in report.copies.tolist():
            status[row] = Status.DUPLICATE.value
            reason[row] = "exact copy of an earlier photo of the same class"
    for row in report.conflicts.tolist():
        status[row] = Status.CONFLICT.value
        reason[row] = "another class holds the same photo"
    grouped = manifest.replace(status=status, reason=reason, row_group=report.row_group)
    return leave_out_contaminated(grouped) if config.folds.contaminated == "leave_out" else grouped
