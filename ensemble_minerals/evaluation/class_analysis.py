"""Scores and photos of each class: how well it is recognized, and what it is mistaken for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from ensemble_minerals.evaluation.answers import AnsweredPhoto, Answers
from ensemble_minerals.evaluation.intervals import GroupBootstrap, Interval, wilson
from ensemble_minerals.evaluation.metrics import Ints, average_precision, weighted_metric

MANY = 10
"""From more classes on, each sheet has fewer photos."""


@dataclass(frozen=True)
class ClassScores:
    """How well one class is recognized.

    Attributes:
        name: Of the class.
        group: Its taxonomy group.
        support: Photos labeled so.
        answered: Photos answered so.
        right: Photos that are both.
        precision: Share of `answered` that is right, with Wilson's interval.
        recall: Share of `support` that is right, with Wilson's interval.
        f1: With an interval from a bootstrap over row groups.
        average_precision: Of the class against the rest; NaN without photos.
        mean_true_probability: Mean probability of the class over the photos labeled so.
        f1_gain: F1 of the ensemble minus that of the best single member, paired.
    """

    name: str
    group: str
    support: int
    answered: int
    right: int
    precision: Interval
    recall: Interval
    f1: Interval
    average_precision: float
    mean_true_probability: Interval
    f1_gain: Interval


@dataclass(frozen=True)
class ClassTable:
    """The scores of all classes.

    Attributes:
        best_single: Name of the best single member.
        classes: In the order of the taxonomy.
    """

    best_single: str
    classes: tuple[ClassScores, ...]


def class_table(answers: Answers, bootstrap: GroupBootstrap) -> ClassTable:
    """Score each class, and compare its F1 with that of the best single member.

    Args:
        answers: The rows.
        bootstrap: Draws of their row groups.
    """
    y, proba, best = answers.y, answers.proba, answers.best_single
    counts = answers.confusion
    f1 = weighted_metric("f1", y, proba)
    gains = bootstrap.intervals(f1, minus=weighted_metric("f1", y, answers.member_proba[best]))
    stated = bootstrap.intervals(weighted_metric("mean_true_probability", y, proba))
    ranked = np.minimum(average_precision(y, proba), 1.0)  # its sums may pass 1 by rounding
    group_of, group_names = answers.taxonomy.group_of(), answers.taxonomy.group_names
    rows = []
    for k, (name, own, gain) in enumerate(zip(answers.classes, bootstrap.intervals(f1), gains, strict=True)):
        right, support, answered = int(counts[k, k]), int(counts[k].sum()), int(counts[:, k].sum())
        rows.append(
            ClassScores(
                name=name,
                group=group_names[group_of[k]],
                support=support,
                answered=answered,
                right=right,
                precision=wilson(right, answered),
                recall=wilson(right, support),
                f1=own,
                average_precision=float(ranked[k]),
                mean_true_probability=stated[k],
                f1_gain=gain,
            )
        )
    return ClassTable(answers.members[best], tuple(rows))


@dataclass(frozen=True)
class MistakeCount:
    """Another class, and how many photos are confused with it.

    Attributes:
        name: Of the other class.
        count: Photos.
    """

    name: str
    count: int


@dataclass(frozen=True)
class ClassSheet:
    """The photos of one class.

    Attributes:
        name: Of the class.
        support: Photos labeled so.
        errors: Those that are answered wrong.
        mistaken_for: What they are taken for, most frequent first.
        mistaken_for_it: Classes whose photos are taken for this one, most frequent first.
        worst: Photos with the least probability of their label.
        typical: Photos that are recognized best, one of each row group.
    """

    name: str
    support: int
    errors: int
    mistaken_for: tuple[MistakeCount, ...]
    mistaken_for_it: tuple[MistakeCount, ...]
    worst: tuple[AnsweredPhoto, ...]
    typical: tuple[AnsweredPhoto, ...]


def class_sheets(answers: Answers) -> tuple[ClassSheet, ...]:
    """One sheet a class; where there are many classes, each has fewer photos."""
    worst, typical = (12, 6) if len(answers.classes) <= MANY else (6, 3)
    sheets = []
    for k, name in enumerate(answers.classes):
        rows = np.flatnonzero(answers.y == k)
        order = rows[np.lexsort((rows, answers.given_proba[rows]))]
        best = answers.one_a_group(order[::-1])
        best = best[answers.right[best]]
        sheets.append(
            ClassSheet(
                name=name,
                support=len(rows),
                errors=int((~answers.right[rows]).sum()),
                mistaken_for=_others(answers, answers.confusion[k], k),
                mistaken_for_it=_others(answers, answers.confusion[:, k], k),
                worst=tuple(answers.photo(int(row)) for row in order[:worst]),
                typical=tuple(answers.photo(int(row)) for row in best[:typical]),
            )
        )
    return tuple(sheets)


def worst_errors(sheets: Sequence[ClassSheet]) -> Iterator[AnsweredPhoto]:
    """The wrongly answered ones of the worst photos; the classes take turns."""
    errors = [[photo for photo in sheet.worst if not photo.right] for sheet in sheets]
    for turn in zip_longest(*errors):
        yield from (photo for photo in turn if photo is not None)


def _others(answers: Answers, counts: Ints, k: int) -> tuple[MistakeCount, ...]:
    """The other classes of a row or column of the confusion matrix, most frequent first."""
    others = [int(other) for other in np.argsort(-counts, kind="stable") if other != k and counts[other]]
    return tuple(MistakeCount(answers.classes[other], int(counts[other])) for other in others)
