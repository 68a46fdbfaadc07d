"""Training the specialists of one member: one net a node, each with its own oversampling and prior correction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils.validation import has_fit_parameter

from ensemble_minerals.data.oversampling import OverSampler, class_prior, prior_shift
from ensemble_minerals.data.subproblem import Subproblem
from ensemble_minerals.members.heads.logistic import LogisticHead
from ensemble_minerals.members.heads.logistic_problem import LogisticProblem, Solution
from ensemble_minerals.members.heads.logistic_solver import solve_logistic
from ensemble_minerals.members.predictor import ClassifierSpecialist, DenseSpecialist, Specialist
from ensemble_minerals.members.row_space import RowSpace

FloatMatrix = NDArray[np.floating[Any]]

Trained: TypeAlias = tuple[tuple[Specialist, ...], tuple[str, ...]]
"""Nets, in the order of their nodes, and notes."""


@dataclass(frozen=True)
class UnsolvedSpecialists:
    """Specialists of which some are still to be solved, together with those of other members.

    Attributes:
        problems: What is to be solved on the rows that the members share.
        tol: How closely, see `solve_logistic`.
        max_iter: Its limit of steps.
        finish: Makes of the solutions the nets, over raw features, and notes on samplers that had to be replaced.
    """

    problems: tuple[LogisticProblem, ...]
    tol: float
    max_iter: int
    finish: Callable[[Sequence[Solution]], Trained]


def solve_together(Z: FloatMatrix, begun: Sequence[UnsolvedSpecialists]) -> list[list[Solution]]:
    """Solutions for each of several members on the same rows, shape (n, rank).

    Raises:
        ValueError: If members with problems have different limits.
    """
    problems = [problem for one in begun for problem in one.problems]
    if not problems:
        return [[] for _ in begun]
    limits = {(one.tol, one.max_iter) for one in begun if one.problems}
    if len(limits) > 1:
        raise ValueError(f"members cannot be solved together to different limits: {sorted(limits)}")
    ((tol, max_iter),) = limits
    solutions = iter(solve_logistic(Z, problems, tol=tol, max_iter=max_iter))
    return [list(islice(solutions, len(one.problems))) for one in begun]


@dataclass(frozen=True)
class SpecialistTraining:
    """What all specialists of a member share in one fold.

    Attributes:
        space: The fitted change of coordinates.
        Z: Its training rows, shape (n, rank).
        groups: Row group of each row, shape (n,).
        head: An unfitted classifier. One that splits its rows, say to stop early, takes `groups` and `resample`
            in `fit`, as `MLPHead` does.
        sampler: The over-sampler.
        prior_correction: Whether the natural prior is restored after oversampling.
        seed: Makes the specialists' random choices differ from each other and repeat.
    """

    space: RowSpace
    Z: FloatMatrix
    groups: NDArray[np.intp]
    head: Any
    sampler: OverSampler
    prior_correction: bool
    seed: int

    def start(self, nodes: Sequence[Subproblem]) -> UnsolvedSpecialists:
        """Fit one net a node, but for logistic regressions on the rows as they are, which are solved together."""
        samplers = [
            clone(self.sampler).set_params(random_state=_seed(self.seed, number))
            for number in range(len(nodes))
        ]
        if isinstance(self.head, LogisticHead):
            if not self.sampler.makes_rows:
                return self._start_logistic(self.head, nodes, samplers)
            specialists, notes = self._train_logistic(self.head, nodes, samplers)
        else:
            specialists, notes = self._train_each(nodes, samplers, self._train_classifier)
        trained = tuple(specialists), _named(nodes, notes)
        return UnsolvedSpecialists((), 0.0, 0, lambda _: trained)

    def _train_each(
        self,
        nodes: Sequence[Subproblem],
        samplers: Sequence[OverSampler],
        train: Callable[[Subproblem, OverSampler, int], tuple[Specialist, str]],
    ) -> tuple[list[Specialist], list[str]]:
        pairs = [
            train(node, sampler, number)
            for number, (node, sampler) in enumerate(zip(nodes, samplers, strict=True))
        ]
        return [specialist for specialist, _ in pairs], [note for _, note in pairs]

    def _start_logistic(
        self, head: LogisticHead, nodes: Sequence[Subproblem], samplers: Sequence[OverSampler]
    ) -> UnsolvedSpecialists:
        """Problems of nodes without synthetic rows: copies of a row are a weight on it."""
        problems, shifts, notes = [], [], []
        for node, sampler in zip(nodes, samplers, strict=True):
            drawn = sampler.resample(node.rows, node.targets)
            targets = np.full(len(self.Z), -1, dtype=np.intp)
            targets[node.rows] = node.targets
            weights = np.bincount(drawn.X, minlength=len(self.Z)).astype(np.float64)
            problems.append(LogisticProblem(targets, weights, node.n_outcomes, head.C))
            shifts.append(self._shift(node, drawn.y))
            notes.append(drawn.note)

        def finish(solutions: Sequence[Solution]) -> Trained:
            return tuple(self._specialists(solutions, shifts)), _named(nodes, _doubts(notes, solutions))

        return UnsolvedSpecialists(tuple(problems), head.tol, head.max_iter, finish)

    def _train_logistic(
        self, head: LogisticHead, nodes: Sequence[Subproblem], samplers: Sequence[OverSampler]
    ) -> tuple[list[Specialist], list[str]]:
        """Nodes with synthetic rows share none, and are solved one by one."""
        solutions: list[Solution] = []
        shifts, notes = [], []
        for node, sampler in zip(nodes, samplers, strict=True):
            drawn = sampler.resample(self.Z[node.rows], node.targets)
            problem = LogisticProblem(drawn.y, np.ones(len(drawn.y)), node.n_outcomes, head.C)
            solutions += solve_logistic(drawn.X, [problem], tol=head.tol, max_iter=head.max_iter)
            shifts.append(self._shift(node, drawn.y))
            notes.append(drawn.note)
        return self._specialists(solutions, shifts), _doubts(notes, solutions)

    def _specialists(self, solutions: Sequence[Solution], shifts: Sequence[FloatMatrix]) -> list[Specialist]:
        """Nets over raw features whose answers stand under the natural prior."""
        biases = [one.bias + _as_log_odds(shift) for one, shift in zip(solutions, shifts, strict=True)]
        # In one go: what leads back to the features is read once for all nodes.
        weight, bias = self.space.fold_in(
            np.concatenate([solution.weight for solution in solutions], axis=1), np.concatenate(biases)
        )
        ends = np.cumsum([len(part) for part in biases])[:-1]
        return [
            DenseSpecialist(((np.ascontiguousarray(columns), part),))
            for columns, part in zip(np.split(weight, ends, axis=1), np.split(bias, ends), strict=True)
        ]

    def _train_classifier(
        self, node: Subproblem, sampler: OverSampler, number: int
    ) -> tuple[Specialist, str]:
        head = clone(self.head)
        settings = {"random_state": _seed(self.seed, number), "scaling": "whole"}
        head.set_params(**{name: value for name, value in settings.items() if name in head.get_params()})
        if has_fit_parameter(head, "resample"):
            trained, note = self._fit_splitting(head, node, sampler)
        else:
            drawn = sampler.resample(self.Z[node.rows], node.targets)
            trained, note = drawn.y, drawn.note
            splits = has_fit_parameter(head, "groups")
            if splits and len(drawn.y) > drawn.n_original:
                raise ValueError(
                    f"{type(head).__name__} splits its rows by groups, and copies of a row would stand on both "
                    "sides: let its fit take `resample`, as that of MLPHead does, or use the sampler 'none'"
                )
            head.fit(drawn.X, drawn.y, **({"groups": self.groups[node.rows]} if splits else {}))
        return self._as_specialist(head, self._shift(node, trained)), note

    def _as_specialist(self, head: Any, shift: FloatMatrix) -> Specialist:
        """A fitted head over raw features; one with affine `layers_` becomes plain arrays, which can be saved."""
        if not hasattr(head, "layers_"):
            return ClassifierSpecialist(_InSpace(self.space, head), shift)
        layers = list(head.layers_)
        layers[-1] = (layers[-1][0], layers[-1][1] + _as_log_odds(shift))
        layers[0] = self.space.fold_in(*layers[0])
        return DenseSpecialist(tuple((w.astype(np.float32), b.astype(np.float32)) for w, b in layers))

    def _fit_splitting(
        self, head: Any, node: Subproblem, sampler: OverSampler
    ) -> tuple[NDArray[np.intp], str]:
        """Fit a head that splits its rows: only its training part is oversampled, what it looks at stays natural.

        Returns:
            The targets it was trained on, added rows included, and the sampler's note.
        """
        seen: list[tuple[NDArray[np.intp], str]] = []

        def resample(X: FloatMatrix, y: NDArray[np.intp]) -> tuple[FloatMatrix, NDArray[np.intp]]:
            drawn = sampler.resample(X, y)
            seen.append((drawn.y, drawn.note))
            return drawn.X, drawn.y

        head.fit(self.Z[node.rows], node.targets, groups=self.groups[node.rows], resample=resample)
        return seen[-1]

    def _shift(self, node: Subproblem, trained: NDArray[np.intp]) -> FloatMatrix:
        """What oversampling added to the log-odds of the branches, taken back, shape (n_branches,)."""
        if not self.prior_correction:
            return np.zeros(node.n_outcomes)
        return prior_shift(class_prior(trained, node.n_outcomes), class_prior(node.targets, node.n_outcomes))


@dataclass(frozen=True)
class _InSpace:
    """A classifier of reduced rows, asked about raw ones."""

    space: RowSpace
    classifier: Any

    def predict_proba(self, X: FloatMatrix) -> FloatMatrix:
        proba: FloatMatrix = self.classifier.predict_proba(self.space.transform(X))
        return proba


def _named(nodes: Sequence[Subproblem], notes: Sequence[str]) -> tuple[str, ...]:
    """Notes that begin with the node they are about."""
    return tuple(f"{node.name}: {note}" for node, note in zip(nodes, notes, strict=True) if note)


def _doubts(notes: Sequence[str], solutions: Sequence[Solution]) -> list[str]:
    """Notes, with a word on regressions that were not solved to their tolerance."""
    short = "the regression stopped short of its tolerance, its penalty may be too weak: lower C"
    return [
        "; ".join(filter(None, (note, "" if one.converged else short)))
        for note, one in zip(notes, solutions, strict=True)
    ]


def _as_log_odds(shift: FloatMatrix) -> FloatMatrix:
    """A shift of two branches as one of the log-odds of the second."""
    return shift[[1]] - shift[[0]] if len(shift) == 2 else shift


def _seed(seed: int, number: int) -> int:
    return int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
