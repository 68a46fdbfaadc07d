"""How far an exported graph, given whole files, answers otherwise than `predict`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ensemble_minerals.data.decoding import decode, photo_digest
from ensemble_minerals.data.manifest import Manifest
from ensemble_minerals.errors import ImageError
from ensemble_minerals.prediction.photo_predictor import PhotoPredictor

N_FILES = 24
"""Photos of the fit that are compared, at most."""

AGREES = 0.02
"""Largest difference of a probability that is not worth a remark."""


def files_of_several_sizes(manifest: Manifest) -> list[Path]:
    """Photos of a fit that are at hand, from the smallest to the largest.

    Args:
        manifest: Its root is where the photos are now.
    """
    rows = manifest.usable
    shorter = np.minimum(manifest.width, manifest.height)[rows]
    ordered = rows[np.argsort(shorter, kind="stable")]
    chosen = ordered[
        np.unique(np.linspace(0, len(ordered) - 1, min(N_FILES, len(ordered))).round().astype(np.intp))
    ]
    return [
        manifest.file(row) for row in chosen.tolist() if _digest(manifest.file(row)) == manifest.image_id[row]
    ]


def difference_on_files(graph: Path, predictor: PhotoPredictor, files: Sequence[Path]) -> float:
    """Largest difference of a probability between a graph that is given whole photos, and `predict`.

    Args:
        graph: The ONNX file.
        predictor: The model that was exported.
        files: Photos; those that cannot be read are left out.
    """
    from ensemble_minerals.networks.graphs.onnx_file import graph_answers

    predicted = predictor.predict_photos(files, files)
    readable = np.flatnonzero(predicted.answered).tolist()
    whole = (decode(files[row], limits=predictor.limits).pixels for row in readable)
    answers = zip(readable, graph_answers(graph, whole), strict=True)
    return max((float(np.abs(proba - predicted.proba[row]).max()) for row, proba in answers), default=0.0)


def _digest(file: Path) -> str:
    try:
        return photo_digest(file)
    except ImageError:
        return ""
