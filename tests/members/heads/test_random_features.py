"""The discriminant on random features: what is not linear, and what becomes of it in a member."""

from __future__ import annotations

import numpy as np

from ensemble_minerals.members.flat import FlatClassifier
from ensemble_minerals.members.heads.discriminant import DiscriminantHead
from ensemble_minerals.members.heads.random_features import RandomFeaturesHead
from ensemble_minerals.members.predictor import AveragedPredictor
from ensemble_minerals.members.serialization import predictor_from_arrays, predictor_to_arrays


def test_what_no_line_parts_is_told_and_kept_as_layers():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3))
    y = np.where(X[:, 0] * X[:, 1] > 0, "like", "unlike")
    member = FlatClassifier(RandomFeaturesHead(100))
    new = rng.normal(size=(500, 3))
    expected = np.where(new[:, 0] * new[:, 1] > 0, "like", "unlike")
    assert np.mean(FlatClassifier(DiscriminantHead()).fit(X, y).predict(new) == expected) < 0.65
    assert np.mean(member.fit(X, y).predict(new) == expected) > 0.85
    saved = predictor_to_arrays(AveragedPredictor.average([member.predictor_]))
    again = predictor_from_arrays(*saved, ("like", "unlike"))
    np.testing.assert_allclose(np.exp(again.log_proba(new)), member.predict_proba(new), atol=1e-4)
