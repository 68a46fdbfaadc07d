"""The contract of a member's strategy, in scikit-learn's words."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from ensemble_minerals.data.oversampling import OverSampler
from ensemble_minerals.data.subproblem import Subproblem
from ensemble_minerals.members.heads.logistic import LogisticHead
from ensemble_minerals.members.heads.logistic_solver import Solution
from ensemble_minerals.members.predictor import MemberPredictor
from ensemble_minerals.members.row_space import RowSpace
from ensemble_minerals.members.specialists import Begun, Training, solve_together
from ensemble_minerals.taxonomy import Taxonomy

FloatMatrix = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Plan:
    """The decisions whose answers make a distribution over the classes.

    Attributes:
        taxonomy: Tree at whose nodes the decisions stand; flat for flat and one-vs-rest members.
        one_vs_rest: Whether the decisions are one a class against the others instead of one a node.
        subproblems: What each specialist learns, in the order of nodes or classes.
    """

    taxonomy: Taxonomy
    one_vs_rest: bool
    subproblems: tuple[Subproblem, ...]


class Strategy(ClassifierMixin, BaseEstimator, ABC):  # type: ignore[misc]  # scikit-learn has no types
    """A classifier made of specialists over one feature matrix.

    Args:
        head: Unfitted classifier for every specialist; `LogisticHead` by default. Any scikit-learn classifier
            with ``predict_proba`` will do.
        sampler: Over-sampler of every specialist; none by default.
        prior_correction: Restore the natural prior that oversampling shifted.
        random_state: Seed.

    Attributes:
        classes_: Labels, ascending.
        n_features_in_: Number of columns seen in `fit`.
        predictor_: The fitted specialists.
        notes_: Sentences about over-samplers that had to be replaced.
    """

    def __init__(
        self,
        head: Any = None,
        sampler: OverSampler | None = None,
        prior_correction: bool = True,
        random_state: int = 0,
    ) -> None:
        self.head = head
        self.sampler = sampler
        self.prior_correction = prior_correction
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike, groups: ArrayLike | None = None) -> Strategy:
        """Fit the specialists.

        Args:
            X: Features, shape (n, n_features).
            y: Labels, shape (n,).
            groups: Row groups, shape (n,); inner splits keep a group on one side. Each row by itself if None.

        Raises:
            ValueError: If there are fewer than two classes, or lengths differ.
        """
        matrix, labels = validate_data(self, X, y, dtype=(np.float64, np.float32))
        check_classification_targets(labels)
        self.classes_, encoded = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"{type(self).__name__} needs at least two classes; the data has one class: {str(self.classes_[0])!r}"
            )
        given = np.arange(len(labels)) if groups is None else np.asarray(groups)
        check_consistent_length(matrix, given)
        space = RowSpace()
        reduced = space.fit_transform(matrix)
        begun = self.begin_reduced(
            space, reduced, encoded.astype(np.intp), np.unique(given, return_inverse=True)[1], self.classes_
        )
        return self.finish_reduced(begun, *solve_together(reduced, [begun]))

    def begin_reduced(
        self,
        space: RowSpace,
        Z: FloatMatrix,
        y: NDArray[np.intp],
        groups: NDArray[np.intp],
        classes: NDArray[Any],
    ) -> Begun:
        """Begin on rows that are already in a row space, up to what is solved together with others on the same rows.

        Args:
            space: The fitted change of coordinates.
            Z: Training rows in it, shape (n, rank).
            y: Class positions, shape (n,); every class has rows.
            groups: Row groups, shape (n,).
            classes: Labels of the positions.
        """
        self.classes_ = classes
        self.n_features_in_ = space.n_features_in_
        training = Training(
            space=space,
            Z=Z,
            groups=groups,
            head=LogisticHead() if self.head is None else self.head,
            sampler=OverSampler("none") if self.sampler is None else self.sampler,
            prior_correction=self.prior_correction,
            seed=self.random_state,
        )
        self._plan = self.plan(y, tuple(str(label) for label in classes), Z, groups)
        return training.begin(self._plan.subproblems)

    def finish_reduced(self, begun: Begun, solutions: Sequence[Solution]) -> Strategy:
        """Finish what `begin_reduced` began, with the solutions of its problems."""
        specialists, self.notes_ = begun.finish(solutions)
        self.predictor_ = MemberPredictor(self._plan.taxonomy, self._plan.one_vs_rest, (specialists,))
        return self

    @abstractmethod
    def plan(
        self,
        y: NDArray[np.intp],
        names: tuple[str, ...],
        Z: FloatMatrix,
        groups: NDArray[np.intp],
    ) -> Plan:
        """What the specialists shall decide.

        Args:
            y: Class positions, shape (n,).
            names: Class names.
            Z: Training rows, shape (n, d), for what is learned about the classes.
            groups: Row groups, shape (n,).
        """

    def predict_log_proba(self, X: ArrayLike) -> FloatMatrix:
        """Log-probabilities, shape (n, n_classes)."""
        check_is_fitted(self)
        matrix = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        return self.predictor_.log_proba(matrix)

    def predict_proba(self, X: ArrayLike) -> FloatMatrix:
        """Probabilities, shape (n, n_classes)."""
        return np.exp(self.predict_log_proba(X))

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Most probable label of each row, shape (n,)."""
        check_is_fitted(self)
        labels: NDArray[Any] = self.classes_[self.predict_log_proba(X).argmax(axis=1)]
        return labels
