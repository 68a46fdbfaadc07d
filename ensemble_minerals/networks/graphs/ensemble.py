"""A fitted ensemble as one torch module, from photos to calibrated probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ensemble_minerals.data.image_cache import decode_side
from ensemble_minerals.data.views import TRANSFORM, needed_side
from ensemble_minerals.networks.graphs.members import FittedEnsembleGraph
from ensemble_minerals.networks.graphs.photo_views import PhotoViews, view_names
from ensemble_minerals.networks.graphs.rejection import RejectionGraph
from ensemble_minerals.networks.inference import NetworkPredictor
from ensemble_minerals.networks.models.taps import TappedNetwork


class ExtractorGraph(nn.Module):
    """A feature extractor: views, a tapped network, and pooling over the views.

    The views stay in floating point. If they were rounded to integers, as when the members were fitted, values near
    .5 could be rounded differently by different runtimes.

    Args:
        network: From pixels to features.
        views: Names of the views.
        pooling: ``"mean"`` over the views, or ``"concat"``.
        transform: How the views are drawn, see `data.views`.
    """

    def __init__(
        self, network: TappedNetwork, views: Sequence[str], pooling: str, transform: str = TRANSFORM
    ) -> None:
        super().__init__()
        side = decode_side(needed_side(views, network.size), finely=transform == TRANSFORM)
        self.views = PhotoViews(views, network.size, network.size, side, transform)
        self.network = network
        self._pooling = pooling

    def forward(self, photos: Tensor) -> Tensor:
        """Features of shape (n, n_features), of photos (n, height, width, 3), uint8."""
        views = self.views(photos)
        size = self.network.size
        pixels = views.permute(0, 1, 3, 4, 2).reshape(-1, size, size, 3)
        features: Tensor = self.network(pixels).reshape(photos.shape[0], len(self.views.names), -1)
        return features.flatten(1) if self._pooling == "concat" else features.mean(1)


class LogitsGraph(nn.Module):
    """Logits of fine-tuned networks, averaged over the views.

    Args:
        predictor: Predictor of the states of one network; layers that they share are computed once.
        side: Pixels of the shorter side of the photos that it takes.
    """

    def __init__(self, predictor: NetworkPredictor, side: int) -> None:
        super().__init__()
        metadata = predictor.states[0].metadata
        self.views = PhotoViews(
            view_names(metadata["views"], str(metadata["resize"])),
            *predictor.states[0].size,
            side=decode_side(side),
        )
        self.shared = nn.Identity() if predictor.shared is None else predictor.shared
        self.suffixes = nn.ModuleList(predictor.suffixes)
        self.register_buffer("shift", torch.tensor(predictor.shift, dtype=torch.float32))

    def forward(self, photos: Tensor) -> Tensor:
        """Logits of shape (n, n_outputs), of photos (n, height, width, 3), uint8."""
        views = self.views(photos) / 255.0
        activations = self.shared(views.flatten(0, 1))
        logits = torch.cat([suffix(activations).float() for suffix in self.suffixes], 1)
        mean: Tensor = logits.reshape(photos.shape[0], len(self.views.names), -1).mean(1)
        return mean + self.get_buffer("shift")


class EnsembleGraph(nn.Module):
    """The whole ensemble, from photos to calibrated probabilities.

    Args:
        extractors: From photos to features, by name: all whose features members take.
        fitted_ensemble: From features to probabilities.
        rejection: From the same features to typicality, if there is such a thing.
    """

    def __init__(
        self,
        extractors: Mapping[str, nn.Module],
        fitted_ensemble: FittedEnsembleGraph,
        rejection: RejectionGraph | None = None,
    ) -> None:
        super().__init__()
        self._names = tuple(extractors)
        self._extractors = nn.ModuleList(extractors.values())
        self._fitted_ensemble = fitted_ensemble
        self.rejection = rejection
        self.eval().requires_grad_(False)

    def forward(self, photos: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Probabilities (n, n_classes), float32, of photos (n, height, width, 3), RGB, uint8.

        With a rejection their typicality, shape (n,), as well.
        """
        blocks = {
            name: extractor(photos) for name, extractor in zip(self._names, self._extractors, strict=True)
        }
        proba: Tensor = self._fitted_ensemble(blocks)
        return proba if self.rejection is None else (proba, self.rejection(blocks))
