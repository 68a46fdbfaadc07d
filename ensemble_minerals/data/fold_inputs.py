"""What is known of the rows of a cross-validation besides their features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class FoldInputs:
    """Labels, row groups and folds of n rows, which travel together.

    Attributes:
        y: Class position of each row, shape (n,).
        groups: Row group of each row, shape (n,).
        folds: Fold of each row, shape (n,); rows of a negative fold are never held out, see `data.folds`.
        classes: Labels of the positions, shape (n_classes,).

    Example:
        >>> inputs = FoldInputs(np.array([0, 1, 1]), np.arange(3), np.array([0, 1, -3]), np.array(["a", "b"]))
        >>> inputs.numbers
        [0, 1]
        >>> inputs.training(0), inputs.held_out(0)
        (array([1, 2]), array([0]))
    """

    y: NDArray[np.intp]
    groups: NDArray[np.intp]
    folds: NDArray[np.intp]
    classes: NDArray[Any]

    def __post_init__(self) -> None:
        if not len(self.y) == len(self.groups) == len(self.folds):
            raise ValueError(
                f"{len(self.y)} labels, {len(self.groups)} row groups and {len(self.folds)} folds: "
                "give one of each for every row"
            )

    def __len__(self) -> int:
        return len(self.y)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes."""
        return tuple(str(label) for label in self.classes)

    @property
    def numbers(self) -> list[int]:
        """Folds that are held out in turn, ascending."""
        return [int(fold) for fold in np.unique(self.folds) if fold >= 0]

    @property
    def predicted(self) -> NDArray[np.intp]:
        """Positions of the rows that are held out once."""
        return np.flatnonzero(self.folds >= 0)

    def training(self, fold: int) -> NDArray[np.intp]:
        """Positions of the rows outside a fold; all rows if no row has that fold."""
        return np.flatnonzero(self.folds != fold)

    def held_out(self, fold: int) -> NDArray[np.intp]:
        """Positions of the rows of a fold."""
        return np.flatnonzero(self.folds == fold)

    def redrawn(self, groups: NDArray[np.intp], folds: NDArray[np.intp]) -> FoldInputs:
        """The same rows in other groups and folds."""
        return FoldInputs(self.y, groups, folds, self.classes)

    def take(self, rows: NDArray[Any]) -> FoldInputs:
        """Some rows alone.

        Args:
            rows: Their positions in order, or a mask, shape (n,).
        """
        return FoldInputs(self.y[rows], self.groups[rows], self.folds[rows], self.classes)
