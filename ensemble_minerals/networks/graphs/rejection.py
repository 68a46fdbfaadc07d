"""How typical photos are of those of a fit, as a torch module; predictions compute it with numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

_SHORTEST = 1e-12


class RejectionGraph(nn.Module):
    """A rejection in double precision, from features to conformal p-values.

    Args:
        features: Names of what it looks at.
        arrays: Its arrays, as `Rejection.arrays` names them.
        tie: Scores that differ by no more are equal.
    """

    def __init__(self, features: Sequence[str], arrays: Mapping[str, NDArray[Any]], *, tie: float) -> None:
        super().__init__()
        self._features = tuple(features)
        for name, values in arrays.items():
            # Large arrays are in single precision, and stay so in a file.
            self.register_buffer(name.replace(".", "_"), torch.tensor(values), persistent=False)
        _, group, size = np.unique(arrays["row_group"], return_inverse=True, return_counts=True)
        self.register_buffer("share", torch.tensor(1.0 / size[group] / (len(size) + 1)), persistent=False)
        self._tie = tie
        self._least = 1.0 / (len(size) + 1)
        self.eval().requires_grad_(False)

    def forward(self, matrices: Mapping[str, Tensor]) -> Tensor:
        """Typicality, shape (n,), float32, of features (n, n_features) by name."""
        score = (
            (self._scores(matrices) - self._array("score_mean")) / self._array("score_spread")
        ) @ self._array("weight")
        stranger = (self._array("calibration")[None] >= score[:, None] - self._tie).double()
        return (self._least + stranger @ self._array("share")).float()

    def of_answers(self, log_proba: Tensor) -> Tensor:
        """Typicality, shape (n,), of log-probabilities (n, n_members, n_classes), which are all it looks at."""
        (name,) = self._features
        return self.forward({name: centered(log_proba)})

    def _scores(self, matrices: Mapping[str, Tensor]) -> Tensor:
        projected, square, lengths = [], [], []
        n_blocks = len(self._features)
        for number, name in enumerate(self._features):
            rows = (matrices[name].double() - self._array(f"{number}_mean")) / self._array(f"{number}_scale")
            length = rows.square().sum(1).sqrt().clamp(min=_SHORTEST)
            rows = rows / (length * n_blocks**0.5)[:, None] - self._array(f"{number}_center")
            projected.append(rows @ self._array(f"{number}_directions"))
            square.append(rows.square().sum(1))
            mean, spread = self._array(f"{number}_length")
            lengths.append(((length.log() - mean) / spread).square() / n_blocks)
        inside = torch.stack(projected).sum(0)
        share = 1.0 - inside.square().sum(1) / torch.stack(square).sum(0).clamp(min=_SHORTEST)
        whitened, means = inside @ self._array("within"), self._array("class_means") @ self._array("within")
        to_means = (whitened[:, None] - means[None]).square().sum(2).amin(1)
        to_all = ((inside - self._array("mean")) @ self._array("overall")).square().sum(1)
        return torch.stack([to_means - to_all, share.clamp(0.0, 1.0), torch.stack(lengths).sum(0)], 1)

    def _array(self, name: str) -> Tensor:
        return self.get_buffer(name).double()


def centered(log_proba: Tensor) -> Tensor:
    """Log-probabilities (n, n_members, n_classes) less their mean over the classes, (n, n_members * n_classes)."""
    return (log_proba - log_proba.mean(2, keepdim=True)).flatten(1)
