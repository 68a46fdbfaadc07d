"""The confusion matrix and the confused pairs."""

from __future__ import annotations

import numpy as np

from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.ensemble.oof import OutOfFold
from ensemble_minerals.evaluation.answers import Answers
from ensemble_minerals.evaluation.mistakes import confused_pairs
from ensemble_minerals.taxonomy import Taxonomy


def test_pairs_are_ordered_by_count_then_share():
    y = np.repeat([0, 1, 2], [40, 10, 10])
    answer = y.copy()
    answer[:2], answer[40:42], answer[50:53] = 1, 0, 0
    proba = np.full((60, 3), 0.1)
    proba[np.arange(60), answer] = 0.8
    answers = Answers(
        Taxonomy.flat(("a", "b", "c")),
        OutOfFold(
            FoldInputs(y, np.arange(60), np.zeros(60, dtype=np.intp), np.array(["a", "b", "c"])),
            ["m"], member_proba=proba[None], proba=proba,
        ),
        None,
        ("",) * 60,
    )  # fmt: skip
    assert [(pair.given, pair.answer) for pair in confused_pairs(answers)] == [
        ("c", "a"),
        ("b", "a"),
        ("a", "b"),
    ]
