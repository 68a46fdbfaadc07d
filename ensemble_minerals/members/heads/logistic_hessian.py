"""Hessians of logistic regressions that share their rows, as products with a direction."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatMatrix = NDArray[np.floating[Any]]


class Layout:
    """Where the columns of each problem are.

    Attributes:
        n_columns: Columns of all problems.
        starts: First column of each problem; `problem_of`: problem of each column.
        blocks: Columns of each problem.
        binary: Columns of problems of two outcomes.
        softmaxes: Columns of each problem of more.
    """

    def __init__(self, counts: NDArray[np.intp]) -> None:
        self.counts = counts
        ends = np.cumsum(counts)
        self.n_columns = int(ends[-1])
        self.starts: NDArray[np.intp] = ends - counts
        self.problem_of = np.repeat(np.arange(len(counts)), counts)
        self.blocks = [slice(int(start), int(end)) for start, end in zip(self.starts, ends, strict=True)]
        self.binary = np.array([b.start for b in self.blocks if b.stop - b.start == 1], dtype=np.intp)
        self.softmaxes = [block for block in self.blocks if block.stop - block.start > 1]

    def sums(self, values: FloatMatrix) -> FloatMatrix:
        """Sums over the columns and rows of each problem's parameters."""
        return np.add.reduceat(values.sum(axis=1), self.starts)


@dataclass(frozen=True)
class Hessian:
    """Products with the Hessian of some problems at some parameters.

    Attributes:
        layout: Of the problems' columns.
        X: Rows in the precision of steps, shape (n, d).
        parts: In which they are processed.
        penalty: Curvature of the penalty, same shape as the parameters.
        proba: Probability of each column for each row, shape (n_columns, n).
        curvature: Weighted derivatives of probabilities by logits, same shape; for a softmax without the mean.
    """

    layout: Layout
    X: FloatMatrix
    parts: list[slice]
    penalty: FloatMatrix
    proba: FloatMatrix
    curvature: FloatMatrix

    def product(self, direction: FloatMatrix) -> FloatMatrix:
        """The Hessian's product with a direction."""
        product: FloatMatrix = self.penalty * direction
        weight = np.ascontiguousarray(direction[:, :-1])
        for part in self.parts:
            # Twice as fast as the product in the other order, which would need no transpose.
            change = np.ascontiguousarray((self.X[part] @ weight.T).T)
            change += direction[:, -1:]
            for block in self.layout.softmaxes:
                change[block] -= np.einsum("ij,ij->j", self.proba[block, part], change[block])
            change *= self.curvature[:, part]
            product[:, :-1] += change @ self.X[part]
            product[:, -1] += change.sum(axis=1)
        return product

    def of(self, problems: NDArray[np.bool_]) -> Hessian:
        """That of some problems alone."""
        columns = problems[self.layout.problem_of]
        return replace(
            self,
            layout=Layout(self.layout.counts[problems]),
            penalty=self.penalty[columns],
            proba=self.proba[columns],
            curvature=self.curvature[columns],
        )
