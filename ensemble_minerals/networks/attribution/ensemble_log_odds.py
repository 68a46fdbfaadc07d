"""Log-odds that an ensemble predicts for one photo, as a function of the features of one extractor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ensemble_minerals.networks.graphs.members import FittedEnsembleGraph


class EnsembleLogOdds(nn.Module):
    """Log-odds of each class for one photo, as a function of the features of one extractor.

    Log-probabilities would not do: they hardly change any more where a class is nearly certain.
    """

    def __init__(
        self,
        fitted_ensemble: FittedEnsembleGraph,
        *,
        extractor: str,
        rows: Mapping[str, NDArray[np.floating[Any]]],
        side_by_side: bool = False,
    ) -> None:
        """Fix the features of all other extractors.

        Args:
            fitted_ensemble: The ensemble in float64. Probabilities of members are clipped, but gradients pass the
                clipping: the features that make a member nearly certain count, too.
            extractor: Name of the extractor whose features vary.
            rows: Features of the photo by the name of each other extractor, views pooled, shape (n_features,).
            side_by_side: Whether the views of `extractor` are concatenated instead of averaged.
        """
        super().__init__()
        self._fitted_ensemble = fitted_ensemble
        self._extractor = extractor
        self._rows = {name: _double(row)[None] for name, row in rows.items() if name != extractor}
        self._side_by_side = side_by_side
        self._floor = float(np.log(fitted_ensemble.floor)) if fitted_ensemble.floor > 0 else -torch.inf

    def forward(self, views: Tensor, member: int | None = None) -> Tensor:
        """Log-odds of the classes.

        Args:
            views: Features of shape (n_views, n_features).
            member: Position of one member; None combines all members.

        Returns:
            Shape (1, n_classes).
        """
        if member is not None:
            return log_odds(self._fitted_ensemble.member_log_proba(member, self._blocks(views)))
        return log_odds(self._fitted_ensemble.combine(self.members_log_proba(views)))

    def members_log_proba(self, views: Tensor) -> Tensor:
        """Clipped log-probabilities of all members, shape (1, n_members, n_classes)."""
        log_proba = self._fitted_ensemble.members_log_proba(self._blocks(views))
        # Clipping with the gradient of the identity.
        return log_proba + (log_proba.clamp(self._floor, 0.0) - log_proba).detach()

    def _blocks(self, views: Tensor) -> dict[str, Tensor]:
        row = views.double().flatten()[None] if self._side_by_side else views.double().mean(0, keepdim=True)
        return {**self._rows, self._extractor: row}


def log_odds(log_proba: Tensor) -> Tensor:
    """Log-odds of each class against all others, shape (n, n_classes), from log-probabilities.

    >>> log_odds(torch.tensor([[0.5, 0.25, 0.25]]).log())
    tensor([[ 0.0000, -1.0986, -1.0986]])
    """
    k = log_proba.shape[1]
    others = log_proba[:, None].masked_fill(torch.eye(k, dtype=torch.bool), -torch.inf)
    return log_proba - others.logsumexp(2)


def _double(array: NDArray[np.floating[Any]]) -> Tensor:
    return torch.from_numpy(np.array(array, dtype=np.float64))
