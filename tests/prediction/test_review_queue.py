"""What is shown first: contradictions, then suspected labels, then weak pairs, then odd photos."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn.answers import draw_answers, manifest_of

from ensemble_minerals.data.same_object.pairs import Evidence, SameObjectPair
from ensemble_minerals.prediction.review_queue import review_queue
from ensemble_minerals.prediction.scored_rows import ScoredRows


def shows(inliers):
    return Evidence(inliers, 0.5, 0.5, 0.5, 0.9, False, np.empty((0, 4), np.float32))


@pytest.fixture(scope="module")
def own():
    answers = draw_answers([40, 40, 40], strength=2.0)
    manifest = manifest_of(answers)
    rows = np.arange(120)
    located = dict.fromkeys(rows.tolist(), Path("x"))
    typicality = np.linspace(1, 0.01, 120)
    return ScoredRows("out_of_fold", "", answers, rows, manifest, located=located, typicality=typicality)


def of_kind(queue, kind):
    return [item.photos for item in queue if item.kind == kind]


def test_suspected_labels_are_those_that_the_answers_contradict_the_largest_lead_first(own):
    found = [int(photos[0].split()[1]) for photos in of_kind(review_queue(own, []), "suspect")]
    assert sorted(found) == np.flatnonzero(~own.answers.right).tolist()
    lead = own.answers.proba.max(axis=1) - own.answers.given_proba
    assert lead[found].tolist() == sorted(lead[found], reverse=True)


def test_a_photo_is_shown_for_one_reason_alone(own):
    queue = review_queue(own, [])
    photos = [item.photos for item in queue]
    assert len(photos) == len(set(photos))
    odd = of_kind(queue, "least_typical")
    assert odd[0] == ("id 119",) or ("id 119",) in of_kind(queue, "suspect")
    assert 0 < len(odd) <= 10


def test_of_pictures_under_two_labels_each_contradiction_is_shown_once(own):
    pairs = [
        SameObjectPair(0, 50, "same_picture", shows(40)),
        SameObjectPair(0, 51, "same_picture", shows(90)),
        SameObjectPair(50, 51, "same_picture", shows(20)),  # of one class: no contradiction
        SameObjectPair(1, 2, "same_picture", shows(20)),
        SameObjectPair(3, 90, "copy"),
    ]
    found = of_kind(review_queue(own, pairs), "conflict")
    assert set(found) == {("id 0", "id 51"), ("id 0", "id 50"), ("id 3", "id 90")}


def test_weak_pairs_come_first_those_under_two_labels_before_all(own):
    pairs = [SameObjectPair(row, row + 1, "same_object", shows(200 - row)) for row in range(0, 38, 2)]
    pairs += [SameObjectPair(60, 100, "same_object", shows(500)), SameObjectPair(42, 43, "given")]
    found = of_kind(review_queue(own, pairs), "doubtful")
    assert found[0] == ("id 60", "id 100")
    assert found[1:3] == [("id 36", "id 37"), ("id 34", "id 35")]
    assert len(found) == 10


def test_photos_that_are_not_at_hand_are_not_shown(own):
    there = {row: Path("x") for row in range(60)}
    queue = review_queue(replace(own, located=there), [SameObjectPair(0, 100, "copy")])
    assert queue
    assert all(int(photo.split()[1]) < 60 for item in queue for photo in item.photos)
