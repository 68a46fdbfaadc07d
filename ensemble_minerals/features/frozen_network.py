"""A pretrained network that stays as it is: which one, with which weights, tapped where."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ensemble_minerals.data.views import PILLOW_TRANSFORM
from ensemble_minerals.features.extractor import JSON
from ensemble_minerals.features.metadata import cached_digest, library_versions
from ensemble_minerals.networks.models.weights import Preprocessing, load_network, pack_weights, parse
from ensemble_minerals.system import cpu

if TYPE_CHECKING:
    from ensemble_minerals.networks.models.taps import TappedNetwork

FORMAT = 1
"""Raised with any change of the code after which the same metadata give other numbers."""


@dataclass(frozen=True)
class FrozenNetwork:
    """A network that is loaded when it is asked for.

    Attributes:
        model: Any timm name.
        weights: `hub`, `random`, `package:NAME` or the path of a weights file.
        size: Side of the square input in pixels; None takes the weights' own.
        layers: Stages or blocks, counted from 0, negative from the end, see `TappedNetwork`.
        covariances: Combinations of channels whose covariances are features, see `TappedNetwork`.
        preprocessing: For weights that do not state theirs.
        base_dir: What a relative path of weights is relative to.

    Raises:
        WeightsError: Weights that are not there.
    """

    model: str
    weights: str
    size: int | None = None
    layers: tuple[int, ...] | None = None
    covariances: int = 0
    preprocessing: Preprocessing | None = None
    base_dir: Path | None = None

    def __post_init__(self) -> None:
        self._local_file()

    def load(self) -> tuple[TappedNetwork, dict[str, JSON]]:
        """The network, and what decides its numbers."""
        from ensemble_minerals.networks.models.taps import TappedNetwork

        loaded = load_network(
            self.model,
            self.weights,
            base_dir=self.base_dir,
            size=self.size,
            preprocessing=self.preprocessing,
        )
        network = TappedNetwork(loaded, self.layers, covariances=self.covariances)
        return network, {
            "kind": "backbone",
            "format": FORMAT,
            "model": self.model,
            "weights": loaded.digest,
            "initialization": "random" if loaded.source.kind == "random" else "pretrained",
            "layers": list(network.layers),
            **self._if_covariances(),
            "size": network.size,
            # As versions until 0.2.0 draw views, which may share the cache; a backbone says how it draws them.
            "transform": PILLOW_TRANSFORM,
            "preprocessing": loaded.preprocessing.as_mapping(),
            "versions": library_versions(),
        }

    def request(self, cache_dir: Path) -> dict[str, JSON]:
        """What decides its numbers as far as it is known without loading it: weights, versions and this machine.

        Args:
            cache_dir: Where digests of weights are kept.
        """
        file = self._local_file()
        return {
            "format": FORMAT,
            "model": self.model,
            "weights": self.weights if file is None else cached_digest(file, cache_dir),
            "size": self.size,
            "layers": self.layers,
            **self._if_covariances(),
            "preprocessing": None if self.preprocessing is None else self.preprocessing.as_mapping(),
            "machine": cpu.hardware_digest(),
            "versions": library_versions(),
            "sealed": True,
        }

    def pack(self, folder: Path, name: str) -> Path | None:
        """Copy the weights into a folder, see `pack_weights`."""
        return pack_weights(folder, name, self.model, self.weights, base_dir=self.base_dir, size=self.size)

    def _local_file(self) -> Path | None:
        return parse(self.weights).local_file(self.base_dir)

    def _if_covariances(self) -> dict[str, JSON]:
        """Left out where it is not used, as in the metadata of earlier versions."""
        return {"covariances": self.covariances} if self.covariances else {}
