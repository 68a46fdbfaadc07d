"""Photos that share rare local features."""

from __future__ import annotations

import numpy as np
import pytest

from ensemble_minerals.data.same_object import visual_words as module
from ensemble_minerals.data.same_object.visual_words import nearest_by_words, visual_words

RNG = np.random.default_rng(1)
PHOTOS = [RNG.gamma(0.5, 40, size=(60, 128)).clip(0, 255).astype(np.uint8) for _ in range(12)]
NONE = np.empty((0, 128), np.uint8)


def proposed(photos, k=2, **options):
    return set(map(tuple, nearest_by_words(list(map(visual_words, photos)), k, **options).tolist()))


def noisy(descriptors):
    noise = np.random.default_rng(2).normal(0, 2, descriptors.shape)
    return (descriptors + noise).clip(0, 255).astype(np.uint8)


def test_both_photos_of_a_collage_are_found():
    collage = noisy(np.concatenate([PHOTOS[3][:30], PHOTOS[7][:30]]))
    assert {(12, 3), (12, 7)} <= proposed([*PHOTOS, collage])


def test_words_of_many_photos_propose_nothing(monkeypatch):
    marked = [np.concatenate([PHOTOS[0][:50], photo[:10]]) for photo in PHOTOS[2:12]]
    photos = [PHOTOS[1], *marked, marked[0]]
    monkeypatch.setattr(module, "COMMON", 10)
    rare = proposed(photos)
    assert {(1, 11), (11, 1)} <= rare
    monkeypatch.setattr(module, "COMMON", 11)
    assert len(rare) < len(proposed(photos))


def test_a_few_photos_weighted_at_a_time_give_the_same(monkeypatch):
    whole = proposed(PHOTOS)
    monkeypatch.setattr(module, "_WEIGHED", 5)
    assert proposed(PHOTOS) == whole


def test_only_photos_from_the_start_on_ask():
    photos = [*PHOTOS, noisy(PHOTOS[5])]
    pairs = proposed(photos, k=1, start=12)
    assert pairs == {(12, 5)}


@pytest.mark.parametrize("photos", [[], [NONE], [NONE, NONE], [PHOTOS[0]], [PHOTOS[0], NONE]])
def test_photos_without_keypoints_propose_nothing(photos):
    assert proposed(photos) == set()
