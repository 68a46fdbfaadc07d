from __future__ import annotations

import numpy as np
import pytest
from drawn.rows import overlapping

from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.data.oversampling import OverSampler
from ensemble_minerals.members import feature_fits as module
from ensemble_minerals.members.base import FittedFold, MemberFailure
from ensemble_minerals.members.feature_fits import fit_sets, fit_together
from ensemble_minerals.members.feature_member import FeatureMember
from ensemble_minerals.members.flat import FlatClassifier
from ensemble_minerals.members.one_vs_rest import OneVsRestClassifier
from ensemble_minerals.members.rows import RowData

X, Y = overlapping(d=90)
DATA = RowData({"lite0": X, "color": X[:, :60] ** 3})
INPUTS = FoldInputs(
    Y, np.arange(len(Y)), np.arange(len(Y)) % 3, np.array(["bornite", "pyrite", "quartz", "talc"])
)
SETS = [
    [
        FeatureMember(f"{name}-flat", (name,), FlatClassifier()),
        FeatureMember(f"{name}-each", (name,), OneVsRestClassifier(sampler=OverSampler("smote"))),
    ]
    for name in DATA.matrices
]


def test_sets_beside_others_are_fitted_to_the_same_bits():
    found = fit_sets(SETS, 1, INPUTS, DATA)
    alone = [fit_together(own, [DATA.matrices[own[0].features[0]]], INPUTS, 1) for own in SETS]
    for one, other in zip(found, alone[0] + alone[1], strict=True):
        assert (one.member, one.fold) == (other.member, 1)
        assert isinstance(one, FittedFold)
        assert isinstance(other, FittedFold)
        np.testing.assert_array_equal(one.proba, other.proba)
        new = RowData({name: matrix[:9] + 0.1 for name, matrix in DATA.matrices.items()})
        np.testing.assert_array_equal(one.fitted.log_proba(new), other.fitted.log_proba(new))


@pytest.mark.parametrize("broken", [0, 1])
def test_a_set_that_cannot_be_solved_fails_alone(monkeypatch, broken):
    solve, expected = module.solve_together, fit_sets(SETS, 1, INPUTS, DATA)
    columns = SETS[broken][0].features[0]

    def runs_out(rows, unsolved):
        if any(one.space.n_features_in_ == DATA.matrices[columns].shape[1] for one in rows):
            raise MemoryError("too large")
        return solve(rows, unsolved)

    monkeypatch.setattr(module, "solve_together", runs_out)
    for one, other in zip(fit_sets(SETS, 1, INPUTS, DATA), expected, strict=True):
        if one.member.startswith(columns):
            assert isinstance(one, MemberFailure)
            assert one.reason == "MemoryError: too large"
        else:
            assert isinstance(one, FittedFold)
            assert isinstance(other, FittedFold)
            np.testing.assert_array_equal(one.proba, other.proba)
