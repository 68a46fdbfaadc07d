"""The equations of a step of Newton's method for logistic regressions on rows that are known by inner products.

Where V V' are the second derivatives of the losses by the logits and K is the Gram matrix, the step changes the
coefficients by V u, and u solves (penalty + V' K V) u = right side (Rasmussen & Williams 2006, "Gaussian Processes
for Machine Learning", algorithms 3.1 and 3.3). Conjugate gradients solve it. Their preconditioner is the same matrix
with K as its leading axes plus a diagonal, which is inverted as it stands (the "fully independent training
conditional" of Quinonero-Candela & Rasmussen 2005, JMLR 6), so that a few rounds do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatMatrix = NDArray[np.floating[Any]]

_FLAT = 1e-6
"""Smallest curvature of a row that counts, for a weight of one."""

_ROUNDS = 200
"""Limit of rounds of conjugate gradients."""


@dataclass(frozen=True)
class RowKernel:
    """What a step needs to know of the rows of b blocks of regressions, in the precision of steps.

    Attributes:
        times: The Gram matrices times coefficients, both of shape (b, n_columns, m), of the regressions, shape
            (b, k, 1), that are still to be solved; of others it may give anything.
        ones: Of each row the share of the bias, shape (b, 1, m).
        axes: Values of the rows on a long axis for the bias, and on the leading axes, shape (b, m, n_axes).
        rest: What the axes leave of each row's square, shape (b, 1, m).
        norms: The rows' squares, shape (b, 1, m).
    """

    times: Callable[[FloatMatrix, NDArray[np.bool_]], FloatMatrix]
    ones: FloatMatrix
    axes: FloatMatrix
    rest: FloatMatrix
    norms: FloatMatrix


class NewtonEquations:
    """The equations at some coefficients, for each of b blocks by themselves.

    Args:
        kernel: The rows.
        penalty: Of each column, shape (b, n_columns, 1).
        weights: Of each row, shape (b, 1 or n_columns, m).
        proba: Shape (b, n_columns, m).
        gradient: Negative derivatives of the penalized losses, as coefficients, shape (b, n_columns, m).
        excess: What the coefficients of each column add up to, shape (b, n_columns): zero at the solution.
        is_softmax: Whether the columns of a block are outcomes of one regression, else each is one of two outcomes.

    Attributes:
        gradient: As given.
        root: What a change of the logits is multiplied by for one in units of standard errors, (b, n_columns, m).
        squares: Of the right side of each regression, shape (b, k, 1).
    """

    def __init__(
        self,
        kernel: RowKernel,
        penalty: FloatMatrix,
        weights: FloatMatrix,
        proba: FloatMatrix,
        gradient: FloatMatrix,
        excess: FloatMatrix,
        *,
        is_softmax: bool,
    ) -> None:
        dtype = kernel.axes.dtype
        self._kernel, self._penalty = kernel, penalty.astype(dtype)
        proba = np.maximum(proba if is_softmax else proba * (1 - proba), _FLAT)
        curvature = weights * proba
        self.root = np.sqrt(curvature)
        self._root, curvature = self.root.astype(dtype), curvature.astype(dtype)
        self._inverse = 1 / (self._penalty + curvature * kernel.rest)
        # A residual where the losses are flat changes nothing: it counts as far as a row alone would feel it.
        self._felt = curvature * kernel.norms
        self._felt /= self._penalty + self._felt
        self._unit: FloatMatrix | None = None
        if is_softmax:
            self._unit = np.sqrt(proba / proba.sum(axis=1, keepdims=True)).astype(dtype)
            self._scaled_unit = self._unit * self._inverse
            self._along = 1 / _over_columns(self._unit, self._scaled_unit)
        self._excess, self.gradient = excess, gradient
        self._across_axes = np.ascontiguousarray(kernel.axes.transpose(0, 2, 1))
        self._inner = self._inverse_inner(curvature * self._inverse)
        self._learn_bias(kernel.ones)
        self._right_side = np.divide(gradient, self.root, out=np.zeros_like(self.root), where=self.root > 0)
        self._right_side = self._free(self.across(self._right_side).astype(dtype))
        self.squares = self.dot(self._felt * self._right_side, self._right_side)

    def _inverse_inner(self, held: FloatMatrix) -> FloatMatrix:
        """Of Woodbury's identity: (b, n_columns, n_axes, n_axes), or for a softmax of all its columns together."""
        axes, across = self._kernel.axes, self._across_axes[:, None]
        n_axes = axes.shape[2]
        inner: FloatMatrix = (held[:, :, None] * across) @ axes[:, None]
        inner[..., np.arange(n_axes), np.arange(n_axes)] += 1
        if self._unit is None:
            return np.linalg.inv(inner)
        shares = held / np.sqrt(np.maximum(held.sum(axis=1, keepdims=True), 1e-30))
        between = (shares[:, :, None] * across).reshape(len(held), -1, len(axes[0]))
        together = -(between @ between.transpose(0, 2, 1))
        for column in range(held.shape[1]):
            own = slice(column * n_axes, (column + 1) * n_axes)
            together[:, own, own] += inner[:, column]
        return np.linalg.inv(together)

    def _learn_bias(self, ones: FloatMatrix) -> None:
        """Learn the directions in which changes of the biases lead, and the inverse of their inner products."""
        of_bias = self.root * ones
        products = np.square(of_bias).sum(axis=2)
        if self._unit is None:
            self._inverse_bias: FloatMatrix = 1 / np.maximum(products, 1e-300)
        else:
            common = of_bias * self._unit
            # All biases may change by the same, which no softmax depends on.
            together = products[:, :, None] * np.eye(products.shape[1]) - common @ common.transpose(0, 2, 1)
            self._inverse_bias = np.linalg.inv(
                together + products.mean(axis=1)[:, None, None] / products.shape[1]
            )
        self._of_bias = of_bias.astype(self._root.dtype)

    def _bias(self, sums: FloatMatrix) -> FloatMatrix:
        """Changes of the biases, (b, n_columns, 1), that bring about sums over the rows, shape (b, n_columns)."""
        if self._unit is None:
            return (self._inverse_bias * sums)[:, :, None]
        changes: FloatMatrix = self._inverse_bias @ sums[:, :, None]
        return changes

    def _by_bias(self, changes: FloatMatrix) -> FloatMatrix:
        return self.across(self._of_bias * changes.astype(self._of_bias.dtype))

    def _free(self, values: FloatMatrix) -> FloatMatrix:
        """Values, changed in place to be without what the biases can do."""
        values -= self._by_bias(self._bias(np.einsum("bij,bij->bi", self._of_bias, values)))
        return values

    def bent(self, logits: FloatMatrix) -> FloatMatrix:
        """The second derivatives times a change of the logits, both of shape (b, n_columns, m)."""
        bent: FloatMatrix = self.root * self.across(self.root * logits)
        return bent

    def bias(self, change: FloatMatrix, products: FloatMatrix) -> FloatMatrix:
        """The change of the biases that goes with one of the coefficients, shape (b, n_columns, 1).

        Args:
            change: Of the coefficients, shape (b, n_columns, m).
            products: The Gram matrices times it.
        """
        missing = self.gradient - self._penalty * change - self.bent(products)
        return self._bias((missing * self._kernel.ones).sum(axis=2))

    def across(self, values: FloatMatrix) -> FloatMatrix:
        """Values, changed in place to be without what a softmax does not depend on."""
        if self._unit is not None:
            values -= self._unit * _over_columns(self._unit, values)
        return values

    def _product(self, values: FloatMatrix, working: NDArray[np.bool_]) -> tuple[FloatMatrix, FloatMatrix]:
        """The left side, and the Gram matrices times the coefficients that the values mean."""
        products = self._kernel.times(self._root * values, working)
        left = self.across(self._root * products)
        left += self._penalty * values
        return self._free(left), products

    def _by_diagonal(self, values: FloatMatrix) -> FloatMatrix:
        """Values times the inverse of the preconditioner's diagonal."""
        product: FloatMatrix = self._inverse * values
        if self._unit is not None:
            product -= self._scaled_unit * (self._along * _over_columns(self._scaled_unit, values))
        return product

    def _precondition(self, values: FloatMatrix) -> FloatMatrix:
        product = self._by_diagonal(values)
        along = (self._root * product) @ self._kernel.axes
        if self._unit is None:
            along = (along[:, :, None] @ self._inner)[:, :, 0]
        else:
            along = (self._inner @ along.reshape(len(along), -1, 1)).reshape(along.shape)
        product -= self._by_diagonal(self.across(self._root * (along @ self._across_axes)))
        return self._free(product)

    def solve(self, share: FloatMatrix, working: NDArray[np.bool_]) -> tuple[FloatMatrix, FloatMatrix]:
        """The change of the coefficients, and the Gram matrices times it, both of shape (b, n_columns, m).

        Args:
            share: Of the square of each regression's right side, at which its residual is good enough, (b, k, 1).
            working: The regressions that are to be changed, shape (b, k, 1); others are left as they are.
        """
        residual, found = self._right_side.copy(), np.zeros_like(self._right_side)
        products = np.zeros_like(found)
        if self._excess.any():
            found = self._by_bias(self._bias(-self._excess) * working)
            left, products = self._product(found, working)
            residual -= left
        direction = scaled = self._precondition(residual)
        squares, target = self.dot(residual, scaled), share * self.squares
        for _ in range(_ROUNDS):
            left, of_direction = self._product(direction, working)
            bent = self.dot(direction, left)
            size = np.divide(squares, bent, out=np.zeros_like(squares), where=working & (bent > 0))
            found += size * direction
            products += size * of_direction
            residual -= size * left
            working = working & (size != 0) & ~(self.dot(self._felt * residual, residual) <= target)
            if not working.any():
                break
            scaled = self._precondition(residual)
            before, squares = squares, self.dot(residual, scaled)
            share = np.divide(squares, before, out=np.zeros_like(squares), where=before > 0)
            direction = scaled + share * direction
        return self.root * self.across(found.astype(np.float64)), products.astype(np.float64)

    def dot(self, one: FloatMatrix, other: FloatMatrix) -> FloatMatrix:
        """Inner product for each regression, shape (b, k, 1)."""
        products: FloatMatrix = np.einsum("bij,bij->bi", one, other)[:, :, None]
        return products if self._unit is None else products.sum(axis=1, keepdims=True)


def _over_columns(one: FloatMatrix, other: FloatMatrix) -> FloatMatrix:
    """Inner products over the columns, shape (b, 1, m)."""
    products: FloatMatrix = np.einsum("bij,bij->bj", one, other)[:, None]
    return products
