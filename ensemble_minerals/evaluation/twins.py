"""Scores of a published test part: of all its photos, and of those whose object is not in the training part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ensemble_minerals.evaluation.intervals import GroupBootstrap
from ensemble_minerals.evaluation.metrics import jsonable, summary, weighted_metric


def scores_without_twins(
    y_true: ArrayLike,
    proba: ArrayLike,
    twin: NDArray[np.bool_],
    groups: ArrayLike,
    classes: Sequence[str],
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """Scores of the test photos without a twin, and what the others change.

    Args:
        y_true: (n,) class positions of all test photos.
        proba: (n, K) class probabilities.
        twin: (n,) whether a photo of the training part shows the same picture or object.
        groups: (n,) row groups.
        classes: The K class names.
        seed: Of the bootstrap.

    Returns:
        JSON values: ``test_twins`` with the number of ``photos`` that have a twin, the ``accuracy`` of all test
        photos, and the ``difference`` that these photos make to it, both with an interval; and
        ``test_without_twins``, a `summary` of the others. Where no photo or every photo has a twin, there is neither
        a difference nor a summary.
    """
    number = int(twin.sum())
    y, p = np.asarray(y_true), np.asarray(proba)
    accuracy = weighted_metric("accuracy", y, p)
    bootstrap = GroupBootstrap(groups, seed=seed)
    twins = {"photos": number, "accuracy": jsonable(bootstrap.interval(accuracy))}
    if number in (0, len(twin)):
        return {"test_twins": twins}
    difference = bootstrap.interval(accuracy, minus=lambda weights: accuracy(weights * ~twin))
    return {
        "test_twins": {**twins, "difference": jsonable(difference)},
        "test_without_twins": summary(y[~twin], p[~twin], classes),
    }
