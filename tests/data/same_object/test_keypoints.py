"""Keypoints of a photo, of its mirror image, and as bytes."""

from __future__ import annotations

import numpy as np
from drawn.scenes import grain

from ensemble_minerals.data.same_object.keypoints import (
    COARSE,
    FINE,
    MIRROR,
    Keypoints,
    find_keypoints,
    root_sift,
)


def test_descriptors_of_the_mirror_image_are_the_same_numbers_in_another_order():
    photo = grain(1)
    own, mirrored = find_keypoints(photo), find_keypoints(np.ascontiguousarray(photo[:, ::-1]))
    turned = root_sift(mirrored.descriptors[:, MIRROR]) @ root_sift(own.descriptors).T
    assert np.median(turned.max(axis=1)) > 0.98
    as_they_are = root_sift(mirrored.descriptors) @ root_sift(own.descriptors).T
    assert np.median(as_they_are.max(axis=1)) < 0.9
    best = turned.argmax(axis=1)
    offset = np.abs(own.frames[best, 0] + mirrored.frames[:, 0] - (own.width - 1))
    assert np.median(offset) < 1
    assert MIRROR[MIRROR].tolist() == list(range(128))


def test_keypoints_are_spread_over_the_photo():
    photo = grain(2) // 3 + 80
    photo[:60, :80] = grain(3)[:60, :80]  # by far the strongest texture
    found = find_keypoints(photo)
    assert len(found) <= FINE.count
    places = found.frames[:, :2] // (80, 60)
    _, counts = np.unique(places, axis=0, return_counts=True)
    assert len(counts) > 8
    assert counts.max() < len(found) / 3


def test_coarse_keypoints_are_of_a_smaller_copy_and_fewer():
    coarse, fine = (find_keypoints(grain(5), detail) for detail in (COARSE, FINE))
    assert (coarse.width, fine.width) == (COARSE.side, FINE.side)
    assert len(coarse) <= COARSE.count < len(fine)
    assert coarse.grey.size < fine.grey.size / 4


def test_bytes_and_back():
    for photo in (grain(4), np.full((40, 30, 3), 7, np.uint8)):
        found = find_keypoints(photo)
        again = Keypoints.unpack(found.pack())
        assert (again.width, again.height) == (found.width, found.height)
        for name in ("frames", "descriptors", "grey"):
            np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
    assert len(found) == 0
