"""Shares of the classes, and the correction that undoes the effect of oversampling.

A model that is trained on oversampled rows gives too much probability to the rare classes. Bayes' rule corrects its
probabilities to the natural shares of the classes before they are used.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def class_prior(y: ArrayLike, n_classes: int) -> NDArray[np.float64]:
    """Share of each class among the rows.

    Args:
        y: Class positions (n,), integers from 0 to `n_classes` - 1.
        n_classes: Number of classes K.

    Returns:
        Shares (K,) that add up to one; 0 for a class without rows.

    Raises:
        ValueError: If there are no rows, or a position is out of range.

    Example:
        >>> class_prior([0, 0, 1, 0], 2).tolist()
        [0.75, 0.25]
    """
    codes = np.asarray(y)
    if codes.size == 0:
        raise ValueError("no rows: a prior needs at least one")
    if codes.min() < 0 or codes.max() >= n_classes:
        raise ValueError(
            f"class positions run from {codes.min()} to {codes.max()}; expected 0 to {n_classes - 1}"
        )
    return np.bincount(codes, minlength=n_classes) / codes.size


def prior_shift(trained_prior: ArrayLike, natural_prior: ArrayLike) -> NDArray[np.float64]:
    """What to add to softmax logits so that their probabilities are those under the natural prior.

    See Saerens, Latinne and Decaestecker (2002), "Adjusting the outputs of a classifier to new a priori
    probabilities", Neural Computation 14(1).

    Args:
        trained_prior: Class shares (K,) of the rows that the model was trained on.
        natural_prior: Class shares (K,) of the rows before oversampling.

    Returns:
        log(natural / trained), (K,); minus infinity for a class that does not occur naturally.

    Raises:
        ValueError: If a share is negative or not finite, or a class that occurs naturally has no training rows: then
            its probability was never learned, and cannot be corrected.
    """
    trained, natural = _prior(trained_prior, "trained_prior"), _prior(natural_prior, "natural_prior")
    if trained.shape != natural.shape:
        raise ValueError(f"trained_prior has {trained.size} classes, natural_prior {natural.size}")
    unlearned = np.flatnonzero((trained == 0) & (natural > 0))
    if unlearned.size:
        raise ValueError(
            f"classes at positions {unlearned.tolist()} occur naturally but had no training rows"
        )
    shift = np.full(trained.shape, -np.inf)
    occurs = natural > 0
    shift[occurs] = np.log(natural[occurs]) - np.log(trained[occurs])
    return shift


def _prior(shares: ArrayLike, name: str) -> NDArray[np.float64]:
    prior = np.asarray(shares, dtype=np.float64)
    if prior.ndim != 1 or not np.isfinite(prior).all() or (prior < 0).any() or not prior.any():
        raise ValueError(f"{name}={prior.tolist()!r} must be a list of shares, none negative, not all zero")
    return prior
