"""A fitted ensemble as one network: photos in, calibrated probabilities out, tensor operations all the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ensemble_minerals.networks.graphs.members import FittedEnsembleGraph
from ensemble_minerals.networks.graphs.photo_views import PhotoViews, view_names
from ensemble_minerals.networks.inference import NetworkPredictor
from ensemble_minerals.networks.models.taps import TappedNetwork


class ExtractorGraph(nn.Module):
    """Features of photos: views, a tapped network, and the views pooled.

    The views stay in floating point: rounded to whole gray levels, as the network met them when the members were
    fitted, a value on the edge would fall to either side by the runtime's choice.
    """

    def __init__(self, network: TappedNetwork, views: Sequence[str], pooling: str) -> None:
        """Put the parts together.

        Args:
            network: From pixels to features.
            views: Names of the views.
            pooling: ``"mean"`` over the views, or ``"concat"``.
        """
        super().__init__()
        self.views = PhotoViews(views, network.size, network.size)
        self.network = network
        self._pooling = pooling

    def forward(self, photos: Tensor) -> Tensor:
        """Features of shape (n, n_features), of photos (n, height, width, 3), uint8."""
        views = self.views(photos)
        size = self.network.size
        pixels = views.permute(0, 1, 3, 4, 2).reshape(-1, size, size, 3)
        found: Tensor = self.network(pixels).reshape(photos.shape[0], len(self.views.names), -1)
        return found.flatten(1) if self._pooling == "concat" else found.mean(1)


class LogitsGraph(nn.Module):
    """Logits of networks that were trained on the photos, averaged over the views."""

    def __init__(self, predictor: NetworkPredictor) -> None:
        """Take the networks of a predictor.

        Args:
            predictor: Of the states of one network; what they share is computed once here too.
        """
        super().__init__()
        metadata = predictor.states[0].metadata
        self.views = PhotoViews(
            view_names(metadata["views"], str(metadata["resize"])), *predictor.states[0].size
        )
        self.shared = nn.Identity() if predictor.shared is None else predictor.shared
        self.ends = nn.ModuleList(predictor.ends)
        self.register_buffer("shift", torch.tensor(predictor.shift, dtype=torch.float32))

    def forward(self, photos: Tensor) -> Tensor:
        """Logits of shape (n, n_outputs), of photos (n, height, width, 3), uint8."""
        views = self.views(photos) / 255.0
        inner = self.shared(views.flatten(0, 1))
        logits = torch.cat([end(inner).float() for end in self.ends], 1)
        mean: Tensor = logits.reshape(photos.shape[0], len(self.views.names), -1).mean(1)
        return mean + self.get_buffer("shift")


class EnsembleGraph(nn.Module):
    """The whole ensemble, photos to calibrated probabilities."""

    def __init__(self, extractors: Mapping[str, nn.Module], fitted_ensemble: FittedEnsembleGraph) -> None:
        """Put the parts together.

        Args:
            extractors: By name, from photos to features: all that a member sees.
            fitted_ensemble: From features to probabilities.
        """
        super().__init__()
        self._names = tuple(extractors)
        self._extractors = nn.ModuleList(extractors.values())
        self._fitted_ensemble = fitted_ensemble
        self.eval().requires_grad_(False)

    def forward(self, photos: Tensor) -> Tensor:
        """Probabilities (n, n_classes), float32, of photos (n, height, width, 3), RGB, uint8."""
        blocks = {
            name: extractor(photos) for name, extractor in zip(self._names, self._extractors, strict=True)
        }
        answer: Tensor = self._fitted_ensemble(blocks)
        return answer
