"""What is printed on photos of many things, and shows nothing of them: watermarks, logos, scale bars."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.data.same_object.geometry import align
from ensemble_minerals.data.same_object.keypoint_store import KeypointStore
from ensemble_minerals.data.same_object.keypoints import COARSE
from ensemble_minerals.data.same_object.matching import TOLERANCE, Comparable
from ensemble_minerals.data.same_object.pairs import Evidence, SameObjectPair
from ensemble_minerals.data.same_object.verdicts import Verdicts
from ensemble_minerals.system.parallel import single_thread

_SAMPLE, _ENOUGH = 48, 2
"""Photos of other classes that are searched for the same, and how many of them have it."""

_IN_PLACE = 0.03  # of a side: what is in the same place in both photos may well be printed on them
_SAMPLE_IN_PLACE, _ENOUGH_IN_PLACE = 192, 1


def without_overprints(
    pairs: Iterable[SameObjectPair],
    labels: NDArray[np.str_],
    among: NDArray[np.intp],
    store: KeypointStore,
    verdicts: Verdicts,
) -> list[SameObjectPair]:
    """Leave out pairs of which only what many unrelated photos share is the same.

    Args:
        pairs: What was found.
        labels: Class of each row, (n,).
        among: Rows that are searched for the same, in an order that other rows do not change.
        store: The keypoints of a row.
        verdicts: What was answered before.
    """
    pairs = list(pairs)
    linked = {frozenset((pair.first, pair.second)) for pair in pairs if pair.grade == "same_picture"}
    kept = []
    for pair in pairs:
        if pair.grade == "same_object" and pair.evidence:
            places = pair.evidence.points
            in_place = bool((np.abs(places[:, :2] - places[:, 2:]) < _IN_PLACE).all())
            sample, enough = (_SAMPLE_IN_PLACE, _ENOUGH_IN_PLACE) if in_place else (_SAMPLE, _ENOUGH)
            others = _unrelated(labels, among, pair, linked, sample)
            with single_thread:
                printed = _is_overprint(pair, pair.evidence, others, enough, store, verdicts)
            if printed:
                continue
        kept.append(pair)
    return kept


def _is_overprint(
    pair: SameObjectPair,
    evidence: Evidence,
    others: Sequence[int],
    enough: int,
    store: KeypointStore,
    verdicts: Verdicts,
) -> bool:
    rows = pair.first, pair.second
    answer = verdicts.overprint(rows, others)
    if answer is None:
        first, second = map(store.get, rows)
        if first is None or second is None:
            return False
        unrelated = (store.get(other, COARSE) for other in others)
        answer = is_overprint(first, second, evidence, filter(None, unrelated), enough)
        verdicts.keep_overprint(rows, others, answer)
    return answer


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
        unrelated: Photos of other classes; coarse keypoints will do.
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
    labels: NDArray[np.str_],
    among: NDArray[np.intp],
    pair: SameObjectPair,
    linked: set[frozenset[int]],
    sample: int,
) -> list[int]:
    """Some rows of other classes that are not the same picture as either row."""
    rows = among[(labels[among] != labels[pair.first]) & (labels[among] != labels[pair.second])][:sample]
    return [
        row
        for row in rows.tolist()
        if not linked & {frozenset((row, pair.first)), frozenset((row, pair.second))}
    ]
