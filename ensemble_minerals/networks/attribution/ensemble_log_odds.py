"""What an ensemble answers for one photo, as a function of what one source says of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ensemble_minerals.networks.graphs.members import FittedEnsembleGraph


class EnsembleLogOdds(nn.Module):
    """Log-odds of each class for one photo, as a function of what one source says of it.

    Log-odds and not log-probabilities: the latter hardly move any more where the answer is sure.
    """

    def __init__(
        self,
        fitted_ensemble: FittedEnsembleGraph,
        *,
        extractor: str,
        rows: Mapping[str, NDArray[np.floating[Any]]],
        side_by_side: bool = False,
    ) -> None:
        """Hold still what the other sources say.

        Args:
            fitted_ensemble: In float64. Below its floor a member's answer stands still, but its gradient is taken
                as if it did not: a member that is sure has reasons too.
            extractor: The source whose features vary.
            rows: Of each other source its features of the photo, views pooled, shape (n_features,).
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
            member: Position of the member that is asked; all together if None.

        Returns:
            Shape (1, n_classes).
        """
        if member is not None:
            return log_odds(self._fitted_ensemble.vote(member, self._blocks(views)))
        return log_odds(self._fitted_ensemble.combine(self.votes(views)))

    def votes(self, views: Tensor) -> Tensor:
        """Log-probabilities of every member, shape (1, n_members, n_classes)."""
        answers = self._fitted_ensemble.votes(self._blocks(views))
        return answers + (answers.clamp(self._floor, 0.0) - answers).detach()

    def _blocks(self, views: Tensor) -> dict[str, Tensor]:
        row = views.double().flatten()[None] if self._side_by_side else views.double().mean(0, keepdim=True)
        return {**self._rows, self._extractor: row}


def log_odds(log_proba: Tensor) -> Tensor:
    """Log-odds of each class against all others, shape (n, n_classes), of its log-probabilities."""
    k = log_proba.shape[1]
    others = log_proba[:, None].masked_fill(torch.eye(k, dtype=torch.bool), -torch.inf)
    return log_proba - others.logsumexp(2)


def _double(array: NDArray[np.floating[Any]]) -> Tensor:
    return torch.from_numpy(np.array(array, dtype=np.float64))
