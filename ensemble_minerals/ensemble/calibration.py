"""Temperature scaling (Guo et al. 2017, ICML, "On calibration of modern neural networks", section 4.2)."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ensemble_minerals.log_space import log_normalize

FloatMatrix = NDArray[np.floating[Any]]

MOST = 20.0
"""The highest temperature; the lowest is its inverse."""

Temperature: TypeAlias = Annotated[float, Field(ge=0.999 / MOST, le=1.001 * MOST)]
"""A temperature that was read: one that may have been learned, but for rounding."""


class TemperatureScaling:
    """Divide log-probabilities by one number, learned on rows the rest of the model never saw.

    If all of a few rows are answered correctly, the log-loss alone would sharpen the answers without bound. So each
    row counts as wrong with probability 1 / (n + 2), Laplace's rule, as in Platt's targets (1999, "Probabilistic
    outputs for support vector machines", section 2.2). With hundreds of rows this changes almost nothing.

    Attributes:
        temperature_: Above 1 it softens the answers, below 1 it sharpens them.
    """

    def fit(self, log_proba: FloatMatrix, y: NDArray[np.intp]) -> TemperatureScaling:
        """Minimize the log-loss over the temperature, between 1 / `MOST` and `MOST`.

        Args:
            log_proba: Cross-fitted log-probabilities, shape (n, n_classes).
            y: Class positions, shape (n,).
        """
        import scipy.optimize

        rows, doubt = np.arange(len(y)), 1.0 / (len(y) + 2)

        def loss(log_temperature: float) -> float:
            scaled = log_normalize(log_proba / np.exp(log_temperature))
            true = scaled[rows, y]
            others = scaled.copy()
            others[rows, y] = -np.inf
            false = np.logaddexp.reduce(others, axis=1)
            return -float(((1.0 - doubt) * true + doubt * false).mean())

        limit = np.log(MOST)
        result = scipy.optimize.minimize_scalar(loss, bounds=(-limit, limit), method="bounded")
        self.temperature_ = float(np.exp(result.x))
        return self
