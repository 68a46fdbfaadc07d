"""What a student learns from: the photos of a fit, their labels, and the ensemble's out-of-fold answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.bundle.bundle import Bundle
from ensemble_minerals.data.decoding import photo_digest
from ensemble_minerals.data.manifest import Manifest
from ensemble_minerals.errors import DataError


@dataclass(frozen=True)
class DistillationData:
    """What students learn from, row by row.

    Attributes:
        files: The photos.
        row: Position of each row in the teacher's manifest, (n,).
        y: Class positions, (n,).
        groups: Row groups, (n,).
        fold: Fold of each row in the teacher's fit, (n,).
        proba: The teacher's out-of-fold answers, (n, n_classes).
    """

    files: tuple[Path, ...]
    row: NDArray[np.intp]
    y: NDArray[np.intp]
    groups: NDArray[np.intp]
    fold: NDArray[np.intp]
    proba: NDArray[np.float64]


def read_distillation_data(bundle: Bundle, photos: Path | None = None) -> DistillationData:
    """Rows, out-of-fold answers and photos of a fit.

    Args:
        bundle: The fit.
        photos: Where its photos are now, if not where they were.

    Raises:
        DataError: If there are no out-of-fold answers, or photos are gone or others.
    """
    data = bundle.info["data"]
    root = Path(data.get("root_path") or data["root"]) if photos is None else photos
    manifest = Manifest.read_csv(bundle.path / "manifest.csv", root)
    found = bundle.out_of_fold
    fold = found.known.folds
    if len(np.unique(fold)) < 2:
        raise DataError(
            f"{bundle.path} has no out-of-fold answers to learn from: it was fitted with a plain hold-out; fit again "
            "with folds"
        )
    files = tuple(manifest.file(int(row)) for row in found.row)
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise DataError(
            f"{len(missing)} of the {len(files)} photos of the fit are not there any more (for example "
            f"{missing[0]}); give the folder that the bundle was fitted on, wherever it is now, with --photos"
        )
    for file, known in zip(files, manifest.image_id[found.row].tolist(), strict=True):
        if photo_digest(file) != known:
            raise DataError(f"{file} is not the photo of the fit any more; restore it, or fit again")
    return DistillationData(
        files=files,
        row=found.row,
        y=found.known.y,
        groups=found.known.groups,
        fold=fold,
        proba=found.proba,
    )
