"""Fits of members on features without one fold: up to their regressions, solved with others, and finished."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.members.base import (
    MEMBER_ERRORS,
    FittedFold,
    FoldResult,
    Member,
    MemberFailure,
    OutOfTime,
    lacking_classes,
)
from ensemble_minerals.members.fitted import FittedMember
from ensemble_minerals.members.heads.logistic_problem import Solution
from ensemble_minerals.members.predictor import AveragedPredictor
from ensemble_minerals.members.row_space import RowSpace
from ensemble_minerals.members.rows import RowData, Rows
from ensemble_minerals.members.specialists import UnsolvedSpecialists, solve_together
from ensemble_minerals.members.strategy import Strategy
from ensemble_minerals.members.training_rows import SharedBlocks, TrainingRows, views_of
from ensemble_minerals.system.parallel import single_thread

FloatMatrix = NDArray[np.floating[Any]]

_ONE_SOLVES = Lock()
"""Held while regressions on few rows are solved. Short calls of NumPy in several threads wait for each other more
than they compute; beside one thread that solves, others prepare and finish."""


def fit_task(
    members: Sequence[Member],
    fold: int,
    deadline: float | None,
    blocks: SharedBlocks | None,
    inputs: FoldInputs,
    views: FloatMatrix | None,
    *matrices: FloatMatrix,
) -> list[FoldResult]:
    """Call `fit_together` on one core, unless it is too late; arrays are arguments so that workers share them."""
    if deadline is not None and time.time() > deadline:
        return [OutOfTime(member.name, fold) for member in members]
    with single_thread:
        return fit_together(members, matrices, inputs, fold, blocks=blocks, views=views)


def fit_sets(
    sets: Sequence[Sequence[Member]], fold: int, inputs: FoldInputs, data: RowData
) -> list[FoldResult]:
    """Fit members without one fold, each set of them on features of its own, on one core."""
    blocks = SharedBlocks()
    with single_thread:
        started = []
        for members in sets:
            matrices = [data.matrices[name] for name in members[0].features]
            started.append(start_together(members, matrices, inputs, fold, blocks=blocks))
        with _ONE_SOLVES:
            solve_started(started)
        return finish_started(started)


def fit_together(
    members: Sequence[Member],
    matrices: Sequence[FloatMatrix],
    inputs: FoldInputs,
    fold: int,
    rows: NDArray[np.intp] | None = None,
    views: FloatMatrix | None = None,
    blocks: SharedBlocks | None = None,
) -> list[FoldResult]:
    """Fit members that share their features on the rows outside a fold, and predict the rows in it.

    Logistic regressions on the rows as they are, with the same limits, go in one solve: beside which others a member
    is fitted changes its answers by less than the solver's tolerance.

    Args:
        members: All on the same features.
        matrices: Those, each of shape (n_all, n_features).
        inputs: Labels, row groups and folds of n rows.
        fold: Held out; `NO_FOLD` trains on all rows and predicts none.
        rows: Positions in the matrices of the rows of `inputs`, shape (n,); all of them if None.
        blocks: What members on some of the same matrices share in this fold.
        views: What is trained on in place of the one matrix, which is their mean, shape (n_all, n_views, n_features).

    Returns:
        For each member what it was fitted to, or why it failed, in their order.
    """
    started = start_together(members, matrices, inputs, fold, rows=rows, views=views, blocks=blocks)
    solve_started([started])
    return finish_started([started])


@dataclass
class StartedFit:
    """Members on the same features, fitted up to their regressions.

    Attributes:
        fits: Of each member.
        held_out: The rows that they are to predict.
    """

    fits: list[_MemberFit]
    held_out: Rows


def start_together(
    members: Sequence[Member],
    matrices: Sequence[FloatMatrix],
    inputs: FoldInputs,
    fold: int,
    *,
    rows: NDArray[np.intp] | None = None,
    views: FloatMatrix | None = None,
    blocks: SharedBlocks | None = None,
) -> StartedFit:
    """Prepare the training rows of members that share their features, and all but their regressions.

    Arguments are those of `fit_together`.
    """
    training, held_out = inputs.training(fold), inputs.held_out(fold)
    positions = np.arange(len(inputs)) if rows is None else rows
    fits = [_MemberFit(member, fold) for member in members]
    started = StartedFit(fits, Rows(matrices, positions[held_out]))
    if (reason := lacking_classes(inputs.y[training], inputs.classes)) is not None:
        for fit in fits:
            fit.failure = MemberFailure(fit.member.name, fold, reason)
        return started
    began = time.perf_counter()
    space = RowSpace([matrix.shape[1] for matrix in matrices])
    try:
        if views is None:
            trained = TrainingRows(space, Rows(matrices, positions[training]), blocks=blocks)
        else:
            n_views, apart = views.shape[1], views.reshape(-1, views.shape[2])
            trained = TrainingRows(space, Rows((apart,), views_of(positions[training], n_views)), n_views)
    except MEMBER_ERRORS as error:
        for fit in fits:
            fit.failure = MemberFailure.of(fit.member, fold, error)
        return started
    each = (time.perf_counter() - began) / len(members)
    for fit in fits:
        fit.seconds = each
        with fit.timed():
            fit.start(trained, inputs.take(training))
    return started


def solve_started(started: Sequence[StartedFit]) -> None:
    """Solve the regressions of members on several sets of features."""
    by_limits: dict[tuple[float, int], list[_MemberFit]] = {}
    for fit in (fit for one in started for fit in one.fits):
        if fit.failure is None and fit.unsolved.problems:
            by_limits.setdefault((fit.unsolved.tol, fit.unsolved.max_iter), []).append(fit)
    for same in by_limits.values():
        _solve(same)


def finish_started(started: Sequence[StartedFit]) -> list[FoldResult]:
    """Predict the held-out rows.

    Returns:
        What each member was fitted to, or why it failed, in their order.
    """
    for one in started:
        for fit in one.fits:
            with fit.timed():
                fit.finish(one.held_out)
    return [fit.result() for one in started for fit in one.fits]


@dataclass
class _MemberFit:
    """The fit of one member without one fold, in steps between which it waits for other members."""

    member: Member
    fold: int
    seconds: float = 0.0
    failure: MemberFailure | None = None
    solutions: list[Solution] = field(default_factory=list)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Take the time of a step; an error makes the member fail."""
        started = time.perf_counter()
        try:
            yield
        except MEMBER_ERRORS as error:
            self.failure = MemberFailure.of(self.member, self.fold, error)
        self.seconds += time.perf_counter() - started

    def start(self, rows: TrainingRows, training: FoldInputs) -> None:
        self.rows = rows
        self.strategy: Strategy = clone(self.member.strategy)
        self.unsolved: UnsolvedSpecialists = self.strategy.start_fit(
            rows, training.y, training.groups, training.classes
        )

    def finish(self, held_out: Rows) -> None:
        """Predict the held-out rows, unless the member has failed."""
        if self.failure is not None:
            return
        specialists = self.strategy.finish_fit(self.unsolved, self.solutions).predictor_
        self.predictor = AveragedPredictor.average([specialists])
        with np.errstate(invalid="ignore"):  # the check below reports it
            log_proba = [self.predictor.log_proba(X).astype(np.float64) for X in held_out.parts()]
        proba = np.exp(np.concatenate(log_proba))
        if not np.isfinite(proba).all():
            raise ValueError("held-out rows get no probabilities: features have NaN or infinity")
        self.proba = proba / proba.sum(axis=1, keepdims=True)

    def result(self) -> FoldResult:
        if self.failure is not None:
            return self.failure
        fitted = FittedMember(self.member.name, self.member.features, self.predictor)
        return FittedFold(self.fold, fitted, self.proba, self.strategy.notes_, self.seconds)


def _solve(fits: Sequence[_MemberFit]) -> None:
    """Solve together the regressions of members with the same limits; each pays by its columns."""
    on_rows: dict[int, list[_MemberFit]] = {}
    for fit in fits:
        on_rows.setdefault(id(fit.rows), []).append(fit)
    sets = list(on_rows.values())
    columns = [sum(problem.n_columns for problem in fit.unsolved.problems) for fit in fits]
    started = time.perf_counter()
    try:
        solved = solve_together(
            [own[0].rows for own in sets], [[fit.unsolved for fit in own] for own in sets]
        )
    except MEMBER_ERRORS as error:
        if len(sets) > 1:  # the others are solved without the one that it came from
            for own in sets:
                _solve(own)
            return
        for fit in fits:
            fit.failure = MemberFailure.of(fit.member, fit.fold, error)
        return
    each = (time.perf_counter() - started) / sum(columns)
    for own, solutions in zip(sets, solved, strict=True):
        for fit, found in zip(own, solutions, strict=True):
            fit.solutions = found
    for fit, count in zip(fits, columns, strict=True):
        fit.seconds += each * count
