"""What a student learns from: the photos of a fit, their labels, and the ensemble's out-of-fold answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ensemble_minerals.bundle.bundle import Bundle
from ensemble_minerals.data.corrections import Corrections
from ensemble_minerals.data.locating import locate_photos
from ensemble_minerals.data.manifest import Manifest
from ensemble_minerals.ensemble.oof import OutOfFold
from ensemble_minerals.errors import DataError
from ensemble_minerals.prediction.corrected_rows import correct_rows


@dataclass(frozen=True)
class DistillationData:
    """What students learn from, row by row.

    Attributes:
        files: The photos, n of them.
        image_ids: Digests of their contents.
        teacher: What the ensemble answered for them out of fold, and their classes, row groups and folds.
        folders: Where the photos lie; not the folder of a CSV, which may hold anything else.
        manifest: All photos of the fit.
        notes: What corrections did.
    """

    files: tuple[Path, ...]
    image_ids: tuple[str, ...]
    teacher: OutOfFold
    folders: tuple[Path, ...] = ()
    manifest: Manifest | None = None
    notes: tuple[str, ...] = ()


def read_distillation_data(
    bundle: Bundle, photos: Path | None = None, corrections: Corrections | None = None
) -> DistillationData:
    """Photos and out-of-fold answers of a fit.

    Args:
        bundle: The fit.
        photos: Where its photos are now, if they were moved.
        corrections: Of people, later than the fit.

    Raises:
        DataError: If the corrections cannot be used, there are no out-of-fold answers, or photos are missing or were
            replaced.
    """
    root = bundle.photo_root if photos is None else photos
    manifest, teacher = bundle.manifest(root), bundle.out_of_fold
    notes: tuple[str, ...] = ()
    if corrections is not None:
        later = correct_rows(bundle, root, corrections)
        manifest, teacher, notes = later.manifest, later.answers, later.notes
    if len(np.unique(teacher.known.folds)) < 2:
        raise DataError(
            f"{bundle.path} has no out-of-fold answers to learn from: it was fitted with a plain hold-out; fit again "
            "with folds"
        )
    located = locate_photos(manifest)
    rows = teacher.row.tolist()
    changed = sorted(set(rows) & set(located.changed))
    if changed:
        raise DataError(
            f"{manifest.file(changed[0])} is not the photo of the fit any more; restore it, or fit again"
        )
    missing = [row for row in rows if row not in located.files]
    if missing:
        raise DataError(
            f"{len(missing)} of the {len(rows)} photos of the fit are not there any more (for example "
            f"{manifest.file(missing[0])}); give the folder that the bundle was fitted on, wherever it is now, with "
            "--photos"
        )
    files = tuple(located.files[row] for row in rows)
    folders = {file.parent for file in files} - {bundle.photo_root}
    if photos is not None:
        folders.add(photos)
    image_ids = tuple(manifest.image_id[rows].tolist())
    return DistillationData(files, image_ids, teacher, tuple(sorted(folders)), manifest, notes)
