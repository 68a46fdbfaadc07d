from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from PIL import Image
from scipy.stats import special_ortho_group

from ensemble_minerals.data.decoding import pixel_digest
from ensemble_minerals.data.hashing import perceptual_hashes
from ensemble_minerals.data.same_object import candidates
from ensemble_minerals.data.same_object import groups as module
from ensemble_minerals.data.same_object.candidates import NO_HASH_EVIDENCE
from ensemble_minerals.data.same_object.groups import DuplicateReport, find_duplicates

FLAT = np.uint64(0x8000000000000000)


def random_hashes(n: int, seed: int = 0) -> np.ndarray:
    """Hashes of 32 bits each, as the median makes them; far from each other."""
    bits = np.random.default_rng(seed).permuted(np.tile(np.arange(64) < 32, (n, 1)), axis=1)
    return np.packbits(bits, axis=1).view(">u8").ravel().astype(np.uint64)


def flip(value: np.uint64, n_bits: int) -> np.uint64:
    """Change some bits."""
    return np.uint64(int(value) ^ ((1 << n_bits) - 1) << 7)


def far_apart(n: int) -> np.ndarray:
    """Embeddings whose centered directions are nearly orthogonal."""
    return np.eye(n, dtype=np.float32) + 3.0


def near(base: np.ndarray, other: np.ndarray, cosine: float) -> np.ndarray:
    """A direction of a given cosine to `base`, in the plane of `base` and `other`."""
    side = other - base * (other @ base) / (base @ base)
    return cosine * base / np.linalg.norm(base) + np.sqrt(1 - cosine**2) * side / np.linalg.norm(side)


def find(n: int, **columns) -> DuplicateReport:
    """Report over n rows that have nothing in common but what is given."""
    given = {
        "pixel_hash": [f"{row:032x}" for row in range(n)],
        "phash": random_hashes(n),
        "phash_mirrored": random_hashes(n, seed=1),
        "labels": ["a"] * n,
        **columns,
    }
    return find_duplicates(**given)


def linked(report: DuplicateReport) -> set[tuple[int, int, str]]:
    return {(pair.first, pair.second, pair.kind) for pair in report.pairs}


def test_nothing_in_common():
    for embeddings in (None, far_apart(40)):
        report = find(40, embeddings=embeddings)
        assert report.row_group.tolist() == list(range(40))
        assert report.n_groups == 40
        assert report.pairs == ()
        assert report.copies.size == report.conflicts.size == 0


def test_no_rows_and_one_row():
    for n in (0, 1):
        for embeddings in (None, np.zeros((n, 3))):
            report = find(n, embeddings=embeddings)
            assert report.n_groups == n
            assert report.row_group.shape == (n,)


def test_exact_copies_stay_with_the_first_row():
    pixels = ["p", "q", "p", "r", "p"]
    report = find(5, pixel_hash=pixels, embeddings=far_apart(5)[[0, 1, 0, 3, 0]])
    assert report.row_group.tolist() == [0, 1, 0, 2, 0]
    assert report.n_groups == 3
    assert report.copies.tolist() == [2, 4]
    assert report.conflicts.tolist() == []
    assert linked(report) == {(0, 2, "exact"), (0, 4, "exact")}
    assert all(pair.hash_distance == 0 and pair.cosine == 1.0 for pair in report.pairs)
    assert np.isnan(find(5, pixel_hash=pixels).pairs[0].cosine)


def test_exact_copies_are_set_aside_whatever_their_given_groups():
    report = find(3, pixel_hash=["p", "p", "q"], given_groups=["one", "two", ""])
    assert report.copies.tolist() == [1]
    assert report.row_group.tolist() == [0, 0, 1]


def test_the_same_pixels_under_two_labels_are_all_conflicts():
    report = find(5, pixel_hash=["p", "q", "p", "p", "q"], labels=["a", "a", "a", "b", "a"])
    assert report.conflicts.tolist() == [0, 2, 3]
    assert report.copies.tolist() == [4]
    assert report.row_group.tolist() == [0, 1, 0, 0, 1]


@pytest.mark.parametrize(("bits", "joined"), [(0, True), (6, True), (7, False), (12, False)])
def test_without_embeddings_only_very_near_hashes_join(bits, joined):
    hashes = random_hashes(4)
    hashes[2] = flip(hashes[0], bits)
    report = find(4, phash=hashes)
    assert (report.row_group[2] == 0) == joined
    if joined:
        (pair,) = report.pairs
        assert (pair.first, pair.second, pair.kind, pair.hash_distance) == (0, 2, "near", bits)
        assert np.isnan(pair.cosine)


@pytest.mark.parametrize(
    ("bits", "cosine", "joined"),
    [
        (12, 0.56, True),
        (12, 0.44, False),
        (13, 0.56, False),
        (13, 0.76, True),
        (40, 0.76, True),
        (40, 0.64, False),
    ],
)
def test_embeddings_confirm_hashes_or_are_enough_alone(bits, cosine, joined):
    n = 400  # the mean hardly moves
    hashes = random_hashes(n, seed=2)
    hashes[1] = flip(hashes[0], bits) if bits < 40 else hashes[1]
    directions = np.eye(n)
    directions[1] = near(directions[0], directions[1], cosine)
    report = find(n, phash=hashes, embeddings=directions + 5.0)
    assert report.n_groups == n - joined
    if joined:
        (pair,) = report.pairs
        assert (pair.first, pair.second) == (0, 1)
        assert abs(pair.cosine - cosine) < 0.02
        if bits < 40:
            assert pair.hash_distance == bits


def test_mirrored_images_are_found_from_either_side():
    hashes, mirrored = random_hashes(4), random_hashes(4, seed=1)
    mirrored[3] = flip(hashes[1], 4)
    assert linked(find(4, phash=hashes, phash_mirrored=mirrored)) == {(1, 3, "near")}
    hashes, mirrored = random_hashes(4), random_hashes(4, seed=1)
    mirrored[1] = flip(hashes[3], 4)
    assert linked(find(4, phash=hashes, phash_mirrored=mirrored)) == {(1, 3, "near")}


def test_chains_become_one_group_and_numbers_follow_appearance():
    hashes = random_hashes(6)
    hashes[3] = flip(hashes[5], 6)
    hashes[1] = flip(hashes[3], 6) ^ np.uint64(0b111111 << 40)
    hashes[1] = np.uint64(int(hashes[3]) ^ 0b11111 << 40)
    report = find(6, phash=hashes)
    assert report.row_group.tolist() == [0, 1, 2, 1, 3, 1]
    assert linked(report) == {(1, 3, "near"), (3, 5, "near")}


def test_given_groups_are_merged_in():
    hashes = random_hashes(6)
    hashes[5] = flip(hashes[0], 2)
    report = find(
        6, phash=hashes, given_groups=["", "stone", "", "stone", "other", "other"], labels=list("aabbab")
    )
    assert report.row_group.tolist() == [0, 1, 2, 1, 0, 0]
    assert linked(report) == {(0, 5, "near")}


def test_the_same_image_under_two_labels_is_a_conflict():
    n = 300
    hashes = random_hashes(n)
    directions = np.eye(n)
    for row, bits, cosine in ((1, 6, 0.9), (3, 7, 0.9), (5, 6, 0.8), (7, 6, 0.9)):
        hashes[row] = flip(hashes[row - 1], bits)
        directions[row] = near(directions[row - 1], directions[row], cosine)
    labels = np.array(["a"] * n)
    labels[[1, 3, 5]] = "b"
    report = find(n, phash=hashes, embeddings=directions, labels=labels)
    assert report.conflicts.tolist() == [0, 1]
    assert linked(report) == {(0, 1, "near"), (2, 3, "near"), (4, 5, "near"), (6, 7, "near")}
    assert report.copies.size == 0


def test_copies_of_a_disputed_image_are_conflicts_too():
    hashes = random_hashes(5)
    hashes[4] = flip(hashes[0], 2)
    hashes[2] = hashes[0]
    report = find(5, pixel_hash=["p", "q", "p", "r", "s"], phash=hashes, labels=["a", "a", "a", "a", "b"])
    assert report.conflicts.tolist() == [0, 2, 4]
    assert report.copies.size == 0


def test_an_unconfirmed_hash_quarantines_only_when_very_near():
    hashes = random_hashes(4)
    hashes[1], hashes[3] = flip(hashes[0], 4), flip(hashes[2], 5)
    report = find(4, phash=hashes, labels=["a", "b", "a", "b"])
    assert report.conflicts.tolist() == [0, 1]
    assert report.row_group.tolist() == [0, 0, 1, 1]


def test_a_conflict_is_grouped_whatever_the_other_thresholds():
    hashes = random_hashes(3)
    hashes[2] = flip(hashes[0], 4)
    report = find(3, phash=hashes, labels=["a", "a", "b"], hash_distance=0)
    assert report.conflicts.tolist() == [0, 2]
    assert report.row_group.tolist() == [0, 1, 0]


def test_images_of_one_color_are_not_linked_by_their_hash():
    hashes = np.full(30, FLAT)
    for embeddings in (None, far_apart(30)):
        report = find(30, phash=hashes, phash_mirrored=hashes, embeddings=embeddings, labels=["a", "b"] * 15)
        assert report.n_groups == 30
        assert report.conflicts.size == 0
    vectors = far_apart(30)
    vectors[7] = vectors[4]
    report = find(30, phash=hashes, phash_mirrored=hashes, embeddings=vectors)
    (pair,) = report.pairs
    assert (pair.first, pair.second, pair.hash_distance) == (4, 7, NO_HASH_EVIDENCE)


def test_embeddings_are_centered_and_scaled():
    rng = np.random.default_rng(0)
    clusters = rng.normal(size=(20, 30))
    vectors = np.repeat(clusters, 2, axis=0) + 0.02 * rng.normal(size=(40, 30))
    plain = find(40, embeddings=vectors)
    assert plain.row_group.tolist() == np.repeat(np.arange(20), 2).tolist()
    turned = vectors @ special_ortho_group.rvs(30, random_state=0)
    for other in (vectors + 100.0, vectors * 1e-6, turned * 7 - 3, vectors.astype(np.float16)):
        assert find(40, embeddings=other).row_group.tolist() == plain.row_group.tolist()


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(4)
    n = 150
    pixels = rng.integers(0, 120, n).astype(str)
    _, number = np.unique(pixels, return_inverse=True)
    hashes, mirrored = random_hashes(60)[number % 60], random_hashes(60, seed=1)[number % 60]
    columns = {
        "pixel_hash": pixels,
        "phash": hashes,
        "phash_mirrored": mirrored,
        "labels": rng.integers(0, 3, n),
        "given_groups": np.where(rng.random(n) < 0.1, "g", ""),
    }
    for embeddings in (None, rng.normal(size=(120, 16))[number]):
        whole = find_duplicates(embeddings=embeddings, **columns)
        monkeypatch.setattr(candidates, "_HIGH", 7)
        monkeypatch.setattr(candidates, "_WIDE", 5)
        monkeypatch.setattr(candidates, "_STRIP", 3)
        monkeypatch.setattr(module, "_MOST_WAITING", 5)
        parts = find_duplicates(embeddings=embeddings, **columns)
        monkeypatch.undo()
        assert whole.row_group.tolist() == parts.row_group.tolist()
        assert linked(whole) == linked(parts)
        assert whole.copies.tolist() == parts.copies.tolist()
        assert whole.conflicts.tolist() == parts.conflicts.tolist()
        assert whole.n_near_pairs > 0


def test_the_answer_does_not_depend_on_the_order_of_rows():
    rng = np.random.default_rng(5)
    n = 80
    pixels = rng.integers(0, 60, n).astype(str)
    _, number = np.unique(pixels, return_inverse=True)
    hashes, mirrored = random_hashes(40)[number % 40], random_hashes(40, seed=1)[(number + 3) % 40]
    labels = rng.integers(0, 2, n)
    plain = find_duplicates(pixel_hash=pixels, phash=hashes, phash_mirrored=mirrored, labels=labels)
    order = rng.permutation(n)
    shuffled = find_duplicates(
        pixel_hash=pixels[order], phash=hashes[order], phash_mirrored=mirrored[order], labels=labels[order]
    )
    assert sorted(order[shuffled.conflicts].tolist()) == plain.conflicts.tolist()
    together = plain.row_group[order]
    assert (
        np.equal.outer(together, together) == np.equal.outer(shuffled.row_group, shuffled.row_group)
    ).all()


def test_a_huge_group_is_legitimate_and_its_list_of_pairs_is_cut(monkeypatch):
    monkeypatch.setattr(candidates, "_HIGH", 64)
    monkeypatch.setattr(candidates, "_WIDE", 96)
    monkeypatch.setattr(module, "MAX_PAIRS", 500)
    report = find(200, phash=np.repeat(random_hashes(1), 200), labels=["a"] * 199 + ["b"])
    assert report.n_groups == 1
    assert len(report.pairs) == 500
    assert report.n_near_pairs == 200 * 199 // 2
    assert report.conflicts.tolist() == list(range(200))


def test_memory_is_flat():
    peaks = []
    for n in (5000, 10_000):
        columns = {"phash": random_hashes(n), "phash_mirrored": random_hashes(n, seed=1)}
        vectors = np.random.default_rng(0).normal(size=(n, 32)).astype(np.float32)
        tracemalloc.start()
        find(n, embeddings=vectors, **columns)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
    assert peaks[1] < 6000 * 6000  # a table of all pairs would need more even at a byte each


@pytest.mark.parametrize("column", ["phash", "phash_mirrored", "labels", "given_groups", "embeddings"])
def test_shapes_must_agree(column):
    wrong = {"embeddings": np.zeros((3, 2)), "given_groups": ["", "", ""]}.get(column, np.arange(3))
    with pytest.raises(ValueError, match=column):
        find(4, **{column: wrong})


def test_embeddings_must_be_finite():
    vectors = far_apart(4)
    vectors[2, 1] = np.nan
    with pytest.raises(ValueError, match="finite"):
        find(4, embeddings=vectors)


def test_drawn_images_mirrored_rescaled_and_recompressed(tmp_path):
    rng = np.random.default_rng(6)

    def draw(seed: int) -> Image.Image:
        coarse = np.random.default_rng(seed).integers(0, 256, (6, 7, 3), dtype=np.uint8)
        return Image.fromarray(coarse).resize((210, 180), Image.Resampling.BICUBIC)

    first = draw(100)
    first.save(tmp_path / "a.jpg", quality=35)
    images = [
        first,
        *(draw(seed) for seed in range(20)),
        first.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        first.resize((97, 83)),
        Image.open(tmp_path / "a.jpg"),
        first.copy(),
        Image.new("RGB", (50, 40), (200, 10, 10)),
        Image.new("RGB", (50, 40), (10, 10, 200)),
    ]
    pixels = [np.array(image) for image in images]
    hashes = np.array([perceptual_hashes(each) for each in pixels], dtype=np.uint64)
    report = find_duplicates(
        pixel_hash=[pixel_digest(each) for each in pixels],
        phash=hashes[:, 0],
        phash_mirrored=hashes[:, 1],
        labels=rng.integers(0, 1, len(pixels)),
    )
    assert np.flatnonzero(report.row_group == 0).tolist() == [0, 21, 22, 23, 24]
    assert report.n_groups == len(pixels) - 4
    assert report.copies.tolist() == [24]
