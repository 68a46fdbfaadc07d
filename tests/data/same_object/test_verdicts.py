"""What comparisons found, by the contents of both photos."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ensemble_minerals.data.same_object.pairs import Evidence
from ensemble_minerals.data.same_object.verdicts import Verdicts
from ensemble_minerals.system.cache_table import CacheTable

POINTS = np.random.default_rng(0).random((3, 4)).astype(np.float32)
FOUND = Evidence(17, 0.25, 1 / 3, 0.5, -0.125, True, POINTS)
IDS = np.array(["0a", "1b", "2c", "3d"])


@pytest.fixture
def table(tmp_path):
    with CacheTable(tmp_path / "keypoints.sqlite") as opened:
        yield opened


def test_verdicts_come_back_as_they_were(table):
    verdicts = Verdicts(table, IDS)
    verdicts.keep(
        {
            (0, 1): ("same_object", FOUND),
            (0, 2): None,
            (1, 2): ("same_picture", replace(FOUND, points=POINTS[:0])),
        }
    )
    known = dict(verdicts.known([(0, 1), (0, 2), (1, 2), (0, 3)]))
    assert known.keys() == {(0, 1), (0, 2), (1, 2)}
    assert known[0, 2] is None
    grade, evidence = known[0, 1]
    assert grade == "same_object"
    np.testing.assert_array_equal(evidence.points, POINTS)
    assert vars(evidence) | {"points": 0} == vars(FOUND) | {"points": 0}
    assert known[1, 2][0] == "same_picture"
    assert known[1, 2][1].points.shape == (0, 4)


def test_photos_are_known_by_their_content(table):
    Verdicts(table, IDS).keep({(0, 1): ("same_object", FOUND), (0, 2): None})
    others = Verdicts(table, IDS[[3, 0, 1]])
    assert [pair for pair, _ in others.known([(0, 1), (1, 2), (0, 2)])] == [(1, 2)]


def test_overprints_are_known_for_the_photos_that_were_searched(table):
    verdicts = Verdicts(table, IDS)
    assert verdicts.overprint((0, 1), [2, 3]) is None
    verdicts.keep_overprint((0, 1), [2, 3], True)
    verdicts.keep_overprint((0, 1), [2], False)
    assert verdicts.overprint((0, 1), [2, 3]) is True
    assert verdicts.overprint((0, 1), [2]) is False
    assert verdicts.overprint((0, 2), [1, 3]) is None
