"""The order in which new photos are labeled: unsure ones first, and not one like the other."""

from __future__ import annotations

import numpy as np

from ensemble_minerals.prediction import teaching_order as module
from ensemble_minerals.prediction.teaching_order import teaching_order


def test_unsure_photos_of_every_kind_come_before_sure_ones():
    rng = np.random.default_rng(0)
    centers = np.eye(4, 16) * 5
    features = np.repeat(centers, 25, axis=0) + rng.normal(0, 0.01, (100, 16))
    unsure = np.arange(100) % 25 < 5
    proba = np.where(unsure[:, None], [0.5, 0.5], [0.999, 0.001])
    order = teaching_order(proba, features)
    assert sorted(order.tolist()) == list(range(100))
    assert {row // 25 for row in order[:4].tolist()} == {0, 1, 2, 3}
    assert unsure[order[:4]].all()


def test_equal_photos_and_none_at_all_have_an_order_too():
    same = teaching_order(np.full((5, 2), 0.5), np.ones((5, 3)))
    assert sorted(same.tolist()) == [0, 1, 2, 3, 4]
    assert sorted(teaching_order(np.eye(3), np.ones((3, 0))).tolist()) == [0, 1, 2]
    assert teaching_order(np.zeros((0, 2)), np.zeros((0, 3))).shape == (0,)


def test_the_rest_follows_by_uncertainty(monkeypatch):
    monkeypatch.setattr(module, "MOST_ORDERED", 2)
    sure = np.array([0.5, 0.9, 0.6, 0.8, 0.7])
    order = teaching_order(np.stack([sure, 1 - sure], axis=1), np.eye(5))
    rest = order[2:].tolist()
    assert rest == sorted(rest, key=lambda row: sure[row])
