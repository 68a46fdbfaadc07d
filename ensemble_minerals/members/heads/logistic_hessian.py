"""The Hessian of logistic regressions that share their rows, as products with directions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.members.heads.logistic_blocks import BlockHessian
from ensemble_minerals.members.heads.logistic_rows import FREE, ColumnRows

FloatMatrix = NDArray[np.floating[Any]]


class Layout:
    """Which columns are of which problem.

    Attributes:
        counts: Columns of each problem.
        problem_of: Problem of each column.
        n_columns: Columns of all problems.
    """

    def __init__(self, counts: NDArray[np.intp]) -> None:
        self.counts = counts
        self.problem_of = np.repeat(np.arange(len(counts)), counts)
        self.n_columns = len(self.problem_of)
        self._starts = np.cumsum(counts) - counts

    def sums(self, products: FloatMatrix) -> FloatMatrix:
        """Sums over the columns and coefficients of each problem."""
        return np.add.reduceat(products.sum(axis=1), self._starts)

    def slices(self, widths: Sequence[int]) -> list[slice]:
        """Columns of parts of these widths."""
        ends = np.cumsum(widths).tolist()
        return [slice(end - width, end) for end, width in zip(ends, widths, strict=True)]


@dataclass(frozen=True)
class Hessian:
    """The Hessian of some problems at some parameters, and its approximate inverse.

    Attributes:
        layout: Of the problems' columns.
        rows: The rows that they share.
        penalty: Of each column, shape (n_columns, 1).
        blocks: Second derivatives by the logits.
        preconditioner: The approximate inverse, which is diagonal.
    """

    layout: Layout
    rows: ColumnRows
    penalty: FloatMatrix
    blocks: Sequence[BlockHessian]
    preconditioner: FloatMatrix

    def product(self, direction: FloatMatrix) -> FloatMatrix:
        """The Hessian's product with a direction, both of shape (n_columns, n_coefficients + 1)."""
        change = self.rows.logits(direction)
        for block, columns in zip(
            self.blocks, self.layout.slices([len(one.factor) for one in self.blocks]), strict=True
        ):
            change[columns] = block.product(change[columns])
        product = self.rows.gathered(change)
        product[:, :-1] += self.penalty * direction[:, :-1]
        product[:, -1] += FREE * direction[:, -1]
        return product

    def of(self, problems: NDArray[np.bool_]) -> Hessian:
        """That of some problems alone."""
        columns = problems[self.layout.problem_of]
        kept = [columns[part] for part in self.layout.slices([len(one.factor) for one in self.blocks])]
        return Hessian(
            Layout(self.layout.counts[problems]),
            self.rows,
            self.penalty[columns],
            [block.of(some) for block, some in zip(self.blocks, kept, strict=True) if some.any()],
            self.preconditioner[columns],
        )
