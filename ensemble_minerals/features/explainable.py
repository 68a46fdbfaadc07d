"""Feature extractors that can show which parts of a photo their features come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.data.views import view_box
from ensemble_minerals.features.extractor import FeatureExtractor

if TYPE_CHECKING:
    from ensemble_minerals.networks.attribution.activation import ForwardPass


@runtime_checkable
class Explainable(FeatureExtractor, Protocol):
    """A feature extractor whose network can be inspected, layer by layer."""

    @property
    def map_names(self) -> tuple[str, ...]:
        """Names of the layers whose feature maps are available, from the first to the last."""
        ...

    def open_pass(self, photo: NDArray[np.uint8]) -> ForwardPass:
        """Send one photo through the network.

        Args:
            photo: Upright RGB pixels of shape (height, width, 3), as `extract` takes them.

        Returns:
            The pass; its `features` are those of `extract` up to the engine's precision.

        Raises:
            WeightsError: If the network's weights cannot be had.
        """
        ...


def view_places(
    views: Sequence[str], photo: NDArray[np.uint8]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Where in a photo its views are cut out.

    Args:
        views: Names of the views, see `data.views`.
        photo: Pixels of shape (height, width, 3).

    Returns:
        Left, top, right and bottom of each view as fractions of width and height, shape (n_views, 4), and which
        views are mirror images, shape (n_views,).
    """
    height, width = photo.shape[:2]
    boxes = np.array([view_box(view, width, height) for view in views]) / (width, height, width, height)
    return boxes, np.array([view.endswith("_flip") for view in views])
