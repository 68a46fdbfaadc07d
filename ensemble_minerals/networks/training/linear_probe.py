"""Initial weights of the heads: logistic regression on features of the frozen body (linear probe, then fine-tune)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from ensemble_minerals.networks.models.multi_head import MultiHeadNetwork, set_dense
from ensemble_minerals.networks.precision import computing_in
from ensemble_minerals.networks.training.batches import Inputs, SubproblemRows

_MAX_ITERATIONS = 1000
_BATCH = 16


def set_heads_by_probe(
    network: MultiHeadNetwork,
    inputs: Inputs,
    subproblems: Sequence[SubproblemRows],
    *,
    C: float,
    loss_shift: NDArray[np.float64],
    precision: str,
) -> None:
    """Set each head to the solution of logistic regression on standardized pooled features.

    Kumar et al. (2022), "Fine-tuning can distort pretrained features and underperform out-of-distribution", ICLR.

    Args:
        network: Its heads are one dense layer each; they are set in place.
        inputs: Gives the fixed view of each row.
        subproblems: Training rows of each subproblem; copies of a row count as often as they occur.
        C: Inverse strength of the penalty.
        loss_shift: Shift of the logits (n_outputs,) that the loss causes, see `SubproblemLoss.prior_shift`. It is
            subtracted, so that the head starts with the logits that training would lead to.
        precision: Precision in which the body is computed.
    """
    rows = np.unique(np.concatenate([subproblem.rows for subproblem in subproblems]))
    features = _features(network.eval(), inputs, rows, precision)
    start = 0
    for head, subproblem in zip(network.heads, subproblems, strict=True):
        pairs, copies = np.unique(
            np.stack([subproblem.rows, subproblem.targets], 1), axis=0, return_counts=True
        )
        X, y = features[np.searchsorted(rows, pairs[:, 0])], pairs[:, 1]
        scaler = StandardScaler().fit(X, sample_weight=copies)
        solver = LogisticRegression(C=C, max_iter=_MAX_ITERATIONS)
        with warnings.catch_warnings():
            # Training goes on from here, so an approximate solution will do.
            warnings.simplefilter("ignore", ConvergenceWarning)
            solver.fit(scaler.transform(X), y, sample_weight=copies)
        weight = solver.coef_ / scaler.scale_
        bias = solver.intercept_ - weight @ scaler.mean_
        n_outputs = len(bias)
        set_dense(head, weight, bias - loss_shift[start : start + n_outputs], X)
        start += n_outputs


def _features(
    network: MultiHeadNetwork, inputs: Inputs, rows: NDArray[np.intp], precision: str
) -> NDArray[Any]:
    """Pooled features of rows, shape (n, width)."""
    device = next(network.parameters()).device
    pooled = []
    with torch.inference_mode(), computing_in(precision, device):
        for start in range(0, len(rows), _BATCH):
            images = torch.stack([inputs.validation_input(int(row)) for row in rows[start : start + _BATCH]])
            pooled.append(network.pool(images.to(device)).double().cpu().numpy())
    return np.concatenate(pooled)
