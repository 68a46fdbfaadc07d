"""Which class is taken for which: the confusion matrix, its roll-up to groups, and the most confused pairs."""

from __future__ import annotations

from typing import Any

import numpy as np

from ensemble_minerals.evaluation.answers import Answers
from ensemble_minerals.evaluation.confusion import errors_by_group, roll_up, row_percentages


def confusion_section(answers: Answers) -> dict[str, Any]:
    """The confusion matrix in counts and row percentages, as classes and as taxonomy groups.

    Args:
        answers: The rows.

    Returns:
        ``classes`` in the order of the matrix (classes of a group side by side), ``group_of`` each, ``counts``,
        ``percentages`` (printed rows sum to 100; None for a class without rows), ``errors`` and how many stay
        ``within`` a group or go ``across``, and ``groups``: the same rolled up, None without a taxonomy.
    """
    taxonomy, counts = answers.taxonomy, answers.confusion
    group_of = taxonomy.group_of()
    order = np.argsort(group_of, kind="stable")
    ordered = counts[np.ix_(order, order)]
    within, across = errors_by_group(counts, group_of)
    rolled = roll_up(counts, group_of)
    return {
        "classes": [answers.classes[k] for k in order],
        "group_of": [taxonomy.group_names[group_of[k]] for k in order],
        "counts": ordered,
        "percentages": row_percentages(ordered, decimals=1),
        "n": len(answers),
        "errors": within + across,
        "within": within,
        "across": across,
        "groups": None
        if taxonomy.is_flat
        else {
            "names": list(taxonomy.group_names),
            "counts": rolled,
            "percentages": row_percentages(rolled, decimals=1),
        },
    }


def confused_pairs(answers: Answers, *, most: int = 10, examples: int = 3) -> list[dict[str, Any]]:
    """The most frequent mistakes (given label, answer), with photos to look at side by side.

    Args:
        answers: The rows.
        most: How many pairs at most.
        examples: Mistaken photos of a pair, the surest mistakes first, and as many that truly are and were
            answered as the other class, one of each row group.

    Returns:
        The pairs, most frequent first; of equal counts the one that concerns the larger share of its class.
    """
    counts, names = answers.confusion, answers.classes
    group_of = answers.taxonomy.group_of()
    support, errors = counts.sum(axis=1), int(counts.sum() - np.trace(counts))
    off = [(g, a) for g in range(len(names)) for a in range(len(names)) if g != a and counts[g, a]]
    off.sort(key=lambda pair: (-counts[pair], -counts[pair] / support[pair[0]], pair))
    pairs = []
    for given, answered in off[:most]:
        mistaken = np.flatnonzero((answers.y == given) & (answers.answer == answered))
        mistaken = mistaken[np.argsort(-answers.proba[mistaken, answered], kind="stable")]
        true = np.flatnonzero((answers.y == answered) & (answers.answer == answered))
        true = answers.one_a_group(true[np.argsort(-answers.proba[true, answered], kind="stable")])
        pairs.append(
            {
                "given": names[given],
                "answer": names[answered],
                "count": int(counts[given, answered]),
                "support": int(support[given]),
                "share_of_class": float(counts[given, answered] / support[given]),
                "share_of_errors": float(counts[given, answered] / errors),
                "within_group": bool(group_of[given] == group_of[answered]),
                "mistaken": [answers.photo(int(row)) for row in mistaken[:examples]],
                "like": [answers.photo(int(row)) for row in true[:examples]],
            }
        )
    return pairs
