"""A fitted member: columns from features or from networks, and fold models as one."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import log_softmax

from ensemble_minerals.members.fitted import FittedMember
from ensemble_minerals.members.predictor import AveragedPredictor, DenseSpecialist, MemberPredictor
from ensemble_minerals.members.rows import RowData
from ensemble_minerals.members.trained_networks import TrainedNetworks
from ensemble_minerals.taxonomy import Taxonomy

FLAT = Taxonomy.flat(("bornite", "pyrite", "quartz"))
DATA = RowData({"color": np.random.default_rng(0).normal(size=(5, 2))}, np.array([3, 1, 4, 0, 2]))


def predictor(weight):
    specialist = DenseSpecialist(((weight.astype(np.float32), np.zeros(3, np.float32)),))
    return AveragedPredictor.average([MemberPredictor(FLAT, False, ((specialist,),))])


class Networks(TrainedNetworks):
    """Networks whose logits are the position of the photo, times a factor of each network."""

    def logits(self, photos):
        return np.stack([photos * state.factor for state in self.states for _ in range(3)], axis=1)


def networks(factor):
    state = SimpleNamespace(n_outputs=3, factor=factor, nbytes=100)
    return Networks(None, None, (state,))


def test_columns_are_features():
    weight = np.random.default_rng(1).normal(size=(2, 3)).astype(np.float32)
    member = FittedMember("flat", ("color",), predictor(weight))
    np.testing.assert_allclose(member.log_proba(DATA), log_softmax(DATA.matrices["color"] @ weight, axis=1))
    assert member.nbytes == 4 * (6 + 3)


def test_columns_are_logits_of_networks_for_the_photos():
    member = FittedMember("net", (), predictor(np.diag([1.0, 2.0, 3.0])), networks(0.5))
    logits = 0.5 * DATA.images[:, None] * np.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(member.log_proba(DATA), log_softmax(logits, axis=1))
    assert member.nbytes == 4 * (9 + 3) + 100
    with pytest.raises(ValueError, match="these rows come without"):
        member.log_proba(RowData(DATA.matrices))


def test_fold_models_on_features_are_averaged_as_log_odds():
    weights = np.random.default_rng(2).normal(size=(3, 2, 3))
    average = FittedMember.average([FittedMember("flat", ("color",), predictor(w)) for w in weights])
    assert (average.name, average.features, average.networks) == ("flat", ("color",), None)
    expected = log_softmax(DATA.matrices["color"] @ weights.mean(axis=0), axis=1)
    np.testing.assert_allclose(average.log_proba(DATA), expected, atol=1e-6)


def test_fold_models_on_networks_keep_each_network_and_its_columns():
    weight = np.diag([1.0, 2.0, 3.0])
    folds = [FittedMember("net", (), predictor(weight), networks(factor)) for factor in (0.5, 0.1)]
    average = FittedMember.average(folds)
    assert [state.factor for state in average.networks.states] == [0.5, 0.1]
    logits = 0.3 * DATA.images[:, None] * np.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(average.log_proba(DATA), log_softmax(logits, axis=1), atol=1e-6)
