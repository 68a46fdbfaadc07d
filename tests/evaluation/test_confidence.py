"""Conformal prediction sets of a report."""

from __future__ import annotations

import numpy as np
import pytest

from ensemble_minerals.ensemble.conformal import ConformalSets
from ensemble_minerals.evaluation.confidence import assess_sets


def test_sets_hold_what_they_state_on_rows_that_were_left_out(drawn):
    covered = []
    for seed in range(12):
        answers = drawn.answers([60, 60, 60], strength=0.6, seed=seed, group_size=1)  # no set is empty
        covered.append([level.coverage.estimate for level in assess_sets(answers).levels])
    assert np.mean(covered, axis=0)[0] == pytest.approx(0.90, abs=0.025)
    assert np.mean(covered, axis=0)[1] == pytest.approx(0.95, abs=0.02)


def test_sets_of_new_photos_are_calibrated_on_the_rows_of_the_fit(drawn):
    fit, new = drawn.answers([50, 50], strength=0.3, seed=1), drawn.answers([30, 30], seed=2)
    found = assess_sets(new, fit).levels[0]
    sets = ConformalSets().fit(fit.y, fit.proba, fit.groups).predict(new.proba, 0.9)
    assert found.mean_size == sets.sum(axis=1).mean()
    assert found.coverage.estimate == sets[np.arange(60), new.y].mean()


def test_a_class_with_too_few_photos_is_named(drawn):
    found = assess_sets(drawn.answers([30, 12], group_size=1)).levels
    assert [level.groups_needed for level in found] == [9, 19]
    assert found[0].never_ruled_out == ()
    assert len(found[1].never_ruled_out) == 1
    assert found[1].by_class[0].mean_size > 1.9  # the class that is never ruled out is in every set
