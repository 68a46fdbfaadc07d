"""What all heads share whose answers come from log-odds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from ensemble_minerals.log_space import log_proba_of_logits

FloatMatrix = NDArray[np.floating[Any]]


class AnswersByLogOdds:
    """Probabilities and labels of a classifier that has `decision_function` and `classes_`."""

    classes_: NDArray[Any]

    def decision_function(self, X: ArrayLike) -> FloatMatrix:
        """Log-odds: shape (n,) for two classes, else (n, n_classes)."""
        raise NotImplementedError

    def predict_proba(self, X: ArrayLike) -> FloatMatrix:
        """Probabilities, shape (n, n_classes)."""
        logits = self.decision_function(X)
        return np.exp(log_proba_of_logits(logits[:, None] if logits.ndim == 1 else logits))

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Most probable label of each row, shape (n,)."""
        check_is_fitted(self)
        labels: NDArray[Any] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return labels
