"""What is printed on photos of many things, and shows nothing of them: watermarks, logos, scale bars."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.data.same_object.geometry import align
from ensemble_minerals.data.same_object.matching import TOLERANCE, Comparable
from ensemble_minerals.data.same_object.pairs import Evidence, SameObjectPair

_SAMPLE, _ENOUGH = 48, 2
"""Photos of other classes that are searched for the same, and how many of them have it."""

_IN_PLACE = 0.03  # of a side: what is in the same place in both photos may well be printed on them
_SAMPLE_IN_PLACE, _ENOUGH_IN_PLACE = 192, 1


def without_overprints(
    pairs: Iterable[SameObjectPair], labels: NDArray[np.str_], get: Callable[[int], Comparable | None]
) -> list[SameObjectPair]:
    """Leave out pairs of which only what many unrelated photos share is the same.

    Args:
        pairs: What was found.
        labels: Class of each row, (n,).
        get: The keypoints of a row.
    """
    pairs = list(pairs)
    linked = {frozenset((pair.first, pair.second)) for pair in pairs if pair.grade == "same_picture"}
    kept = []
    for pair in pairs:
        first, second = get(pair.first), get(pair.second)
        if pair.grade == "same_object" and pair.evidence and first and second:
            places = pair.evidence.points
            in_place = bool((np.abs(places[:, :2] - places[:, 2:]) < _IN_PLACE).all())
            others = _unrelated(labels, pair, linked, _SAMPLE_IN_PLACE if in_place else _SAMPLE)
            unrelated = (other for other in map(get, others) if other is not None)
            enough = _ENOUGH_IN_PLACE if in_place else _ENOUGH
            if is_overprint(first, second, pair.evidence, unrelated, enough):
                continue
        kept.append(pair)
    return kept


def is_overprint(
    first: Comparable,
    second: Comparable,
    evidence: Evidence,
    unrelated: Iterable[Comparable],
    enough: int = _ENOUGH,
) -> bool:
    """Whether what two photos share is in photos of other things, too.

    Args:
        first: The first photo.
        second: The second photo.
        evidence: What `compare` found.
        unrelated: Photos of other classes.
        enough: So many of them must have it.
    """
    one = first.mirror_image if evidence.mirrored else first
    vectors, frames = one.vectors, one.keypoints.frames
    aligned = _aligned(vectors, frames, second)
    if aligned is None:
        return False
    vectors, frames = vectors[aligned], frames[aligned]
    found = (other for other in unrelated if _aligned(vectors, frames, other) is not None)
    return len(list(islice(found, enough))) == enough


def _aligned(
    vectors: NDArray[np.float32], frames: NDArray[np.float32], other: Comparable
) -> NDArray[np.intp] | None:
    """Which keypoints of a photo are found in another one; None for too few."""
    found = align(vectors @ other.vectors.T, frames, other.keypoints.frames, TOLERANCE * other.longer_side)
    return None if found is None else found.first


def _unrelated(
    labels: NDArray[np.str_], pair: SameObjectPair, linked: set[frozenset[int]], sample: int
) -> list[int]:
    """Some rows of other classes, spread evenly, that are not the same picture as either row."""
    rows = np.flatnonzero((labels != labels[pair.first]) & (labels != labels[pair.second]))
    spread = rows[np.unique(np.linspace(0, len(rows) - 1, min(sample, len(rows))).astype(np.intp))]
    return [
        row
        for row in spread.tolist()
        if not linked & {frozenset((row, pair.first)), frozenset((row, pair.second))}
    ]
