"""Keypoints of two photos that agree in place: which ones, and by which shift, turn and scale.

Cheap bounds come before costly ones. Nothing is drawn at random: every match of two keypoints proposes a shift, turn
and scale of its own, and those that most others agree with are refined.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RATIO = 0.8
"""A match is nearer than this share of the distance to the second nearest (Lowe 2004)."""

MIN_INLIERS = 8
"""Matches that must agree before anything else is looked at."""

SCALES = (0.15, 6.5)
"""Smallest and largest scale from one photo to the other."""

SIMILAR = 0.87
"""Product of the descriptors of keypoints that are in one place."""

_LOOSE = 3.0  # times the tolerance, for the transform that a single match proposes
_TURN = np.cos(np.deg2rad(50))  # of the angle by which the direction of a match may differ
_ZOOM = 2 * np.log(1.5)  # logarithm of the factor by which its scale may differ
_STARTS, _ROUNDS = 5, 5  # proposals that are refined, and how often


@dataclass(frozen=True, eq=False)
class Alignment:
    """Keypoints that agree, and how one photo is laid over the other.

    Attributes:
        first: Numbers of the keypoints of the first photo, shape (m,).
        second: What they match in the second one, shape (m,).
        matrix: Affine transform of places in the first photo to places in the second, shape (2, 3).
    """

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    matrix: NDArray[np.float64]


def align(
    similarity: NDArray[np.float32],
    frames: NDArray[np.float32],
    others: NDArray[np.float32],
    tolerance: float,
    least: int = MIN_INLIERS,
    floor: float = 0.0,
) -> Alignment | None:
    """Lay one photo over another where enough keypoints agree.

    Args:
        similarity: Products of the descriptors, shape (n, m).
        frames: x, y, size and direction of the keypoints of the first photo, shape (n, 4).
        others: Those of the second photo, shape (m, 4).
        tolerance: Pixels of the second photo by which a match may be off.
        least: So many keypoints must agree.
        floor: Least product of two that match.
    """
    first, second = mutual_matches(similarity, least, floor)
    if len(first) < least:
        return None
    inliers = _most_agreed(frames[first], others[second], tolerance, least)
    if inliers is None:
        return None
    first, second = first[inliers], second[inliers]
    return Alignment(first, second, affine(frames[first, :2], others[second, :2]))


def mutual_matches(
    similarity: NDArray[np.float32], least: int = MIN_INLIERS, floor: float = 0.0
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs of descriptors that are each other's nearest, and much nearer than the second nearest.

    Args:
        similarity: Products of unit vectors, shape (n, m).
        least: Fewer than so many are not looked for to the end.
        floor: Least product of a pair.
    """
    nothing = np.zeros(0, np.intp)
    if min(similarity.shape) < least:
        return nothing, nothing
    top = similarity.max(axis=0)
    columns = np.flatnonzero(top >= floor)  # most photos have few over a high floor
    if len(columns) < least:
        return nothing, nothing
    near = similarity[:, columns]
    best = near.max(axis=1)
    rows = np.flatnonzero(best >= floor)
    nearest = columns[near[rows].argmax(axis=1)]
    mutual = np.flatnonzero(best[rows] == top[nearest])
    mutual = np.sort(mutual[np.unique(nearest[mutual], return_index=True)[1]])  # the first of equal ones
    if len(mutual) < least:
        return nothing, nothing
    rows, columns = rows[mutual], nearest[mutual]
    down = similarity[:, columns]
    number = np.arange(len(rows))
    across = similarity[rows]
    across[number, columns] = down[rows, number] = -1
    second_best = np.minimum(across.max(axis=1), down.max(axis=0))
    clear = 1 - best[rows] < RATIO**2 * (1 - second_best)
    return rows[clear], columns[clear]


def affine(source: NDArray[np.float32], target: NDArray[np.float32]) -> NDArray[np.float64]:
    """The affine transform that fits best, shape (2, 3)."""
    places = np.column_stack([source, np.ones(len(source))]).astype(np.float64)
    fitted, *_ = np.linalg.lstsq(places, target.astype(np.float64), rcond=None)
    return fitted.T.astype(np.float64)


def agreement(
    similar: tuple[NDArray[np.intp], NDArray[np.intp]],
    frames: NDArray[np.float32],
    others: NDArray[np.float32],
    matrix: NDArray[np.float64],
    inside: NDArray[np.bool_],
    tolerance: float,
) -> float:
    """Share of the keypoints of a part of one photo that are found where they belong in the other.

    Args:
        similar: Numbers of keypoints of the one photo and the other whose product is over `SIMILAR`, shape (k,) each.
        frames: Keypoints of the one photo, shape (n, 4).
        others: Those of the other photo, shape (m, 4).
        matrix: From the one photo to the other, shape (2, 3).
        inside: Which keypoints are in that part, shape (n,).
        tolerance: Pixels of the other photo.
    """
    turn = matrix[:, :2]
    size = frames[:, 2] * np.sqrt(abs(np.linalg.det(turn)))
    visible = inside & (size >= others[:, 2].min()) & (size <= others[:, 2].max())
    if not visible.any():
        return 0.0
    place = frames[:, :2] @ turn.T + matrix[:, 2]
    one, other = similar
    off = np.abs(place[one] - others[other, :2])
    found = visible[one] & (off < tolerance).all(axis=1)
    found &= np.abs(np.log(size[one] / others[other, 2])) < _ZOOM
    return len(np.unique(one[found])) / int(visible.sum())


def _most_agreed(
    frames: NDArray[np.float32], others: NDArray[np.float32], tolerance: float, least: int
) -> NDArray[np.intp] | None:
    """The largest set of matches that agree with one shift, turn and scale; None if it is too small."""
    z = frames[:, 0] + 1j * frames[:, 1].astype(np.float64)
    w = others[:, 0] + 1j * others[:, 1].astype(np.float64)
    spin = others[:, 2] / frames[:, 2] * np.exp(1j * (others[:, 3] - frames[:, 3]).astype(np.float64))
    off = np.abs((z - z[:, None]) * spin[:, None] - (w - w[:, None]))
    agree = (off < _LOOSE * tolerance) & _like(spin, spin[:, None])
    zoom = np.abs(spin)
    votes = agree.sum(axis=1) * ((zoom > SCALES[0]) & (zoom < SCALES[1]))
    best: NDArray[np.intp] | None = None
    for start in np.argsort(-votes, kind="stable")[:_STARTS]:
        if votes[start] < least / 2:
            break
        inliers = np.flatnonzero(agree[start])
        for _ in range(_ROUNDS):
            if len(inliers) < least / 2:
                break
            s, t = _least_squares(z[inliers], w[inliers])
            now = np.flatnonzero((np.abs(s * z + t - w) < tolerance) & _like(spin, s))
            if np.array_equal(now, inliers):
                break
            inliers = now
        if len(inliers) >= least and (best is None or len(inliers) > len(best)):
            best = inliers
    return best


def _like(spin: NDArray[np.complex128], other: NDArray[np.complex128] | complex) -> NDArray[np.bool_]:
    """Whether turns and scales are about the same."""
    ratio = spin / other
    size = np.abs(ratio)
    like: NDArray[np.bool_] = (np.abs(np.log(size)) < _ZOOM) & (ratio.real > _TURN * size)
    return like


def _least_squares(z: NDArray[np.complex128], w: NDArray[np.complex128]) -> tuple[complex, complex]:
    """The turn and scale s and the shift t for which s * z + t is nearest to w."""
    centered = z - z.mean()
    s = (centered.conj() @ (w - w.mean())) / max(float((np.abs(centered) ** 2).sum()), 1e-9)
    return s or 1e-9, w.mean() - s * z.mean()
