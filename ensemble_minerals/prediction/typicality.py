"""How typical photos are of those of a fit, as a loaded model says it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.errors import BundleError
from ensemble_minerals.prediction.photo_predictor import PhotoPredictor


def typicality_of(
    predictor: PhotoPredictor, matrices: Mapping[str, NDArray[np.floating[Any]]], n: int
) -> NDArray[np.float64]:
    """Typicality of n photos, shape (n,); NaN where the model knows nothing of the kind.

    Args:
        predictor: The model.
        matrices: What its rejection may look at, each (n, n_features).
        n: Number of photos.

    Raises:
        BundleError: If one is no number.
    """
    if predictor.rejection is None:
        return np.full(n, np.nan)
    try:
        return predictor.rejection.typicality(matrices)
    except ValueError as error:
        raise BundleError(
            f"{predictor.path}: {error}: rejection.safetensors is damaged; fit it again"
        ) from error
