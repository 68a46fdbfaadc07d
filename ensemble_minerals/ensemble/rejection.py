"""Telling photos of something else from photos like those of the fit: "none of these".

The scores of `typicality` are joined into one. Its conformal p-value is the *typicality* of a photo: the share of row
groups of the fit, scored by models that had not seen them, that are at least as strange (Laxhammar 2014, "Conformal
anomaly detection"; Bates et al. 2023, Annals of Statistics 51, on outliers). A photo like those of the fit has a
typicality of 0.05 or less with probability 0.05 at most.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.ensemble.typicality import SCORES, TypicalityModel
from ensemble_minerals.system.arrays import checked_array

FloatMatrix = NDArray[np.floating[Any]]
Floats = NDArray[np.float64]

TIE = 1e-6
"""Scores that differ by no more are equal: a photo of the fit has its own score again, but for rounding."""

ANSWERED, NONE_OF_THESE = "answered", "none_of_these"
"""The verdicts on a photo."""

IN_WORDS = "none of these"
"""What people read in place of the label of a refused photo."""

ANSWERS = "members:log_proba"
"""Takes the place of a feature extractor where there is no frozen one: the members' centered log-probabilities."""


@dataclass(frozen=True)
class Rejection:
    """Decides which photos show none of the classes.

    Attributes:
        features: Feature extractors whose features are looked at.
        model: Scores rows.
        mean: Of each score over rows of the fit, shape (3,), see `typicality.SCORES`.
        spread: Standard deviation of each score over them, shape (3,).
        weight: Of each score in the sum, shape (3,).
        calibration: Joined scores of the rows of the fit, by models that had not seen them, shape (n,).
        row_group: Row group of each of them, shape (n,).
        refuse: Share of photos like those of the fit that is refused in expectation.
        of_rows: Typicality of each row of the fit, compared with rows of other folds; not of `calibration`, whose
            scores are joined as those of new photos are. Shape (n,).
    """

    features: tuple[str, ...]
    model: TypicalityModel
    mean: Floats
    spread: Floats
    weight: Floats
    calibration: Floats
    row_group: NDArray[np.int64]
    refuse: float
    of_rows: Floats

    @classmethod
    def read(
        cls, features: tuple[str, ...], refuse: float, arrays: Mapping[str, NDArray[Any]], n_classes: int
    ) -> Self:
        """A rejection from what a bundle keeps of it, see `arrays`.

        Raises:
            ValueError: If an array is missing, not what it should be, or belongs to nothing.
        """
        model = TypicalityModel.read(arrays, len(features), n_classes)
        mean, spread, weight = (
            checked_array(arrays, name, np.float64, (len(SCORES),))
            for name in ("score_mean", "score_spread", "weight")
        )
        if spread.min() <= 0 or weight.min() < 0 or weight.max() == 0:
            raise ValueError("score_spread must be positive, and weight not negative and not all 0")
        calibration = checked_array(arrays, "calibration", np.float64, (None,))
        row_group = checked_array(arrays, "row_group", np.int64, calibration.shape)
        of_rows = checked_array(arrays, "typicality", np.float64, calibration.shape)
        if not calibration.size or of_rows.min() <= 0 or of_rows.max() > 1:
            raise ValueError("typicality must be numbers above 0 and at most 1, of at least one row")
        rejection = cls(features, model, mean, spread, weight, calibration, row_group, refuse, of_rows)
        if arrays.keys() != rejection.arrays().keys():
            raise ValueError("it holds arrays that belong to nothing")
        return rejection

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What a bundle keeps, besides `features` and `refuse`."""
        return self.model.arrays() | {
            "score_mean": self.mean,
            "score_spread": self.spread,
            "weight": self.weight,
            "calibration": self.calibration,
            "row_group": self.row_group,
            "typicality": self.of_rows,
        }

    @property
    def n_groups(self) -> int:
        """Number of row groups of the calibration."""
        return len(np.unique(self.row_group))

    @property
    def least(self) -> float:
        """The least typicality that a photo can have."""
        return 1.0 / (self.n_groups + 1)

    def score(self, matrices: Mapping[str, FloatMatrix]) -> Floats:
        """The joined score of each row, higher for strangers, shape (n,).

        Args:
            matrices: For each extractor (n, n_features), views pooled.

        Raises:
            ValueError: If a score is not finite.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            scores = self.model.scores([matrices[name] for name in self.features])
            score = join(scores, self.mean, self.spread, self.weight)
        if not np.isfinite(score).all():
            raise ValueError("the scores that tell strangers are no numbers")
        return score

    def typicality(self, matrices: Mapping[str, FloatMatrix]) -> Floats:
        """Conformal p-value of each row, above 0 and at most 1, shape (n,); see `score`."""
        return p_values(self.score(matrices), self.calibration, self.row_group)


def join(scores: Floats, mean: Floats, spread: Floats, weight: Floats) -> Floats:
    """The weighted sum of standardized scores, shape (n,), of scores (n, 3)."""
    joined: Floats = ((scores - mean) / spread) @ weight
    return joined


def p_values(score: Floats, calibration: Floats, row_group: NDArray[np.integer[Any]]) -> Floats:
    """Conformal p-values of scores; each row group of the calibration counts once.

    Args:
        score: Shape (m,), higher for strangers.
        calibration: Scores of rows that their models had not seen, shape (n,).
        row_group: Of each of them, shape (n,).

    Returns:
        Shape (m,), at least 1 over one more than the number of groups.

    Example:
        >>> p_values(np.array([0.0, 2.5, 9.0]), np.array([1.0, 2.0, 3.0]), np.arange(3))
        array([1.  , 0.5 , 0.25])
    """
    _, group, size = np.unique(row_group, return_inverse=True, return_counts=True)
    order = np.argsort(calibration, kind="stable")
    weight = 1.0 / size[group[order]]
    stranger = np.append(np.cumsum(weight[::-1])[::-1], 0.0)
    at_least = stranger[np.searchsorted(calibration[order], score - TIE, side="left")]
    # Sums of fractions, whose last digits depend on the order of adding.
    values: Floats = np.round((1.0 + at_least) / (len(size) + 1.0), 12)
    return values


def refused(typicality: Floats, refuse: float) -> NDArray[np.bool_]:
    """Which photos are called none of the classes; none where `refuse` is 0 or there is no typicality (NaN)."""
    return (typicality <= refuse) & (refuse > 0)


def auroc(known: Floats, strangers: Floats) -> float:
    """Probability that a stranger has the higher score than a known row; ties count half.

    Example:
        >>> auroc(np.array([0.0, 1.0]), np.array([1.0, 2.0]))
        0.875
    """
    ordered = np.sort(known)
    below = np.searchsorted(ordered, strangers, side="left") + np.searchsorted(
        ordered, strangers, side="right"
    )
    return float(below.mean() / (2 * len(known)))
