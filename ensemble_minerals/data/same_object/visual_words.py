"""Photos as bags of visual words: two photos that share rare local features may show the same object.

What is around a keypoint becomes a word: each half of its descriptor is replaced by the nearest of some halves, the
same for all data sets, which were taken from drawn photos once (Sivic and Zisserman 2003; halves: Babenko and
Lempitsky 2012). So a collage is found by a part of it, which resembles the whole as little as any other photo.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.data.same_object.keypoints import root_sift

if TYPE_CHECKING:
    from scipy.sparse import csr_array

COMMON = 1000
"""A word of more photos than this is left out: it tells little, and to compare by it costs most."""

_HALVES = 256  # so 65,536 words
_ROWS = 16  # photos that are compared with all at once: of many photos, most share words with most
_WEIGHED = 4096  # photos whose words are weighted at once


def visual_words(descriptors: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """The word of each keypoint of a photo, ascending, shape (n_keypoints,).

    Args:
        descriptors: What is around each, shape (n_keypoints, 128).
    """
    codebook = _codebook()
    roots, half = root_sift(descriptors), codebook.shape[1] // 2
    word = np.zeros(len(roots), dtype=np.uint16)
    for part in (slice(0, half), slice(half, None)):
        centers = codebook[:, part]
        nearness = roots[:, part] @ centers.T - (centers * centers).sum(axis=1) / 2
        word = word * np.uint16(_HALVES) + nearness.argmax(axis=1).astype(np.uint16)
    return np.sort(word)


def nearest_by_words(words: Iterable[NDArray[np.uint16]], k: int, *, start: int = 0) -> NDArray[np.intp]:
    """The photos that share most, and the rarest, words with each photo.

    Args:
        words: Of each photo, see `visual_words`.
        k: Number of photos that are wanted for each.
        start: First row that asks; those before are only answers.

    Returns:
        Pairs (asking row, similar row), shape (m, 2); fewer than k for a photo that shares no words with so many.
    """
    weights = _weighted(words)
    n = weights.shape[0]
    answers = weights.T.tocsr()
    found = np.full((n, k), -1, dtype=np.intp)
    for top in range(start, n, _ROWS):
        shared = (weights[top : top + _ROWS] @ answers).tocsr()
        for row, (left, right) in enumerate(
            zip(shared.indptr[:-1], shared.indptr[1:], strict=True), start=top
        ):
            others, values = shared.indices[left:right], shared.data[left:right]
            others, values = others[others != row], values[others != row]
            if len(values) > k:
                most = values >= np.partition(values, -k)[-k]
                others, values = others[most], values[most]
            kept = others[np.lexsort((others, -values))[:k]]
            found[row, : len(kept)] = kept
    asking, rank = np.nonzero(found >= 0)
    return np.column_stack([asking, found[asking, rank]])


def _weighted(words: Iterable[NDArray[np.uint16]]) -> csr_array[Any]:
    """Words by photo, weighted by rarity, each photo of length 1, shape (n, words).

    Common words, and those of a single photo, count for the length only.
    """
    from scipy.sparse import csr_array, vstack

    every, ends = bytearray(), [0]  # two bytes a word: those of many photos are many
    n_photos = np.zeros(_HALVES**2, dtype=np.intp)
    for of_photo in words:
        every += of_photo.tobytes()
        ends.append(ends[-1] + len(of_photo))
        n_photos[np.unique(of_photo)] += 1
    word, end, n = np.frombuffer(every, np.uint16), np.array(ends), len(ends) - 1
    rarity = np.log(max(n, 1) / np.maximum(n_photos, 1)).astype(np.float32)
    rarity_kept = np.where((n_photos > 1) & (n_photos <= COMMON), rarity, 0)
    blocks = []
    for top in range(0, max(n, 1), _WEIGHED):
        bounds = end[top : top + _WEIGHED + 1]
        one = word[bounds[0] : bounds[-1]].astype(np.int32)
        counts = csr_array(
            (np.ones(len(one), np.float32), one, bounds - bounds[0]), shape=(len(bounds) - 1, len(n_photos))
        )
        counts.sum_duplicates()
        squares = counts.copy()
        squares.data *= rarity[counts.indices] ** 2
        length = np.sqrt(squares.sum(axis=1))
        counts.data = np.sqrt(counts.data) * rarity_kept[counts.indices]
        counts.data /= np.repeat(np.maximum(length, np.float32(1e-9)), np.diff(counts.indptr))
        counts.eliminate_zeros()
        blocks.append(counts.copy())  # without the room of what was left out
    return vstack(blocks, format="csr")


@cache
def _codebook() -> NDArray[np.float32]:
    """Descriptors of drawn photos, shape (`_HALVES`, 128): those of the file beside this module."""
    drawn = resources.files("ensemble_minerals.data.same_object") / "visual_words.bin"
    return root_sift(np.frombuffer(drawn.read_bytes(), dtype=np.uint8).reshape(_HALVES, -1))
