"""What the full ensemble of an ablation does not answer, where it tells photos of none of the classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ensemble_minerals.ablation.arms import FULL
from ensemble_minerals.ablation.run import AblationRun
from ensemble_minerals.evaluation.intervals import GroupBootstrap, Interval
from ensemble_minerals.evaluation.paired import MeanScore


@dataclass(frozen=True)
class RefusedPhotos:
    """Photos that are called none of the classes, though they show one.

    Attributes:
        share: Of the photos, all of which show one of the classes, with an interval over row groups.
        right_of_answered: Share of the others that is answered right.
        right_of_refused: Share of those refused whose label it would have given; NaN if there are none.
    """

    share: Interval
    right_of_answered: float
    right_of_refused: float


def count_refused(run: AblationRun, bootstrap: GroupBootstrap, refuse: float) -> RefusedPhotos:
    """Count the photos of at most a typicality, in all repeats.

    Args:
        run: Typicality, and answers of the full ensemble.
        bootstrap: Of the rows of all repeats.
        refuse: The typicality.
    """
    is_refused = (run.typicality <= refuse).ravel()
    right = np.concatenate([answers.argmax(axis=1) == run.known.y for answers in run.proba[FULL]])
    return RefusedPhotos(
        bootstrap.interval(MeanScore(is_refused)),
        float(right[~is_refused].mean()),
        float(right[is_refused].mean()) if is_refused.any() else float("nan"),
    )
