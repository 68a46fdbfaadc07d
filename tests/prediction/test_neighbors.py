"""Photos like a photo, by embeddings."""

from __future__ import annotations

import numpy as np

from ensemble_minerals.prediction.neighbors import Neighbors


def test_the_nearest_come_first_without_those_that_do_not_count():
    rng = np.random.default_rng(0)
    known = rng.normal(size=(30, 8)) + 3
    neighbors = Neighbors.of(known)
    found = neighbors.near(known[4] + 0.01, 5)
    assert found[0].row == 4
    assert found[0].cosine > 0.99
    assert [one.cosine for one in found] == sorted((one.cosine for one in found), reverse=True)
    assert 4 not in [one.row for one in neighbors.near(known[4], 5, without=[4])]
    assert len(neighbors.near(known[4], 99, without=[4])) == 29
