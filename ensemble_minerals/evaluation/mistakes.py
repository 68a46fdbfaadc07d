"""The confusion matrix, its roll-up to groups, and the most confused pairs of classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ensemble_minerals.evaluation.answers import AnsweredPhoto, Answers
from ensemble_minerals.evaluation.confusion import errors_by_group, roll_up, row_percentages
from ensemble_minerals.evaluation.metrics import Floats, Ints

_PAIRS, _EXAMPLES = 10, 3  # most pairs, and photos of each kind


@dataclass(frozen=True, eq=False)
class GroupConfusion:
    """A confusion matrix rolled up to the G groups of a taxonomy.

    Attributes:
        names: Of the groups.
        counts: (G, G) photos by the group of the label and of the answer.
        percentages: (G, G) of each row; printed rows add up to 100; NaN for a group without photos.
    """

    names: tuple[str, ...]
    counts: Ints
    percentages: Floats


@dataclass(frozen=True, eq=False)
class ConfusionMatrix:
    """A confusion matrix of K classes.

    Attributes:
        classes: In the order of the matrix: classes of a group side by side.
        group_of: The group of each class.
        counts: (K, K) photos by label and answer.
        percentages: (K, K) of each row; printed rows add up to 100; NaN for a class without photos.
        n: Photos.
        errors: Wrong answers.
        within: Wrong answers within the group of the label.
        across: Wrong answers of another group.
        groups: The same rolled up; None without a taxonomy.
    """

    classes: tuple[str, ...]
    group_of: tuple[str, ...]
    counts: Ints
    percentages: Floats
    n: int
    errors: int
    within: int
    across: int
    groups: GroupConfusion | None


def confusion_matrix(answers: Answers) -> ConfusionMatrix:
    """Count labels against answers, as classes and as taxonomy groups."""
    taxonomy, counts = answers.taxonomy, answers.confusion
    group_of = taxonomy.group_of()
    order = np.argsort(group_of, kind="stable")
    ordered = counts[np.ix_(order, order)]
    within, across = errors_by_group(counts, group_of)
    groups = None
    if not taxonomy.is_flat:
        rolled = roll_up(counts, group_of)
        groups = GroupConfusion(tuple(taxonomy.group_names), rolled, row_percentages(rolled, decimals=1))
    return ConfusionMatrix(
        classes=tuple(answers.classes[k] for k in order),
        group_of=tuple(taxonomy.group_names[group_of[k]] for k in order),
        counts=ordered,
        percentages=row_percentages(ordered, decimals=1),
        n=len(answers),
        errors=within + across,
        within=within,
        across=across,
        groups=groups,
    )


@dataclass(frozen=True)
class ConfusedPair:
    """Photos of one class that are answered as another.

    Attributes:
        given: Their label.
        answer: The other class.
        count: Photos.
        support: Photos labeled so in all.
        share_of_class: `count` as a share of `support`.
        share_of_errors: `count` as a share of all errors.
        within_group: Whether both classes are of one taxonomy group.
        mistaken: Examples, the surest mistakes first.
        like: Photos of the other class that were answered right, the surest first, one of each row group.
    """

    given: str
    answer: str
    count: int
    support: int
    share_of_class: float
    share_of_errors: float
    within_group: bool
    mistaken: tuple[AnsweredPhoto, ...]
    like: tuple[AnsweredPhoto, ...]


def confused_pairs(answers: Answers) -> tuple[ConfusedPair, ...]:
    """The most frequent mistakes, with photos to compare side by side.

    Args:
        answers: The rows.

    Returns:
        The pairs, most frequent first; of equal counts the one that concerns the larger share of its class.
    """
    counts, names = answers.confusion, answers.classes
    group_of = answers.taxonomy.group_of()
    support, errors = counts.sum(axis=1), int(counts.sum() - np.trace(counts))
    off = [(g, a) for g in range(len(names)) for a in range(len(names)) if g != a and counts[g, a]]
    off.sort(key=lambda pair: (-counts[pair], -counts[pair] / support[pair[0]], pair))
    pairs = []
    for given, answered in off[:_PAIRS]:
        mistaken = np.flatnonzero((answers.y == given) & (answers.answer == answered))
        mistaken = mistaken[np.argsort(-answers.proba[mistaken, answered], kind="stable")]
        true = np.flatnonzero((answers.y == answered) & (answers.answer == answered))
        true = answers.one_a_group(true[np.argsort(-answers.proba[true, answered], kind="stable")])
        pairs.append(
            ConfusedPair(
                given=names[given],
                answer=names[answered],
                count=int(counts[given, answered]),
                support=int(support[given]),
                share_of_class=float(counts[given, answered] / support[given]),
                share_of_errors=float(counts[given, answered] / errors),
                within_group=bool(group_of[given] == group_of[answered]),
                mistaken=tuple(answers.photo(int(row)) for row in mistaken[:_EXAMPLES]),
                like=tuple(answers.photo(int(row)) for row in true[:_EXAMPLES]),
            )
        )
    return tuple(pairs)
