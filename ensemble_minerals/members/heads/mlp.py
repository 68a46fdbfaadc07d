"""A small neural network over features, as a scikit-learn estimator.

Training is torch's (imported in `fit` only); prediction is a few lines of numpy on the folded layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from ensemble_minerals.data.class_prior import prior_shift
from ensemble_minerals.data.folds import inner_split
from ensemble_minerals.errors import DataError

if TYPE_CHECKING:
    from ensemble_minerals.networks.training.mlp import Layers, Settings

Resample = Callable[[NDArray[Any], NDArray[Any]], tuple[ArrayLike, ArrayLike]]

# The answer for a row must not depend on the other rows or on the number of threads, but BLAS adds in a different
# order for different shapes and thread counts. So prediction always multiplies blocks of this many rows in double
# precision, and rounds at the end, which removes the differences that are left.
_BLOCK = 64


class MLPHead(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """Multilayer perceptron with batch normalization, ReLU and dropout, trained by AdamW with early stopping.

    Features are centered and scaled inside. Early stopping uses a validation part of the rows given to `fit`,
    split off by row groups, so no photo of a validation row's object is trained on. One seed gives one result,
    whatever the number of threads and whatever else is fitted in the process.

    Args:
        hidden: Sizes of the hidden layers; () is multinomial logistic regression.
        dropout: Share of hidden units dropped in training.
        learning_rate: AdamW's step size.
        weight_decay: AdamW's decoupled weight decay, on weight matrices only.
        label_smoothing: Share of a label spread over all classes.
        batch_size: Rows a step, at most.
        max_epochs: Upper limit of passes over the rows.
        patience: Epochs without a better validation log-loss before stopping.
        validation_fraction: Share of the rows kept for early stopping; 0 runs all of `max_epochs`.
        noise: Standard deviation of Gaussian noise added to the scaled features in training.
        scaling: ``"columns"`` gives every feature unit variance; ``"whole"`` divides all by one number, for
            principal axes, whose relative sizes carry meaning and whose smallest are noise.
        random_state: Seed.

    Attributes:
        classes_: Labels (K,), sorted.
        n_features_in_: Number of features d.
        n_iter_: Epochs run.
        best_epoch_: The epoch, counted from 1, whose weights were kept.
        validation_rows_: Positions, in the rows given to `fit`, used for early stopping; empty if the groups
            do not allow a split.
        validation_losses_: Log-loss of those rows after each epoch.
        natural_prior_: Shares (K,) of the classes, weighted by `sample_weight`, in the part trained on.
        trained_prior_: The same after `resample`. Probabilities answer under this prior.
        layers_: (weight (d_in, d_out), bias (d_out,)) of each layer, float32, standardization and batch
            normalization folded in: logits = relu(x @ W + b) ... @ W + b. With two classes the last layer has
            one column, the log-odds of `classes_[1]`.
    """

    def __init__(
        self,
        hidden: Sequence[int] = (128,),
        dropout: float = 0.3,
        learning_rate: float = 3e-3,
        weight_decay: float = 1e-3,
        label_smoothing: float = 0.0,
        batch_size: int = 64,
        max_epochs: int = 100,
        patience: int = 12,
        validation_fraction: float = 0.15,
        noise: float = 0.0,
        scaling: str = "columns",
        random_state: Any = 0,
    ) -> None:
        self.hidden = hidden
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.label_smoothing = label_smoothing
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.noise = noise
        self.scaling = scaling
        self.random_state = random_state

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        validation: ArrayLike | None = None,
        resample: Resample | None = None,
    ) -> MLPHead:
        """Train the network.

        Args:
            X: Features (n, d); natural rows only, oversampling belongs in `resample`.
            y: Labels (n,).
            sample_weight: Weight of each row (n,) in the loss; rows of weight 0 are left out entirely.
            groups: Row groups (n,): rows of one group stay on one side of the inner split. By default every
                row is its own group, identical rows sharing one.
            validation: Positions of the rows to use for early stopping, instead of an inner split.
            resample: Takes (X, y) of the inner training part and returns it oversampled. It never sees a
                validation row, so no copy or mixture of one is trained on; early stopping is corrected for
                the prior it shifts.

        Returns:
            Itself.

        Raises:
            ValueError: Unusable rows or parameters.
            FitError: The loss diverged.
        """
        from ensemble_minerals.networks.training import mlp

        settings = self._settings()
        features: NDArray[np.float32]
        features, labels = validate_data(self, X, y, dtype=np.float32, order="C", ensure_min_samples=2)
        check_classification_targets(labels)
        if sample_weight is not None and resample is not None:
            raise ValueError("sample_weight and resample cannot be combined: new rows would have no weight")
        weight = _check_sample_weight(sample_weight, features, dtype=np.float64, ensure_non_negative=True)
        used = np.flatnonzero(weight)
        classes, codes = np.unique(labels[used], return_inverse=True)
        if len(classes) < 2:
            raise ValueError(
                f"needs rows of at least 2 classes; got {len(classes)} class ({classes.tolist()})"
            )
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        group_codes = _group_codes(features, groups)[used]
        if validation is None:
            kept, held = _split(codes, group_codes, self.validation_fraction, seed)
        else:
            kept, held = _split_as_given(codes, group_codes, used, validation, len(features))

        train_X, train_codes, train_weight = features[used[kept]], codes[kept], weight[used[kept]]
        natural = np.bincount(train_codes, weights=train_weight, minlength=len(classes))
        if resample is not None:
            train_X, train_codes = _resampled(resample, train_X, classes, train_codes)
            train_weight = np.ones(len(train_X))
        trained = np.bincount(train_codes, weights=train_weight, minlength=len(classes))
        center = train_X.mean(axis=0, dtype=np.float64)
        scale = train_X.std(axis=0, dtype=np.float64)
        if self.scaling == "whole":
            scale[:] = np.sqrt(np.mean(scale**2))
        scale[scale <= np.finfo(np.float32).eps * np.abs(center)] = 1.0  # constant, but for rounding

        def rows(X: NDArray[Any], codes: NDArray[np.intp], weight: NDArray[np.float64]) -> mlp.WeightedRows:
            return mlp.WeightedRows(((X - center) / scale).astype(np.float32), codes, weight)

        result = mlp.train(
            rows(train_X, train_codes, train_weight),
            rows(features[used[held]], codes[held], weight[used[held]]) if held.size else None,
            n_classes=len(classes),
            validation_shift=prior_shift(trained / trained.sum(), natural / natural.sum()),
            settings=settings,
            seed=seed,
        )
        self.classes_ = classes
        self.n_iter_ = result.n_epochs
        self.best_epoch_ = result.best_epoch
        self.validation_rows_ = used[held]
        self.validation_losses_ = np.array(result.validation_losses)
        self.natural_prior_ = natural / natural.sum()
        self.trained_prior_ = trained / trained.sum()
        self.layers_ = _for_raw_features(result.layers, center, scale)
        return self

    def decision_function(self, X: ArrayLike) -> NDArray[np.float32]:
        """Logits.

        Args:
            X: Features (n, d).

        Returns:
            Logits (n, K), under `trained_prior_`; with two classes the log-odds (n,) of `classes_[1]`.
        """
        check_is_fitted(self, "layers_")
        features: NDArray[np.float32] = validate_data(self, X, dtype=np.float32, order="C", reset=False)
        *hidden, last = [
            (weight.astype(np.float64), bias.astype(np.float64)) for weight, bias in self.layers_
        ]
        logits = np.empty((len(features), last[1].size), dtype=np.float32)
        block = np.zeros((_BLOCK, features.shape[1]))
        for start in range(0, len(features), _BLOCK):
            n = min(_BLOCK, len(features) - start)
            block[:n] = features[start : start + n]
            values = block
            for weight, bias in hidden:
                values = np.maximum(values @ weight + bias, 0)
            logits[start : start + n] = (values @ last[0] + last[1])[:n]
        return logits[:, 0] if len(self.classes_) == 2 else logits

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float32]:
        """Probabilities (n, K) in the order of `classes_`, under `trained_prior_`."""
        logits = self.decision_function(X)
        if logits.ndim == 1:
            return np.column_stack([expit(-logits), expit(logits)])
        return np.asarray(softmax(logits, axis=1))

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The most probable label of each row, (n,)."""
        logits = self.decision_function(X)
        best = (logits > 0).astype(np.intp) if logits.ndim == 1 else logits.argmax(axis=1)
        labels: NDArray[Any] = self.classes_[best]
        return labels

    def _settings(self) -> Settings:
        from ensemble_minerals.networks.training.mlp import Settings

        rules = {
            "hidden": (all(size >= 1 for size in self.hidden), "sizes of at least 1"),
            "dropout": (0 <= self.dropout < 1, "at least 0 and below 1"),
            "learning_rate": (self.learning_rate > 0, "above 0"),
            "weight_decay": (self.weight_decay >= 0, "at least 0"),
            "label_smoothing": (0 <= self.label_smoothing < 1, "at least 0 and below 1"),
            "batch_size": (self.batch_size >= 2, "at least 2 (batch normalization)"),
            "max_epochs": (self.max_epochs >= 1, "at least 1"),
            "patience": (self.patience >= 1, "at least 1"),
            "validation_fraction": (0 <= self.validation_fraction < 1, "at least 0 and below 1"),
            "noise": (self.noise >= 0, "at least 0"),
            "scaling": (self.scaling in ("columns", "whole"), "'columns' or 'whole'"),
        }
        wrong = [
            f"{name}={getattr(self, name)!r} must be {rule}" for name, (ok, rule) in rules.items() if not ok
        ]
        if wrong:
            raise ValueError("; ".join(wrong))
        values = {field.name: getattr(self, field.name) for field in fields(Settings)}
        return Settings(**{**values, "hidden": tuple(self.hidden)})


def _group_codes(X: NDArray[np.float32], groups: ArrayLike | None) -> NDArray[np.intp]:
    if groups is None:
        seen: dict[bytes, int] = {}
        digests = (blake2b(row.tobytes(), digest_size=16).digest() for row in X)
        return np.array([seen.setdefault(digest, len(seen)) for digest in digests], dtype=np.intp)
    given = np.asarray(groups)
    if given.shape != (len(X),):
        raise ValueError(f"groups has shape {given.shape}; expected ({len(X)},)")
    return np.unique(given, return_inverse=True)[1]


def _split(
    codes: NDArray[np.intp], groups: NDArray[np.intp], fraction: float, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Positions to train on and positions for early stopping; none of the latter if the groups allow no split."""
    everything = np.arange(len(codes)), np.empty(0, dtype=np.intp)
    if not fraction:
        return everything
    try:
        return inner_split(codes, groups, fraction=fraction, seed=seed)
    except DataError:
        return everything


def _split_as_given(
    codes: NDArray[np.intp], groups: NDArray[np.intp], used: NDArray[np.intp], validation: ArrayLike, n: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The same for validation rows chosen by the caller, as positions among all n rows."""
    is_validation = np.zeros(n, dtype=bool)
    positions = np.asarray(validation)
    if positions.size and (positions.dtype.kind not in "iu" or positions.min() < 0 or positions.max() >= n):
        raise ValueError(f"validation must be row positions from 0 to {n - 1}")
    is_validation[positions.astype(np.intp)] = True
    held, kept = np.flatnonzero(is_validation[used]), np.flatnonzero(~is_validation[used])
    astride = np.intersect1d(groups[held], groups[kept])
    if astride.size:
        raise ValueError(f"{astride.size} row groups (or identical rows) have rows in and out of validation")
    if np.setdiff1d(codes, codes[kept]).size:
        raise ValueError("validation leaves a class without training rows")
    return kept, held


def _resampled(
    resample: Resample, X: NDArray[np.float32], classes: NDArray[Any], codes: NDArray[np.intp]
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    new_X, new_y = (np.asarray(part) for part in resample(X, classes[codes]))
    if new_X.shape != (len(new_y), X.shape[1]) or not np.array_equal(np.unique(new_y), classes):
        raise ValueError(
            f"resample returned X of shape {new_X.shape} and labels {np.unique(new_y).tolist()}; "
            f"expected (n, {X.shape[1]}) and {classes.tolist()}"
        )
    return new_X.astype(np.float32), np.searchsorted(classes, new_y)


def _for_raw_features(layers: Layers, center: NDArray[np.float64], scale: NDArray[np.float64]) -> Layers:
    """Fold the standardization into the first layer, and two output columns into their difference."""
    exact = [(weight.astype(np.float64), bias.astype(np.float64)) for weight, bias in layers]
    weight, bias = exact[0]
    exact[0] = (weight / scale[:, None], bias - ((center / scale)[:, None] * weight).sum(axis=0))
    weight, bias = exact[-1]
    if bias.size == 2:
        exact[-1] = (weight[:, 1:] - weight[:, :1], bias[1:] - bias[:1])
    return tuple((weight.astype(np.float32), bias.astype(np.float32)) for weight, bias in exact)
