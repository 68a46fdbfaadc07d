"""Photos of which the user says that they show none of the classes: how typical are they?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.bundle.bundle import Bundle
from ensemble_minerals.data.decoding import photo_digest
from ensemble_minerals.data.manifest import Manifest
from ensemble_minerals.errors import DataError, ImageError, UserError
from ensemble_minerals.prediction.inputs import expand_inputs
from ensemble_minerals.prediction.predictor import Predictor
from ensemble_minerals.system.plural import counted
from ensemble_minerals.system.runtime import Runtime


def check_can_tell(bundle: Bundle) -> None:
    """Make sure that a bundle can tell strangers.

    Raises:
        UserError: If not.
    """
    if bundle.rejection is None:
        raise UserError(
            f"{bundle.path} cannot tell photos that show none of its classes: it was made by an earlier version, or "
            "with rejection: null. Fit it again, or leave out --strangers"
        )


def typicality_of_strangers(
    bundle: Bundle, fitted: Manifest, folder: Path, runtime: Runtime
) -> NDArray[np.float64]:
    """Typicality of photos that took no part in the fit, neither as photos of a class nor as strangers, shape (n,).

    Args:
        bundle: One that can tell strangers.
        fitted: Photos of the fit.
        folder: The strangers.
        runtime: Threads, progress, and where converted networks are kept.

    Raises:
        UserError: If there is nothing in the folder.
        DataError: If no photo in it can be read, or all took part in the fit.
    """
    files = expand_inputs(folder, runtime.progress.note)
    known = {*fitted.image_id.tolist(), *bundle.metrics.get("rejection", {}).get("strangers", [])}
    new = [file for file in files if _digest(file) not in known]
    if len(new) < len(files):
        runtime.progress.note(
            f"Not measured as strangers: {counted(len(files) - len(new), 'photo')} that took part in the fit."
        )
    if not new:
        raise DataError(f"--strangers {folder}: all its photos took part in the fit; give others")
    predictor = Predictor(bundle, runtime.cache_dir, runtime.n_jobs)
    predictions = predictor.predict(new, runtime.progress.stage("Answering strangers"))
    if predictions.typicality is None or not predictions.answered.any():
        raise DataError(
            f"--strangers {folder}: none of its {counted(len(new), 'file')} is a photo that can be read"
        )
    return predictions.typicality[predictions.answered]


def _digest(file: Path) -> str:
    """Digest of a file; empty where it cannot be read."""
    try:
        return photo_digest(file)
    except ImageError:
        return ""
