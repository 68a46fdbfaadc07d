"""Rows with known classes and the answers to them: the input of an error analysis."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

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
    """Answers of an ensemble and its members for n rows that the models never saw.

    Attributes:
        taxonomy: The K classes, in the order of every probability column, and their groups.
        y: (n,) class positions as labeled.
        proba: (n, K) the ensemble's calibrated probabilities.
        uncalibrated: (n, K) the same before the temperature, None where it is not known.
        members: Names of the M members.
        member_proba: (M, n, K) what each member answered.
        groups: (n,) row groups.
        folds: (n,) the fold each row was held out in; -1 for rows from outside the cross-validation.
        paths: Of the n photos, as the report shows them.
    """

    taxonomy: Taxonomy
    y: Ints
    proba: Floats
    uncalibrated: Floats | None
    members: tuple[str, ...]
    member_proba: Floats
    groups: NDArray[np.int64]
    folds: NDArray[np.int64]
    paths: tuple[str, ...]

    def __post_init__(self) -> None:
        y, proba = check_rows(self.y, self.proba)
        if self.member_proba.shape != (len(self.members), *proba.shape):
            raise ValueError(
                f"{len(self.members)} members answered {self.member_proba.shape}, not {proba.shape}"
            )
        if not len(y) == len(self.groups) == len(self.folds) == len(self.paths):
            raise ValueError("labels, groups, folds and paths must be of one length")
        object.__setattr__(self, "y", y)
        for name, values in (("proba", proba), ("member_proba", self.member_proba)):
            object.__setattr__(self, name, np.clip(values, 0.0, 1.0))  # sums of floats may pass 1 by rounding

    def __len__(self) -> int:
        return len(self.y)

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
        """Of `rows`, in their order, the first of each row group: near-duplicates are shown once."""
        _, first = np.unique(self.groups[rows], return_index=True)
        return rows[np.sort(first)]
