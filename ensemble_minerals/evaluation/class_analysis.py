"""Class by class: how well it is recognized, its hardest and most typical photos, what it is mistaken for."""

from __future__ import annotations

from typing import Any

import numpy as np

from ensemble_minerals.evaluation.answers import Answers
from ensemble_minerals.evaluation.intervals import GroupBootstrap, wilson
from ensemble_minerals.evaluation.metrics import average_precision, weighted_metric


def class_table(answers: Answers, bootstrap: GroupBootstrap) -> dict[str, Any]:
    """Scores of each class, with the paired difference to the best single member.

    Args:
        answers: The rows.
        bootstrap: Draws of their row groups.

    Returns:
        ``best_single`` and, for each class, ``classes``: precision and recall with Wilson's intervals, F1 with a
        group bootstrap, support, number answered, average precision, mean probability of the true class,
        and the F1 of the ensemble minus that of the best single member.
    """
    y, proba, best = answers.y, answers.proba, answers.best_single
    counts = answers.confusion
    f1 = weighted_metric("f1", y, proba)
    difference = bootstrap.intervals(f1, minus=weighted_metric("f1", y, answers.member_proba[best]))
    stated = bootstrap.intervals(weighted_metric("mean_true_probability", y, proba))
    ranked = np.minimum(average_precision(y, proba), 1.0)  # its sums may pass 1 by rounding
    group_of, group_names = answers.taxonomy.group_of(), answers.taxonomy.group_names
    rows = []
    for k, (name, own, gain) in enumerate(
        zip(answers.classes, bootstrap.intervals(f1), difference, strict=True)
    ):
        right, support, answered = int(counts[k, k]), int(counts[k].sum()), int(counts[:, k].sum())
        rows.append(
            {
                "name": name,
                "group": group_names[group_of[k]],
                "support": support,
                "answered": answered,
                "right": right,
                "precision": wilson(right, answered),
                "recall": wilson(right, support),
                "f1": own,
                "average_precision": ranked[k],
                "mean_true_probability": stated[k],
                "f1_gain": gain,
            }
        )
    return {"best_single": answers.members[best], "classes": rows}


def class_sheets(
    answers: Answers, *, worst: int | None = None, typical: int | None = None
) -> list[dict[str, Any]]:
    """One sheet a class.

    Args:
        answers: The rows.
        worst: How many of the photos with the least probability of their label; by default fewer for more
            classes.
        typical: How many of the photos recognized best, one of each row group.

    Returns:
        For each class its photos and, in falling order, what it is ``mistaken_for`` and what is
        ``mistaken_for_it``.
    """
    n_classes = len(answers.classes)
    worst = 12 if n_classes <= 10 else 6 if worst is None else worst
    typical = 6 if n_classes <= 10 else 3 if typical is None else typical
    sheets = []
    for k, name in enumerate(answers.classes):
        rows = np.flatnonzero(answers.y == k)
        order = rows[np.lexsort((rows, answers.given_proba[rows]))]
        best = answers.one_a_group(order[::-1])
        best = best[answers.right[best]]
        sheets.append(
            {
                "name": name,
                "support": len(rows),
                "errors": int((~answers.right[rows]).sum()),
                "mistaken_for": _others(answers, answers.confusion[k], k),
                "mistaken_for_it": _others(answers, answers.confusion[:, k], k),
                "worst": [answers.photo(int(row)) for row in order[:worst]],
                "typical": [answers.photo(int(row)) for row in best[:typical]],
            }
        )
    return sheets


def _others(answers: Answers, counts: Any, k: int) -> list[dict[str, Any]]:
    """The other classes of a row or column of the confusion matrix, most frequent first."""
    others = [int(other) for other in np.argsort(-counts, kind="stable") if other != k and counts[other]]
    return [{"name": answers.classes[other], "count": int(counts[other])} for other in others]
