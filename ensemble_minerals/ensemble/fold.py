"""One fold of members that share their features: one row space, one solve of what they regress on its rows."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from ensemble_minerals.ensemble.tasks import (
    MEMBER_ERRORS,
    FittedFold,
    Member,
    MemberFailure,
    lacking_classes,
)
from ensemble_minerals.members.base import Strategy
from ensemble_minerals.members.heads.logistic_solver import Solution
from ensemble_minerals.members.predictor import AveragedPredictor
from ensemble_minerals.members.row_space import RowSpace
from ensemble_minerals.members.rows import Rows
from ensemble_minerals.members.specialists import solve_together

FloatMatrix = NDArray[np.floating[Any]]


def fit_fold(
    members: Sequence[Member],
    matrices: Sequence[FloatMatrix],
    y: NDArray[np.intp],
    groups: NDArray[np.intp],
    folds: NDArray[np.intp],
    fold: int,
    classes: NDArray[Any],
    rows: NDArray[np.intp] | None = None,
) -> list[FittedFold | MemberFailure]:
    """Fit members that share their features on the rows outside `fold`, and predict the rows in it.

    Logistic regressions on the rows as they are, with the same limits, go in one solve: beside which others a member
    is fitted changes its answers by less than the solver's tolerance.

    Args:
        members: All on the same features.
        matrices: Those, each of shape (n_all, n_features).
        y: Class positions, shape (n,).
        groups: Row groups, shape (n,).
        folds: Fold of each row, shape (n,).
        fold: Which to hold out; one that no row has trains on all rows and predicts none.
        classes: Labels of the positions.
        rows: Positions in the matrices of what the other arrays tell of, shape (n,); all of them if None.

    Returns:
        For each member what it was fitted to, or why it failed, in their order.
    """
    training, held_out = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
    positions = np.arange(len(y)) if rows is None else rows
    if (reason := lacking_classes(y[training], classes)) is not None:
        return [MemberFailure(member.name, fold, reason) for member in members]
    started = time.perf_counter()
    space = RowSpace()
    try:
        Z = space.fit_rows(Rows(matrices, positions[training]))
    except MEMBER_ERRORS as error:
        return [_failure(member, fold, error) for member in members]
    shared = (time.perf_counter() - started) / len(members)
    courses = [_Course(member, fold, shared) for member in members]
    for course in courses:
        with course.under_watch():
            course.begin(space, Z, y[training], groups[training], classes)
    alike: dict[tuple[float, int], list[_Course]] = {}
    for course in courses:
        if course.failure is None and course.begun.problems:
            alike.setdefault((course.begun.tol, course.begun.max_iter), []).append(course)
    for same in alike.values():
        _solve(Z, same)
    asked = Rows(matrices, positions[held_out])
    for course in courses:
        with course.under_watch():
            course.finish(asked)
    return [course.outcome() for course in courses]


@dataclass
class _Course:
    """A member on its way through one fold."""

    member: Member
    fold: int
    seconds: float
    failure: MemberFailure | None = None
    solutions: list[Solution] = field(default_factory=list)

    @contextmanager
    def under_watch(self) -> Iterator[None]:
        """Take the time of a step; an error makes the member fail."""
        started = time.perf_counter()
        try:
            yield
        except MEMBER_ERRORS as error:
            self.failure = _failure(self.member, self.fold, error)
        self.seconds += time.perf_counter() - started

    def begin(self, space: RowSpace, Z: FloatMatrix, *training: NDArray[Any]) -> None:
        self.strategy: Strategy = clone(self.member.strategy)
        self.begun = self.strategy.begin_reduced(space, Z, *training)

    def finish(self, asked: Rows) -> None:
        """Answer the held-out rows, unless the member has failed."""
        if self.failure is not None:
            return
        self.predictor = AveragedPredictor.average(
            [self.strategy.finish_reduced(self.begun, self.solutions).predictor_]
        )
        with np.errstate(invalid="ignore"):  # told below
            log_proba = [self.predictor.log_proba(X).astype(np.float64) for X in asked.parts()]
        proba = np.exp(np.concatenate(log_proba))
        if not np.isfinite(proba).all():
            raise ValueError("held-out rows get no probabilities: features have NaN or infinity")
        self.proba = proba / proba.sum(axis=1, keepdims=True)

    def outcome(self) -> FittedFold | MemberFailure:
        return self.failure or FittedFold(
            self.member.name, self.fold, self.predictor, self.proba, self.strategy.notes_, self.seconds
        )


def _solve(Z: FloatMatrix, courses: Sequence[_Course]) -> None:
    """Solve together what members with the same limits have left to be solved; each pays by its columns."""
    columns = [sum(problem.n_columns for problem in course.begun.problems) for course in courses]
    started = time.perf_counter()
    try:
        solved = solve_together(Z, [course.begun for course in courses])
    except MEMBER_ERRORS as error:
        for course in courses:
            course.failure = _failure(course.member, course.fold, error)
        return
    each = (time.perf_counter() - started) / sum(columns)
    for course, solutions, count in zip(courses, solved, columns, strict=True):
        course.solutions = solutions
        course.seconds += each * count


def _failure(member: Member, fold: int, error: BaseException) -> MemberFailure:
    return MemberFailure(member.name, fold, f"{type(error).__name__}: {error}")
