"""Training the specialists of one member: one for each subproblem, with its own oversampling and prior correction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.utils.validation import has_fit_parameter

from ensemble_minerals.data.class_prior import class_prior, prior_shift
from ensemble_minerals.data.oversampling import OverSampler
from ensemble_minerals.data.subproblem import Subproblem
from ensemble_minerals.members.heads.logistic import DEFAULT_C, LogisticHead
from ensemble_minerals.members.heads.logistic_penalty import INNER_FOLDS, PenaltyChoice
from ensemble_minerals.members.heads.logistic_problem import LogisticProblem, Solution
from ensemble_minerals.members.heads.logistic_solver import solve_logistic, solve_side_by_side
from ensemble_minerals.members.inner_folds import inner_folds
from ensemble_minerals.members.predictor import ClassifierSpecialist, DenseSpecialist, Specialist
from ensemble_minerals.members.row_space import RowSpace
from ensemble_minerals.members.training_rows import TrainingRows
from ensemble_minerals.system.seeds import derived_seed

FloatMatrix = NDArray[np.floating[Any]]

Trained: TypeAlias = tuple[tuple[Specialist, ...], tuple[str, ...]]
"""Specialists, in the order of their subproblems, and notes."""


@dataclass(frozen=True)
class UnsolvedSpecialists:
    """Specialists whose logistic regressions are still to be solved, together with those of other members.

    Attributes:
        problems: The regressions, on the rows that the members share; none where all specialists are fitted.
        tol: Tolerance, see `solve_logistic`.
        max_iter: Limit of steps, see `solve_logistic`.
        finish: Turns the solutions into specialists over raw features, and notes on samplers that had to be replaced.
    """

    problems: tuple[LogisticProblem, ...]
    tol: float
    max_iter: int
    finish: Callable[[Sequence[Solution]], Trained]


def solve_together(
    rows: Sequence[TrainingRows], unsolved: Sequence[Sequence[UnsolvedSpecialists]]
) -> list[list[list[Solution]]]:
    """Solve the regressions of several members together.

    Args:
        rows: Each of them shared by some members.
        unsolved: For each the regressions of its members.

    Returns:
        For each its members' solutions.

    Raises:
        ValueError: If members with problems have different limits.
    """
    problems = [[problem for one in own for problem in one.problems] for own in unsolved]
    limits = {(one.tol, one.max_iter) for own in unsolved for one in own if one.problems}
    if len(limits) > 1:
        raise ValueError(f"members cannot be solved together to different limits: {sorted(limits)}")
    if not limits:
        return [[[] for _ in own] for own in unsolved]
    ((tol, max_iter),) = limits
    shared = [one.shared for one in rows]
    solved = [iter(some) for some in solve_side_by_side(shared, problems, tol=tol, max_iter=max_iter)]
    return [
        [list(islice(solutions, len(one.problems))) for one in own]
        for own, solutions in zip(unsolved, solved, strict=True)
    ]


@dataclass(frozen=True)
class SpecialistTraining:
    """What all specialists of a member share in one fold.

    Attributes:
        rows: The training rows.
        y: Class position of each row, shape (n,).
        groups: Row group of each row, shape (n,).
        head: An unfitted classifier. If it splits its rows, for example to stop early, its `fit` takes `groups` and
            `resample`, as that of `MLPHead` does.
        sampler: The over-sampler.
        prior_correction: Whether the natural prior is restored after oversampling.
        seed: From it each specialist gets a random seed of its own.
    """

    rows: TrainingRows
    y: NDArray[np.intp]
    groups: NDArray[np.intp]
    head: Any
    sampler: OverSampler
    prior_correction: bool
    seed: int

    def start(self, subproblems: Sequence[Subproblem]) -> UnsolvedSpecialists:
        """Fit a specialist for each subproblem, but leave regressions on rows that are shared for a joint solve."""
        samplers = [
            self.sampler.seeded(derived_seed(self.seed, number)) for number in range(len(subproblems))
        ]
        if isinstance(self.head, LogisticHead):
            if self.sampler.combines_rows:
                return self._start_logistic(self.head, subproblems, samplers)
            self._check_one_view()
            given = self.head.given_penalty
            if given is None:
                raise ValueError("C='auto' goes with the sampler none, random or smote; give C as a number")
            specialists, notes = self._train_logistic(self.head, given, subproblems, samplers)
        else:
            pairs = [
                self._train_classifier(subproblem, sampler, number)
                for number, (subproblem, sampler) in enumerate(zip(subproblems, samplers, strict=True))
            ]
            specialists, notes = [one for one, _ in pairs], [note for _, note in pairs]
        trained = tuple(specialists), _with_names(subproblems, notes)
        return UnsolvedSpecialists((), 0.0, 0, lambda _: trained)

    def _start_logistic(
        self, head: LogisticHead, subproblems: Sequence[Subproblem], samplers: Sequence[OverSampler]
    ) -> UnsolvedSpecialists:
        """Regressions on the rows, or on combinations of them; copies of a row become a weight of it."""
        problems, shifts, notes = [], [], []
        C = head.given_penalty or DEFAULT_C
        for subproblem, sampler in zip(subproblems, samplers, strict=True):
            problem, trained, note = self._problem(C, subproblem, sampler)
            problems.append(problem)
            shifts.append(self._shift(subproblem, trained))
            notes.append(note)
        if head.given_penalty is None:
            choice = PenaltyChoice(
                self.rows.shared,
                problems,
                subproblems,
                [_as_log_odds(shift) for shift in shifts],
                self.rows.n_views,
                head.max_iter,
            )
            chosen = choice.choose(inner_folds(self.y, self.groups, INNER_FOLDS, seed=0))
            problems = [replace(problem, C=chosen or C) for problem in problems]
            if chosen is None:
                notes[0] = "; ".join(
                    filter(None, (notes[0], f"too few objects of a class to choose a penalty, C is {C:g}"))
                )

        def finish(solutions: Sequence[Solution]) -> Trained:
            return tuple(self._specialists(self.rows, solutions, shifts)), _with_names(
                subproblems, _with_warnings(notes, solutions)
            )

        return UnsolvedSpecialists(tuple(problems), head.tol, head.max_iter, finish)

    def _problem(
        self, C: float, subproblem: Subproblem, sampler: OverSampler
    ) -> tuple[LogisticProblem, NDArray[np.intp], str]:
        """The regression of a subproblem, the targets it is trained on, and the sampler's note."""
        n = len(self.rows)
        if sampler.makes_rows:
            drawn = sampler.combine(
                lambda own, k: self.rows.neighbors(subproblem.rows[own], k), subproblem.targets
            )
            entries = (drawn.X.data, subproblem.rows[drawn.X.indices], drawn.X.indptr)
            combinations = csr_array(entries, (len(drawn.y), n))
            problem = self.rows.problem(
                drawn.y, np.ones(len(drawn.y)), subproblem.n_outcomes, C, combinations
            )
            return problem, drawn.y, drawn.note
        resampled = sampler.resample(subproblem.rows, subproblem.targets)
        targets = np.full(n, -1, dtype=np.intp)
        targets[subproblem.rows] = subproblem.targets
        weights = np.bincount(resampled.X, minlength=n).astype(np.float64)
        problem = self.rows.problem(targets, weights, subproblem.n_outcomes, C)
        return problem, resampled.y, resampled.note

    def _train_logistic(
        self,
        head: LogisticHead,
        C: float,
        subproblems: Sequence[Subproblem],
        samplers: Sequence[OverSampler],
    ) -> tuple[list[Specialist], list[str]]:
        """Solve subproblems with rows of their own one after the other."""
        solutions: list[Solution] = []
        shifts, notes = [], []
        for subproblem, sampler in zip(subproblems, samplers, strict=True):
            resampled = sampler.resample(self.rows.coordinates[subproblem.rows], subproblem.targets)
            problem = LogisticProblem(resampled.y, np.ones(len(resampled.y)), subproblem.n_outcomes, C)
            solutions += solve_logistic(resampled.X, [problem], tol=head.tol, max_iter=head.max_iter)
            shifts.append(self._shift(subproblem, resampled.y))
            notes.append(resampled.note)
        return self._specialists(self.rows.space, solutions, shifts), _with_warnings(notes, solutions)

    def _specialists(
        self, space: TrainingRows | RowSpace, solutions: Sequence[Solution], shifts: Sequence[FloatMatrix]
    ) -> list[Specialist]:
        """Specialists over raw features, corrected to the natural prior; the space knows the solutions' columns."""
        biases = [one.bias + _as_log_odds(shift) for one, shift in zip(solutions, shifts, strict=True)]
        # All at once, so that the rotation is read only once.
        weight, bias = space.fold_in(
            np.concatenate([solution.weight for solution in solutions], axis=1), np.concatenate(biases)
        )
        ends = np.cumsum([len(part) for part in biases])[:-1]
        return [
            DenseSpecialist(((np.ascontiguousarray(columns), part),))
            for columns, part in zip(np.split(weight, ends, axis=1), np.split(bias, ends), strict=True)
        ]

    def _train_classifier(
        self, subproblem: Subproblem, sampler: OverSampler, number: int
    ) -> tuple[Specialist, str]:
        head = clone(self.head)
        settings = {"random_state": derived_seed(self.seed, number), "scaling": "whole"}
        head.set_params(**{name: value for name, value in settings.items() if name in head.get_params()})
        if hasattr(head, "fit_products") and self.rows.gram is not None and self.sampler.kind == "none":
            return self._fit_products(head, subproblem), ""
        if has_fit_parameter(head, "resample"):
            self._check_one_view()
            trained, note = self._fit_splitting(head, subproblem, sampler)
        else:
            if sampler.kind != "none":
                self._check_one_view()
            Z, n_views = self.rows.coordinates, self.rows.n_views
            every = len(subproblem.rows) == len(self.rows)
            # Of all rows nothing is copied, though it may be in a mapped file.
            resampled = sampler.resample(
                Z if every else Z[self.rows.positions(subproblem.rows)],
                np.repeat(subproblem.targets, n_views),
            )
            trained, note = resampled.y, resampled.note
            splits = has_fit_parameter(head, "groups")
            if splits and len(resampled.y) > resampled.n_original:
                raise ValueError(
                    f"{type(head).__name__} splits its rows by groups, and copies of a row would be on both "
                    "sides: let its fit take `resample`, as that of MLPHead does, or use the sampler 'none'"
                )
            groups = {"groups": np.repeat(self.groups[subproblem.rows], n_views)} if splits else {}
            head.fit(resampled.X, resampled.y, **groups)
        return self._as_specialist(head, self._shift(subproblem, trained)), note

    def _check_one_view(self) -> None:
        """Make sure that no views are rows: samplers see photos, and answers are for the mean of the views.

        Raises:
            ValueError: If they are.
        """
        if self.rows.n_views > 1:
            raise ValueError(
                "views can be rows for a logistic head, with the sampler none, random or smote, and for another "
                "linear head without a sampler; for others take the mean of the views"
            )

    def _as_specialist(self, head: Any, shift: FloatMatrix) -> Specialist:
        """A fitted head over raw features; one with affine `layers_` becomes plain arrays, which can be saved."""
        if not hasattr(head, "layers_"):
            return ClassifierSpecialist(_ReducingClassifier(self.rows.space, head), shift)
        layers = list(head.layers_)
        layers[-1] = (layers[-1][0], layers[-1][1] + _as_log_odds(shift))
        layers[0] = self.rows.space.fold_in(*layers[0])
        return DenseSpecialist(tuple((w.astype(np.float32), b.astype(np.float32)) for w, b in layers))

    def _fit_products(self, head: Any, subproblem: Subproblem) -> Specialist:
        """Fit a head that needs only the inner products of the rows: no factorization of them is computed."""
        own, n_views, gram = self.rows.positions(subproblem.rows), self.rows.n_views, self.rows.gram
        assert gram is not None
        found, bias = head.fit_products(
            gram[np.ix_(own, own)],
            self.rows.n_dimensions,
            np.repeat(subproblem.targets, n_views),
            np.repeat(self.groups[subproblem.rows], n_views),
        )
        coefficients = np.zeros((len(gram), found.shape[1]))
        coefficients[own] = found
        return DenseSpecialist((self.rows.fold_in(coefficients, bias),))

    def _fit_splitting(
        self, head: Any, subproblem: Subproblem, sampler: OverSampler
    ) -> tuple[NDArray[np.intp], str]:
        """Fit a head that splits its rows: only its training part is oversampled, its validation part stays as it is.

        Returns:
            The targets it was trained on, added rows included, and the sampler's note.
        """
        seen: list[tuple[NDArray[np.intp], str]] = []

        def resample(X: FloatMatrix, y: NDArray[np.intp]) -> tuple[FloatMatrix, NDArray[np.intp]]:
            resampled = sampler.resample(X, y)
            seen.append((resampled.y, resampled.note))
            return resampled.X, resampled.y

        head.fit(
            self.rows.coordinates[subproblem.rows],
            subproblem.targets,
            groups=self.groups[subproblem.rows],
            resample=resample,
        )
        return seen[-1]

    def _shift(self, subproblem: Subproblem, trained: NDArray[np.intp]) -> FloatMatrix:
        """What corrects the log-odds of the outcomes for oversampling, shape (n_outcomes,)."""
        if not self.prior_correction:
            return np.zeros(subproblem.n_outcomes)
        return prior_shift(
            class_prior(trained, subproblem.n_outcomes),
            class_prior(subproblem.targets, subproblem.n_outcomes),
        )


@dataclass(frozen=True)
class _ReducingClassifier:
    """A classifier of rows in a row space that predicts raw rows."""

    space: RowSpace
    classifier: Any

    def predict_proba(self, X: FloatMatrix) -> FloatMatrix:
        proba: FloatMatrix = self.classifier.predict_proba(self.space.transform(X))
        return proba


def _with_names(subproblems: Sequence[Subproblem], notes: Sequence[str]) -> tuple[str, ...]:
    """Notes that start with the name of their subproblem."""
    return tuple(
        f"{subproblem.name}: {note}" for subproblem, note in zip(subproblems, notes, strict=True) if note
    )


def _with_warnings(notes: Sequence[str], solutions: Sequence[Solution]) -> list[str]:
    """Notes, with a warning where a regression did not reach its tolerance."""
    short = "the regression stopped short of its tolerance, its penalty may be too weak: lower C"
    return [
        "; ".join(filter(None, (note, "" if one.converged else short)))
        for note, one in zip(notes, solutions, strict=True)
    ]


def _as_log_odds(shift: FloatMatrix) -> FloatMatrix:
    """The shift of two outcomes as a shift of the log-odds of the second."""
    return shift[[1]] - shift[[0]] if len(shift) == 2 else shift
