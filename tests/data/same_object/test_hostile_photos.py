"""Photos that have much in common, and show different objects, are not taken for one object."""

from __future__ import annotations

from itertools import combinations

import pytest
from drawn.hostile_photos import HOSTILE

from ensemble_minerals.data.same_object.keypoints import find_keypoints
from ensemble_minerals.data.same_object.matching import Comparable, compare


def grades(kind):
    photos = [Comparable(find_keypoints(HOSTILE[kind](number))) for number in range(6)]
    found = (compare(one, other) for one, other in combinations(photos, 2))
    return {grade for grade, _ in filter(None, found)}


@pytest.mark.parametrize("kind", ["digit", "specimen", "beside_a_coin", "circles"])
def test_nothing_in_common_that_counts(kind):
    assert grades(kind) == set()


@pytest.mark.parametrize(
    "kind", ["on_a_chessboard", "watermarked", "text_page", "screenshot", "small_print", "form", "table"]
)
def test_a_common_scene_or_layout_is_not_the_same_picture(kind):
    assert "same_picture" not in grades(kind)
