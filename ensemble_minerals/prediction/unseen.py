"""Which labeled photos a fit has not seen: neither they nor another photo of the same object took part in it.

The rule is that of the fit's own folds. It needs the photos of the fit; where they are not at hand, only digests and
hashes are compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ensemble_minerals.config.schema import Config
from ensemble_minerals.data.folds import TRAINING_FOLD
from ensemble_minerals.data.locating import only_at_hand
from ensemble_minerals.data.manifest import Manifest, Status
from ensemble_minerals.data.same_object.finding import ComparedPhotos, find_same_objects
from ensemble_minerals.data.same_object.groups import SameObjectReport
from ensemble_minerals.experiment.grouping import compared_photos
from ensemble_minerals.system.runtime import Runtime

_WHY = {
    "fit": "took part in the fit, or show the same picture or object as a photo that did",
    "unknown": "are labeled with a class that the bundle does not know",
    "copies": "are copies of another photo of the folder",
    "conflicts": "show the same photo under two classes",
}
"""Why photos are not scored, by kind."""

_REASONS = {
    "copies": (Status.DUPLICATE, "exact copy of another photo of its class"),
    "fit": (Status.EXCLUDED, "took part in the fit, or shows the same picture or object as a photo that did"),
    "conflicts": (Status.CONFLICT, "another class holds the same photo"),
    "unknown": (Status.EXCLUDED, "its class is not one of the bundle's"),
}
"""Status and reason of a row that is not scored, by kind; a later kind wins."""


@dataclass(frozen=True)
class UnseenPhotos:
    """Labeled photos, of which those that must not be scored are marked.

    Attributes:
        manifest: With row groups, statuses and reasons.
        of_fit: How many took part in the fit or show what a photo of it shows.
        notes: What is not scored, and what could not be compared, one sentence each.
    """

    manifest: Manifest
    of_fit: int
    notes: tuple[str, ...]


def mark_seen(
    new: Manifest,
    fitted: Manifest,
    files: Mapping[int, Path],
    classes: tuple[str, ...],
    config: Config,
    runtime: Runtime,
) -> UnseenPhotos:
    """Group labeled photos together with those of a fit, and mark those that must not be scored.

    Args:
        new: The labeled photos, as scanned.
        fitted: The manifest of the fit.
        files: Photos of the fit that are at hand, by row of its manifest.
        classes: Those of the bundle.
        config: Of the fit.
        runtime: Threads, progress, and the cache folder.
    """
    trained = np.flatnonzero((fitted.fold >= 0) | (fitted.fold == TRAINING_FOLD))
    at_hand = only_at_hand(fitted, trained, files)
    _, known, rows_of_fit = compared_photos(at_hand, config, runtime)
    new, photos, rows = compared_photos(new, config, runtime)
    known = replace(known, path=fitted.path[rows_of_fit])
    photos = replace(photos, aside=None)
    found = _compare(known, photos, config, runtime)
    n_known = len(rows_of_fit)
    groups = found.row_group[n_known:]
    of_fit = np.isin(groups, found.row_group[:n_known])
    gone = np.setdiff1d(trained, rows_of_fit)
    if gone.size:
        lost = ComparedPhotos.of(fitted, gone, files=[None] * len(gone))
        group = _compare(lost, photos, config, runtime).row_group
        of_fit |= np.isin(group[len(gone) :], group[: len(gone)])
        of_fit = np.isin(groups, groups[of_fit])
    marks = {
        "copies": found.copies - n_known,
        "fit": np.flatnonzero(of_fit),
        "conflicts": found.conflicts - n_known,
        "unknown": np.flatnonzero(~np.isin(new.label[rows], classes)),
    }
    status, reason, kinds = new.status.tolist(), new.reason.tolist(), {}
    for kind, (mark, why) in _REASONS.items():
        for row in rows[marks[kind]].tolist():
            status[row], reason[row], kinds[row] = mark.value, why, kind
    group_of_row = np.full(len(new), -1, dtype=np.int64)
    group_of_row[rows] = groups
    counted = Counter(kinds.values())
    notes = [f"Not scored: {counted[kind]:,} that {why}." for kind, why in _WHY.items() if counted[kind]]
    if gone.size:
        notes.append(
            f"{len(gone):,} of the {len(trained):,} photos of the fit are not at hand, and were compared by digests "
            "and hashes alone: other photos of their objects may be among those scored; --photos says where they are "
            "now."
        )
    marked = new.replace(status=status, reason=reason, row_group=group_of_row)
    return UnseenPhotos(marked, counted["fit"], tuple(notes))


def _compare(
    known: ComparedPhotos, new: ComparedPhotos, config: Config, runtime: Runtime
) -> SameObjectReport:
    """Compare new photos with known ones and each other; only new ones may be copies or conflicts."""
    n = len(known)  # groups that two tables name alike are not the same
    aside = replace(known, aside=np.ones(n, dtype=bool), given_group=np.full(n, ""))
    return find_same_objects(
        aside.followed_by(new), config.duplicates, runtime, limits=config.data.limits, n_known=n
    )
