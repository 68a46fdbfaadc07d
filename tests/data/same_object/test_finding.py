"""From files to groups; and the pairs of real photos that a hash or an embedding alone gets wrong."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from drawn.scenes import grain, scene, stone
from PIL import Image

from ensemble_minerals.config.schema import DuplicatesConfig
from ensemble_minerals.data.decoding import decode
from ensemble_minerals.data.same_object import finding, keypoint_store
from ensemble_minerals.data.same_object.finding import ComparedPhotos, find_same_objects
from ensemble_minerals.data.same_object.keypoints import COARSE, FINE, find_keypoints
from ensemble_minerals.data.same_object.matching import Comparable, compare, may_match
from ensemble_minerals.data.scanning import scan
from ensemble_minerals.system.runtime import Runtime


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> ComparedPhotos:
    """0 and 1: one picture under two labels; 2 and 3: one stone; 4: another stone; 5: something else."""
    root = tmp_path_factory.mktemp("photos")
    drawn = [
        ("a/0", Image.fromarray(grain(1))),
        ("b/1", Image.fromarray(grain(1)).crop((30, 20, 310, 230))),
        ("b/2", Image.fromarray(scene(stone(2), ground=grain(3)))),
        ("b/3", Image.fromarray(scene(stone(2, turn=35, scale=1.2), ground=grain(4)))),
        ("b/4", Image.fromarray(scene(stone(5), ground=grain(6)))),
        ("b/5", Image.fromarray(grain(7))),
    ]
    for name, image in drawn:
        (root / name).parent.mkdir(exist_ok=True)
        image.save(root / f"{name}.png")
    manifest = scan(root)
    return ComparedPhotos.of(manifest, manifest.usable)


def find(photos, runtime=None, **options):
    return find_same_objects(photos, DuplicatesConfig(), runtime or Runtime(), **options)


def test_groups_pairs_and_conflicts(photos):
    report = find(photos)
    assert report.row_group.tolist() == [0, 0, 1, 1, 2, 3]
    assert [(pair.first, pair.second, pair.grade) for pair in report.pairs] == [
        (0, 1, "same_picture"),
        (2, 3, "same_object"),
    ]
    assert report.conflicts.tolist() == [0, 1]


def test_answers_depend_neither_on_threads_nor_on_what_is_kept(photos, tmp_path, monkeypatch):
    plain = find(photos)
    runtime = Runtime(2, tmp_path)
    first = find(photos, runtime)
    monkeypatch.setattr(keypoint_store, "find_keypoints", None)
    again = find(photos, runtime)
    for other in (first, again):
        assert other.row_group.tolist() == plain.row_group.tolist()
        for one, pair in zip(plain.pairs, other.pairs, strict=True):
            assert (pair.first, pair.second, pair.grade) == (one.first, one.second, one.grade)
            np.testing.assert_array_equal(pair.evidence.points, one.evidence.points)
            assert vars(pair.evidence) | {"points": 0} == vars(one.evidence) | {"points": 0}


def test_a_few_pairs_at_a_time_give_the_same(photos, tmp_path, monkeypatch):
    whole = find(photos)
    monkeypatch.setattr(finding, "_AT_ONCE", 4)
    monkeypatch.setattr(keypoint_store, "_AT_ONCE", 4)
    for _ in range(2):  # the second time from the cache
        parts = find(photos, Runtime(2, tmp_path))
        assert parts.row_group.tolist() == whole.row_group.tolist()
        assert [(pair.first, pair.second, pair.grade) for pair in parts.pairs] == [
            (pair.first, pair.second, pair.grade) for pair in whole.pairs
        ]


def test_no_pair_is_compared_twice(photos, tmp_path, monkeypatch):
    runtime = Runtime(1, tmp_path)
    columns = ("image_id", "pixel_hash", "phash", "phash_mirrored", "label", "given_group", "path")
    five = replace(photos, files=photos.files[:5], **{name: getattr(photos, name)[:5] for name in columns})
    find(five, runtime)
    compared = []

    def noted(one, other):
        compared.append((one, other))
        return may_match(one, other)

    monkeypatch.setattr(finding, "may_match", noted)
    find(five, runtime)
    assert compared == []
    find(photos, runtime)
    added = find_keypoints(decode(photos.files[5], at_least=COARSE.needed_side).pixels, COARSE)
    assert compared
    assert all(np.array_equal(other.keypoints.frames, added.frames) for _, other in compared)


def test_coarse_keypoints_lose_no_pair(photos):
    def opened(detail):
        return [
            Comparable(find_keypoints(decode(file, at_least=detail.needed_side).pixels, detail))
            for file in photos.files
        ]

    coarse, fine = opened(COARSE), opened(FINE)
    pairs = list(combinations(range(len(photos)), 2))
    assert {pair for pair in pairs if compare(*(fine[row] for row in pair))} == {(0, 1), (2, 3)}
    assert {pair for pair in pairs if may_match(*(coarse[row] for row in pair))} == {(0, 1), (2, 3)}


def test_known_photos_are_compared_with_new_ones_only(photos):
    assert find(photos, n_known=3).row_group.tolist() == [0, 1, 2, 2, 3, 4]


def test_photos_that_are_not_at_hand_are_compared_by_their_hashes(photos):
    away = replace(photos, files=[None, None, *photos.files[2:]], phash=photos.phash.copy())
    away.phash[1] = away.phash[0]
    report = find(away)
    assert report.row_group.tolist() == [0, 0, 1, 1, 2, 3]
    assert report.pairs[0].evidence is None


def test_near_false_finds_copies_only(photos):
    report = find_same_objects(photos, DuplicatesConfig(near=False), Runtime())
    assert report.n_pairs == 0


def test_points_of_very_many_pairs_are_not_kept(photos, monkeypatch):
    monkeypatch.setattr(finding, "MOST_DRAWN", 0)
    assert [len(pair.evidence.points) for pair in find(photos).pairs] == [0, 0]


TOGETHER = [
    ("biotite/0014", "biotite/0017"), ("pyrite/0050", "pyrite/0066"), ("malachite/0129", "malachite/0184"),
    ("chrysocolla/0097", "chrysocolla/0128"), ("bornite/0089", "bornite/0163"), ("bornite/0048", "bornite/0089"),
    ("bornite/0061", "bornite/0103"),
]  # fmt: skip
APART = [
    ("malachite/0059", "malachite/0176"), ("malachite/0064", "malachite/0111"),
    ("chrysocolla/0030", "chrysocolla/0085"),
]  # fmt: skip


@pytest.mark.parametrize("pair", TOGETHER + APART, ids=" and ".join)
def test_real_specimens(shared_dir, pair):
    root = shared_dir / "data" / "minerals7"
    pixels = [decode(next(root.glob(f"{name}.*")), at_least=FINE.needed_side).pixels for name in pair]
    coarse, fine = ([Comparable(find_keypoints(one, detail)) for one in pixels] for detail in (COARSE, FINE))
    together = may_match(*coarse) and compare(*fine) is not None
    assert together == (pair in TOGETHER)
