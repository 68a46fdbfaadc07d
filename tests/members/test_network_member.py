"""Members on networks as the ensemble sees them; training itself is tested where fits are."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.members.base import NETWORKS, MemberFailure
from ensemble_minerals.members.feature_member import FeatureMember
from ensemble_minerals.members.flat import FlatClassifier
from ensemble_minerals.members.network_member import NetworkMember
from ensemble_minerals.members.rows import RowData

NETWORK = SimpleNamespace(phases=(SimpleNamespace(epochs=2), SimpleNamespace(epochs=5)))
MEMBER = NetworkMember("net", (), FlatClassifier(), NETWORK)
INPUTS = FoldInputs(np.arange(6) % 2, np.arange(6), np.arange(6) % 3, np.array(["mica", "quartz"]))


def test_steps_are_epochs_and_it_learns_from_photos():
    assert (MEMBER.n_steps, MEMBER.learns_from, MEMBER.is_quick) == (7, (NETWORKS,), False)
    beside = FeatureMember("flat", ("color",), FlatClassifier())
    assert (beside.n_steps, beside.learns_from, beside.is_quick) == (1, ("color",), True)


def test_a_member_that_is_only_counted_fails_when_it_is_fitted():
    failure = MEMBER.fit_fold(RowData({}, np.arange(6)), INPUTS, 0)
    assert isinstance(failure, MemberFailure)
    assert "built without photos" in failure.reason


def test_a_class_without_training_rows_fails():
    lacking = FoldInputs(INPUTS.y, INPUTS.groups, INPUTS.y, INPUTS.classes)
    failure = MEMBER.fit_fold(RowData({}, np.arange(6)), lacking, 1)
    assert (failure.member, failure.fold, failure.reason) == ("net", 1, "no training row of class quartz")
