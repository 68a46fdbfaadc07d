"""Networks trained on the photos, as a feature extractor: their logits, fold by fold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ensemble_minerals.config.fields import Distinct, Section, Some, View
from ensemble_minerals.config.networks import NetworkConfig
from ensemble_minerals.data.views import smallest_side
from ensemble_minerals.features.extractor import JSON, fingerprint_of
from ensemble_minerals.networks.models.weights import pack_weights
from ensemble_minerals.system.held_file import HeldFile

if TYPE_CHECKING:
    from ensemble_minerals.networks.attribution.activation import ForwardPass
    from ensemble_minerals.networks.inference import NetworkPredictor

PREFIX = "network:"
"""A member's name after this is the name of the extractor of its networks' logits. No backbone can be called so."""

_LEAST, _MOST = 1.15, 1.6
"""Shorter side of the shrunken photos over the longer side of the network's input, at least and at most."""


class NetworkFacts(Section):
    """The metadata of a `TrainedNetworkExtractor`."""

    kind: Literal["network"]
    model: str
    network: str
    states: Some[str]
    side: Annotated[int, Field(ge=1, le=8192)]
    views: Distinct[View]
    device: str


def image_side(network: NetworkConfig) -> int:
    """Pixels of the shorter side of the shrunken photos that a network learns from.

    They are large enough that neither the smallest random crop nor the smallest view is enlarged: new photos are
    sharp, and what is learned from blurred ones does not fit them.

    Raises:
        WeightsError: If timm knows no such model.
    """
    if isinstance(network.size, int):
        longer = network.size
    elif network.size is not None:
        longer = max(network.size)
    else:
        from ensemble_minerals.networks.models.timm_models import pretrained_cfg

        longer = max(int(side) for side in pretrained_cfg(network.model).input_size[-2:])
    crop = 1.0 if network.augment.crop is None else math.sqrt(network.augment.crop[0])
    smallest = min(crop, smallest_side(network.views))
    return round(longer / min(max(smallest, 1 / _MOST), 1 / _LEAST))


class TrainedNetworkExtractor:
    """The trained networks of one member.

    Args:
        name: What members call it.
        network: The configuration that they were trained by; its weights are where training started.
        states: Their files, in the order of the logits.
        side: Pixels of the shorter side of the photos in training.
        device: Where they compute.
        n_threads: Threads that they may use.
    """

    def __init__(
        self,
        name: str,
        network: NetworkConfig,
        states: Sequence[HeldFile],
        *,
        side: int,
        device: str = "cpu",
        n_threads: int = 1,
    ) -> None:
        self._name = name
        self.network = network
        self.states = tuple(states)
        self._side = side
        self._device = device
        self._n_threads = n_threads
        self._opened: NetworkPredictor | None = None
        self._lock = Lock()

    @property
    def name(self) -> str:
        """What members call it."""
        return self._name

    @property
    def n_views(self) -> int:
        """Views of each photo."""
        return len(self.network.views)

    @property
    def n_features(self) -> int:
        """Logits of all networks."""
        return self.open().n_outputs

    @property
    def side(self) -> int:
        """Pixels the shorter side of a decoded photo should have."""
        return self._side

    @property
    def metadata(self) -> Mapping[str, JSON]:
        """What decides the logits."""
        return {
            "kind": "network",
            "model": self.network.model,
            "network": self.network.name,
            "states": [file.digest() for file in self.states],
            "side": self._side,
            "views": list(self.network.views),
            "device": self._device,
        }

    @property
    def fingerprint(self) -> str:
        """Digest of the metadata."""
        return fingerprint_of(self.metadata)

    def extract(self, photos: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Logits of decoded photos.

        Args:
            photos: Upright RGB pixels, each (height, width, 3).

        Returns:
            Shape (n, n_views, n_features).
        """
        from ensemble_minerals.data.image_cache import shrink

        logits = self.open().logits([shrink(photo, self._side) for photo in photos])
        return logits.astype(np.float32)

    @property
    def map_names(self) -> tuple[str, ...]:
        """See `Explainable`."""
        return self.open_pass(np.zeros((self._side, self._side, 3), np.uint8)).names

    def open_pass(self, photo: NDArray[np.uint8]) -> ForwardPass:
        """See `Explainable`: the networks in float32, stopped at the maps that their heads read."""
        from ensemble_minerals.data.image_cache import shrink
        from ensemble_minerals.networks.attribution.trained_networks import trained_forward_pass

        return trained_forward_pass(self.open(), self.network.weights, shrink(photo, self._side))

    def open(self, n_photos: int = 1) -> NetworkPredictor:
        """Get the networks ready; `extract` does it at its first call.

        Args:
            n_photos: Does not matter here.

        Raises:
            BundleError: If a file is damaged, or the networks do not fit each other.
        """
        from ensemble_minerals.networks.inference import NetworkPredictor
        from ensemble_minerals.networks.models.state import NetworkState

        with self._lock:
            if self._opened is None:
                self._opened = NetworkPredictor(
                    [NetworkState.of_file(file) for file in self.states],
                    self.network.weights,
                    device=self._device,
                    n_threads=self._n_threads,
                )
            return self._opened

    def megabytes(self) -> float:
        """Size of the trained tensors."""
        return sum(file.size for file in self.states) / 1e6


def pack_start(network: NetworkConfig, folder: Path) -> Path | None:
    """Copy the weights from which training started, so that a bundle needs nothing else.

    Args:
        network: Names them.
        folder: Where to.

    Returns:
        The file, named after the network; None for random weights, which need none.
    """
    return pack_weights(folder, network.name, network.model, network.weights)
