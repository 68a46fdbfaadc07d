"""The contract of a member's strategy, in scikit-learn's words: into which subproblems it divides the classes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from ensemble_minerals.data.oversampling import OverSampler
from ensemble_minerals.data.subproblem import Subproblem
from ensemble_minerals.members.heads.discriminant import DiscriminantHead
from ensemble_minerals.members.heads.logistic import LogisticHead
from ensemble_minerals.members.heads.logistic_problem import Solution
from ensemble_minerals.members.predictor import MemberPredictor
from ensemble_minerals.members.specialists import SpecialistTraining, UnsolvedSpecialists, solve_together
from ensemble_minerals.members.training_rows import TrainingRows
from ensemble_minerals.taxonomy import Taxonomy

FloatMatrix = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Decomposition:
    """Subproblems whose answers make a distribution over the classes.

    Attributes:
        taxonomy: Tree with a subproblem at each node; without groups for flat and one-vs-rest members.
        one_vs_rest: Whether there is a subproblem for each class against the others, not for each node.
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

    kind: ClassVar[str]
    """Its name in a configuration."""

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

    @property
    def is_oversampled(self) -> bool:
        """Whether its specialists train on added rows."""
        return self.sampler is not None and self.sampler.kind != "none"

    @property
    def takes_views(self) -> bool:
        """Whether views of a photo can be its training rows: its answers are linear, and no views are made."""
        if self.head is None or isinstance(self.head, LogisticHead):
            return self.sampler is None or self.sampler.combines_rows
        return isinstance(self.head, DiscriminantHead) and not self.is_oversampled

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
        rows = TrainingRows.of(matrix)
        unsolved = self.start_fit(
            rows, encoded.astype(np.intp), np.unique(given, return_inverse=True)[1], self.classes_
        )
        ((solutions,),) = solve_together([rows], [[unsolved]])
        return self.finish_fit(unsolved, solutions)

    def start_fit(
        self,
        rows: TrainingRows,
        y: NDArray[np.intp],
        groups: NDArray[np.intp],
        classes: NDArray[Any],
    ) -> UnsolvedSpecialists:
        """Fit on rows in a row space, up to the regressions that members on the same rows solve together.

        Args:
            rows: Training rows.
            y: Class positions, shape (n,); every class has rows.
            groups: Row groups, shape (n,).
            classes: Labels of the positions.
        """
        self.classes_ = classes
        self.n_features_in_ = rows.space.n_features_in_
        training = SpecialistTraining(
            rows=rows,
            y=y,
            groups=groups,
            head=LogisticHead() if self.head is None else self.head,
            sampler=OverSampler("none") if self.sampler is None else self.sampler,
            prior_correction=self.prior_correction,
            seed=self.random_state,
        )
        self._decomposition = self.decompose(y, tuple(str(label) for label in classes), rows, groups)
        return training.start(self._decomposition.subproblems)

    def finish_fit(self, unsolved: UnsolvedSpecialists, solutions: Sequence[Solution]) -> Strategy:
        """Finish what `start_fit` started, with the solutions of its regressions."""
        specialists, self.notes_ = unsolved.finish(solutions)
        self.predictor_ = MemberPredictor(
            self._decomposition.taxonomy, self._decomposition.one_vs_rest, (specialists,)
        )
        return self

    @abstractmethod
    def decompose(
        self,
        y: NDArray[np.intp],
        names: tuple[str, ...],
        rows: TrainingRows,
        groups: NDArray[np.intp],
    ) -> Decomposition:
        """Divide the classes into subproblems.

        Args:
            y: Class positions, shape (n,).
            names: Class names.
            rows: Training rows, from which groups of classes may be learned.
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
