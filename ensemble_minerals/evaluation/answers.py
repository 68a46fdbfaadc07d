"""Answers to photos with known classes: the input of an error analysis."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.ensemble.oof import OutOfFold
from ensemble_minerals.evaluation.metrics import Floats, Ints, check_rows, confusion_counts, row_log_loss
from ensemble_minerals.taxonomy import Taxonomy


@dataclass(frozen=True)
class MemberVote:
    """The class that one member finds most probable for a photo.

    Attributes:
        member: Name of the member.
        answer: Name of the class.
        probability: What the member gives that class.
    """

    member: str
    answer: str
    probability: float


@dataclass(frozen=True)
class AnsweredPhoto:
    """One photo with its label and what was answered.

    Attributes:
        path: Of the photo.
        given: Its label.
        answer: The class that the ensemble finds most probable.
        right: Whether the answer is the label.
        p_given: Probability of the label.
        p_answer: Probability of the answer.
        fold: The fold that the photo was held out in; None for a photo from outside the cross-validation.
        votes: Of every member.
    """

    path: str
    given: str
    answer: str
    right: bool
    p_given: float
    p_answer: float
    fold: int | None
    votes: tuple[MemberVote, ...]


@dataclass(frozen=True, eq=False)
class Answers:
    """Answers of an ensemble and its M members to n photos, with what a report says of them.

    Attributes:
        taxonomy: The K classes, in the order of every probability column, and their groups.
        out_of_fold: The answers, by models that never saw the photos.
        uncalibrated: (n, K) probabilities of the ensemble before the temperature, None where they are not known.
        paths: Of the n photos, as the report shows them.
    """

    taxonomy: Taxonomy
    out_of_fold: OutOfFold
    uncalibrated: Floats | None
    paths: tuple[str, ...]

    def __post_init__(self) -> None:
        check_rows(self.out_of_fold.known.y, self.out_of_fold.proba)
        if len(self.paths) != len(self):
            raise ValueError(f"{len(self.paths)} paths for {len(self)} answers")

    def __len__(self) -> int:
        return len(self.out_of_fold)

    @cached_property
    def y(self) -> Ints:
        """(n,) class positions as labeled."""
        return self.out_of_fold.known.y.astype(np.int64)

    @cached_property
    def proba(self) -> Floats:
        """(n, K) calibrated probabilities of the ensemble."""
        return np.clip(self.out_of_fold.proba, 0.0, 1.0)  # sums of floats may pass 1 by rounding

    @cached_property
    def member_proba(self) -> Floats:
        """(M, n, K) probabilities of the members."""
        return np.clip(self.out_of_fold.member_proba, 0.0, 1.0)

    @property
    def members(self) -> tuple[str, ...]:
        """Names of the members."""
        return self.out_of_fold.members

    @property
    def groups(self) -> NDArray[np.intp]:
        """(n,) row groups."""
        return self.out_of_fold.known.groups

    @property
    def folds(self) -> NDArray[np.intp]:
        """(n,) the fold that each photo was held out in; `NO_FOLD` outside a cross-validation."""
        return self.out_of_fold.known.folds

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.taxonomy.classes

    @property
    def n_groups(self) -> int:
        """Number of row groups."""
        return len(np.unique(self.groups))

    @cached_property
    def answer(self) -> Ints:
        """(n,) the most probable class of each row."""
        return np.asarray(self.proba.argmax(axis=1), dtype=np.int64)

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        """(n,) whether the answer is the given label."""
        return np.asarray(self.answer == self.y)

    @cached_property
    def given_proba(self) -> Floats:
        """(n,) the probability of the given label."""
        return np.asarray(self.proba[np.arange(len(self)), self.y])

    @cached_property
    def confusion(self) -> Ints:
        """(K, K) rows by given label and answer."""
        return confusion_counts(self.y, self.proba)

    @cached_property
    def best_single(self) -> int:
        """The member with the highest accuracy over these rows, the smaller log-loss where they tie."""
        accuracy = (self.member_proba.argmax(axis=2) == self.y).mean(axis=1)
        loss = [float(row_log_loss(self.y, proba).mean()) for proba in self.member_proba]
        return int(np.lexsort((loss, -accuracy))[0])

    def photo(self, row: int) -> AnsweredPhoto:
        """One row by names instead of positions, with every member's vote."""
        return AnsweredPhoto(
            path=self.paths[row],
            given=self.classes[self.y[row]],
            answer=self.classes[self.answer[row]],
            right=bool(self.right[row]),
            p_given=float(self.given_proba[row]),
            p_answer=float(self.proba[row, self.answer[row]]),
            fold=int(self.folds[row]) if self.folds[row] >= 0 else None,
            votes=tuple(
                MemberVote(name, self.classes[proba.argmax()], float(proba.max()))
                for name, proba in zip(self.members, self.member_proba[:, row], strict=True)
            ),
        )

    def one_a_group(self, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        """Of `rows`, in their order, the first of each row group: photos of one object are shown once."""
        _, first = np.unique(self.groups[rows], return_index=True)
        return rows[np.sort(first)]
