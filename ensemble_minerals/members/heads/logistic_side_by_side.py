"""Logistic regressions on rows of which only the inner products are known, solved side by side.

A constant in the Gram matrix stands for the bias in the equations of a step, see `logistic_newton`; the bias is free
all the same, as the right side pays back what the constant is penalized for.

Blocks of one shape are solved together, though each on rows of its own: for a few hundred rows, calling a function of
NumPy takes longer than what it computes. Each regression takes steps until it is done. What it is solved beside does
not change a bit of its solution.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.members.heads.logistic_blocks import blocks_of, sigmoid, softmax
from ensemble_minerals.members.heads.logistic_newton import NewtonEquations, RowKernel
from ensemble_minerals.members.heads.logistic_problem import Combinations, LogisticProblem, Solution
from ensemble_minerals.members.heads.logistic_products import OwnRows, ProductRows

FloatMatrix = NDArray[np.floating[Any]]

_FORCING, _NEAR = 0.05, 100.0
"""A step's equations are solved until the square of their residual has fallen to this share, and closer near the
solution: to so much times the root of what the right side's square has fallen to."""

_CLOSER = 1e-6
"""Factor of that share where no loss falls along the step: from there on, steps are in double precision, too."""

_LAST = 15.0
"""A step of so many tolerances is the last: it leads so much closer (for 68 classes, to 1e-4 in probabilities)."""

_LONGEST = 8
"""Limit of what a step is multiplied by."""

_HALVINGS = 20
"""Limit of halvings of a step."""

_SUFFICIENT = 1e-4
"""Share of the decrease that a step promises and that it must reach (Armijo's condition)."""

_ROUNDING = 1e-12
"""Relative change of a loss that may be rounding."""

_ROUNDED = 16.0
"""What coefficients add up to is rounding, up to so many units in the last place of all their sizes."""

_LARGE = 1024
"""Blocks of more rows are solved alone: their products take long enough."""


def solve_products(
    rows: Sequence[ProductRows],
    problems: Sequence[Sequence[LogisticProblem]],
    starts: Sequence[Sequence[Solution] | None],
    tols: Sequence[float],
    max_iter: int,
) -> list[list[Solution]]:
    """Solve regressions on several such rows; see `solve_logistic`.

    Args:
        rows: That each share.
        problems: The regressions on each.
        starts: For each the solutions to start from, or None.
        tols: Tolerance of each.
        max_iter: Limit of Newton steps.
    """
    found: list[list[list[Solution]]] = []
    alike: dict[tuple[Any, ...], list[OwnRows]] = defaultdict(list)
    for number, (shared, own, start) in enumerate(zip(rows, problems, starts, strict=True)):
        found.append([])
        taken = 0
        for block in blocks_of(own):
            begin = None if start is None else start[taken : taken + len(block.problems)]
            one = OwnRows(shared, block, begin, tols[number], (number, len(found[number])))
            alone = one.place if one.n_filled > _LARGE else None
            kind = (block.is_softmax, one.combinations is None, one.approximate.dtype)
            alike[(*kind, block.n_columns, one.n_filled, one.axes.shape[1], alone)].append(one)
            found[number].append([])
            taken += len(block.problems)
    for some in alike.values():
        for one, solutions in zip(some, _SideBySide(some).solve(max_iter), strict=True):
            found[one.place[0]][one.place[1]] = solutions
    return [[solution for block in blocks for solution in block] for blocks in found]


class _Point(NamedTuple):
    """The regressions of blocks at some coefficients; k is the number of regressions in a block.

    Attributes:
        coefficients: Of the blocks' rows, shape (b, n_columns, m).
        products: The Gram matrices times them.
        bias: Shape (b, n_columns, 1).
        losses: Penalized, shape (b, k, 1).
        residual: Negative derivatives of the losses by the logits, shape (b, n_columns, m).
        proba: Shape (b, n_columns, m).
    """

    coefficients: FloatMatrix
    products: FloatMatrix
    bias: FloatMatrix
    losses: FloatMatrix
    residual: FloatMatrix
    proba: FloatMatrix


class _SideBySide:
    """Solves blocks of one shape, each on its own rows.

    Args:
        blocks: With as many columns and filled rows.
    """

    def __init__(self, blocks: Sequence[OwnRows]) -> None:
        self._blocks = blocks
        self._is_softmax, self._n_columns = blocks[0].is_softmax, blocks[0].n_columns
        self._grams = [one.gram for one in blocks]
        self._approximate = [one.approximate for one in blocks]
        self._combinations: Combinations | None = None
        sizes = [one.gram.shape[1] for one in blocks]
        ends = np.cumsum(sizes).tolist()
        self._of_block = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]
        if blocks[0].combinations is not None:
            own = [one.combinations for one in blocks if one.combinations is not None]
            self._combinations = Combinations.side_by_side(
                own, [(blocks[0].n_filled, size) for size in sizes]
            )
        self._penalty = np.array(
            [[1.0 / one.C for one in block.problems for _ in range(one.n_columns)] for block in blocks]
        )[:, :, None]
        outcomes = np.arange(self._n_columns)[:, None] if self._is_softmax else 1
        self._weights = _stacked(blocks, lambda one: np.stack([problem.weights for problem in one.problems]))
        self._targets = _stacked(
            blocks, lambda one: np.stack([problem.targets for problem in one.problems]) == outcomes
        )
        axes = _stacked(blocks, lambda one: one.axes.T)
        self._ones = _stacked(blocks, lambda one: one.ones[None])
        values = [
            np.ascontiguousarray(axes.transpose(0, 2, 1)),
            _stacked(blocks, lambda one: one.rest[None]),
            _stacked(blocks, lambda one: one.norms[None]),
        ]
        self._exact = RowKernel(self._times, self._ones, *values)
        self._kernel = RowKernel(
            self._times, self._ones, *(some.astype(self._approximate[0].dtype) for some in values)
        )

    def solve(self, max_iter: int) -> list[list[Solution]]:
        """For each block the solutions of its regressions."""
        point = self._start()
        tol = np.array([one.tol for one in self._blocks])[:, None, None]
        near = self._n_columns / point.losses.shape[1] * (_LAST * tol) ** 2
        unsolved = np.ones(point.losses.shape, dtype=bool)
        first, left = np.zeros(unsolved.shape), np.full(tol.shape, max_iter)
        rough = unsolved.copy()
        stuck = np.ones(tol.shape, dtype=bool)
        for kernel, share in ((self._kernel, 1.0), (self._exact, _CLOSER)):
            closer, tried, stuck = np.full(tol.shape, share), stuck, np.zeros(tol.shape, dtype=bool)
            while (working := unsolved & tried & ~stuck & (left > 0)).any():
                newton = self._equations(kernel, point)
                first = np.where(working, np.maximum(first, newton.squares), first)
                enough = np.minimum(_FORCING, _NEAR * np.sqrt(newton.squares / np.maximum(first, 1e-300)))
                change = newton.solve(closer * enough, working)
                point, moved, squares = self._search(point, newton, *change, working)
                # Products that were added up in single precision are computed anew, once, near the solution.
                if (due := working & rough & (squares < 1)).any():
                    products = np.where(due, self._times(point.coefficients, due), point.products)
                    point = self._evaluate(point.coefficients, products, point.bias)
                    rough &= ~due
                unsolved &= ~(working & moved & (squares <= near))
                failed = working.any(axis=1, keepdims=True) & ~moved
                stuck |= failed & ((closer < 1.0) | (kernel is self._kernel))
                closer = np.where(failed, _CLOSER, 1.0)
                left -= working.any(axis=1, keepdims=True)
        return self._split(point, unsolved)

    def _start(self) -> _Point:
        coefficients, bias = np.zeros(self._targets.shape), np.zeros(self._penalty.shape)
        for number, block in enumerate(self._blocks):
            if block.start is not None:
                own = [
                    one.weight[block.used] if one.combined is None else one.combined for one in block.start
                ]
                coefficients[number] = block.filled(np.concatenate([one.T for one in own]))
                bias[number, :, 0] = np.concatenate([one.bias for one in block.start])
        begun = np.array([block.start is not None for block in self._blocks])[:, None, None]
        return self._evaluate(coefficients, self._times(coefficients, begun), bias)

    def _evaluate(self, coefficients: FloatMatrix, products: FloatMatrix, bias: FloatMatrix) -> _Point:
        compute = softmax if self._is_softmax else sigmoid
        losses, proba = compute(products + bias * self._ones, self._targets)
        penalized = np.einsum("bij,bij->bi", self._weights, losses)[:, :, None]
        penalized += 0.5 * self._dot(self._penalty * coefficients, products)
        residual = (self._targets - proba) * self._weights
        return _Point(coefficients, products, bias, penalized, residual, proba)

    def _dot(self, one: FloatMatrix, other: FloatMatrix) -> FloatMatrix:
        """Inner product for each regression, shape (b, k, 1)."""
        products: FloatMatrix = np.einsum("bij,bij->bi", one, other)[:, :, None]
        return products.sum(axis=1, keepdims=True) if self._is_softmax else products

    def _equations(self, kernel: RowKernel, point: _Point) -> NewtonEquations:
        excess = (point.coefficients * self._ones).sum(axis=2)
        rounding = _ROUNDED * np.finfo(kernel.axes.dtype).eps * np.abs(point.coefficients).sum(axis=2)
        return NewtonEquations(
            kernel,
            self._penalty,
            self._weights,
            point.proba,
            point.residual - self._penalty * point.coefficients,
            np.where(np.abs(excess) > rounding, excess, 0.0),
            is_softmax=self._is_softmax,
        )

    def _split(self, point: _Point, unsolved: NDArray[np.bool_]) -> list[list[Solution]]:
        """The solutions of each block; biases of a softmax are shifted to sum to zero."""
        found = []
        for number, block in enumerate(self._blocks):
            own = point.coefficients[number, :, : len(block.ones)]
            on_shared = own if block.combinations is None else block.combinations.back(own)
            solutions, end = [], 0
            for position, problem in enumerate(block.problems):
                columns = slice(end, end + problem.n_columns)
                end += problem.n_columns
                weight, bias = np.zeros((block.n_shared, problem.n_columns)), point.bias[number, columns, 0]
                weight[block.used] = on_shared[columns].T
                shifted = bias if len(bias) == 1 else bias - bias.mean()
                combined = None if block.combinations is None else own[columns].T
                solutions.append(Solution(weight, shifted, not unsolved[number, position, 0], combined))
            found.append(solutions)
        return found

    def _times(self, coefficients: FloatMatrix, working: NDArray[np.bool_]) -> FloatMatrix:
        """The Gram matrices times coefficients of some regressions, in their precision."""
        grams = self._grams if coefficients.dtype == np.float64 else self._approximate
        if self._combinations is None:
            products = np.zeros_like(coefficients)
            for number, gram in enumerate(grams):
                _multiply(coefficients[number], gram, products[number], working[number])
            return products
        n_blocks, n_columns, n_rows = coefficients.shape
        on_shared = self._combinations.back(coefficients.transpose(1, 0, 2).reshape(n_columns, -1))
        products = np.zeros_like(on_shared)
        for number, (of_block, gram) in enumerate(zip(self._of_block, grams, strict=True)):
            _multiply(on_shared[:, of_block], gram, products[:, of_block], working[number])
        own = self._combinations.of(products).reshape(n_columns, n_blocks, n_rows)
        return np.ascontiguousarray(own.transpose(1, 0, 2))

    def _search(
        self,
        point: _Point,
        newton: NewtonEquations,
        change: FloatMatrix,
        products: FloatMatrix,
        working: NDArray[np.bool_],
    ) -> tuple[_Point, NDArray[np.bool_], FloatMatrix]:
        """Go along a change of the coefficients, with its products, for each regression as far as its loss falls.

        Far from the solution, where losses of rows that are told apart only fall off, longer steps may be better.

        Returns:
            Where that leads; the blocks of which a loss falls, shape (b, 1, 1); and the square of each regression's
            change in units of standard errors, shape (b, k, 1).
        """
        bias = newton.bias(change, products)
        logits = products + bias * self._ones
        of_bias = bias * (point.residual * self._ones).sum(axis=2, keepdims=True)
        slope = -self._dot(newton.gradient, products)
        slope -= of_bias.sum(axis=1, keepdims=True) if self._is_softmax else of_bias
        squares = self._dot(logits, newton.bent(logits)) + self._dot(self._penalty * change, products)

        def at(size: FloatMatrix) -> _Point:
            return self._evaluate(
                point.coefficients + size * change, point.products + size * products, point.bias + size * bias
            )

        def allowed(size: FloatMatrix) -> FloatMatrix:
            return point.losses + _SUFFICIENT * size * slope + _ROUNDING * np.abs(point.losses)

        size = working.astype(np.float64)
        moved = at(size)
        while (failed := (size > 0) & ~(moved.losses <= allowed(size))).any():
            size[failed] *= 0.5
            size[size < 0.5**_HALVINGS] = 0.0
            moved = at(size)
        growing = (squares > 1) & (size == 1)
        while growing.any():
            longer = at(np.where(growing, 2 * size, size))
            growing &= longer.losses < moved.losses
            size = np.where(growing, 2 * size, size)
            moved = _Point(*(np.where(growing, new, old) for new, old in zip(longer, moved, strict=True)))
            growing &= size < _LONGEST
        falls: NDArray[np.bool_] = np.any(size > 0, axis=1, keepdims=True)
        return moved, falls, squares


def _stacked(blocks: Sequence[OwnRows], values: Callable[[OwnRows], NDArray[Any]]) -> FloatMatrix:
    """Values of the rows of each block, filled, shape (b, ..., n_filled), in double precision."""
    return np.stack([one.filled(values(one).astype(np.float64)) for one in blocks])


def _multiply(own: FloatMatrix, gram: FloatMatrix, out: FloatMatrix, some: NDArray[np.bool_]) -> None:
    """Write the products of some columns with a Gram matrix to `out`; of a softmax either all or none."""
    n_rows = gram.shape[1]
    own, in_parts = own[:, :n_rows], out[:, :n_rows].reshape(len(out), len(gram), -1).transpose(1, 0, 2)
    if some.all():
        np.matmul(own, gram, out=in_parts)
    elif some.any():
        in_parts[:, some[:, 0]] = own[some[:, 0]] @ gram
