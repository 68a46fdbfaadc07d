"""Whether two photos show the same object, or are the same picture: keypoints and pixels agree in place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.data.same_object.geometry import SIMILAR, Alignment, agreement, align
from ensemble_minerals.data.same_object.keypoints import MIRROR, Keypoints, root_sift
from ensemble_minerals.data.same_object.overlay import (
    MOST_CONTRADICTIONS,
    Overlay,
    contradictions,
    lay_over,
)
from ensemble_minerals.data.same_object.pairs import Evidence, Grade

MATCHING_VERSION = 4
"""Increase when pairs of photos get other verdicts than before."""

MIN_INLIERS = 15
"""Keypoints that must match where the pixels do not agree over most of both photos."""

MIN_SHARE = 0.08
"""Share of one photo that matching keypoints must span."""

MIN_AGREEMENT = 0.3
"""Share of the keypoints in that part of one photo that must be found in the other."""

MANY_INLIERS, MIN_BLOCKS = 30, 0.7
"""Matching keypoints, and share of the overlap that agrees, that are enough where a watermark covers much."""

MIN_CORRELATION = 0.6
"""Of the pixels in that part."""

TOLERANCE = 0.025
"""Share of the longer side by which a match may be off."""

MOST_POINTS = 40
"""Points that evidence keeps for drawing."""

_MIN_EVERYWHERE = 0.2  # share of all keypoints of one photo that the same picture has in the other
_MARGIN = 0.15  # share of a photo's side along an edge
_FEWEST_OFF_MARGINS = 8  # matching points that do not lie along one edge in both photos
_ENOUGH_KEYPOINTS = 60  # where both photos have so many, some match if both are the same picture
_ALIKE = 0.9  # product of tiny copies of photos that may be the same picture without keypoints
_COARSE_INLIERS = 5  # of the coarse keypoints: no pair that is the same had fewer
_COARSE_SIMILAR = (
    0.92  # product of their descriptors: most pairs have fewer such matches, and need no closer look
)
_COARSE_SHARE = (
    MIN_SHARE / 4
)  # of a photo that they span: words on a stone span less, and are found in many photos
_COARSE_ALIKE = 0.87
_HALF = np.flatnonzero(np.arange(len(MIRROR)) < MIRROR)  # one of each two numbers that a mirror image swaps
_NO_POINTS = np.zeros((0, 4), np.float32)


@dataclass(frozen=True, eq=False)
class Comparable:
    """A photo with what each comparison needs, computed once."""

    keypoints: Keypoints

    @cached_property
    def vectors(self) -> NDArray[np.float32]:
        """Unit vectors of the descriptors, (n, 128)."""
        return root_sift(self.keypoints.descriptors)

    @cached_property
    def parts(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What stays of the vectors in a mirror image, and what changes sign, (n, 64) each."""
        vectors = root_sift(self.keypoints.descriptors)  # not kept beside their parts
        own, mirrored = vectors[:, _HALF], vectors[:, MIRROR[_HALF]]
        return (own + mirrored) / np.float32(np.sqrt(2)), (own - mirrored) / np.float32(np.sqrt(2))

    @cached_property
    def mirror_image(self) -> Comparable:
        """The same of the mirror image, without another look at the photo."""
        own = self.keypoints
        x, y, size, angle = own.frames.T
        frames = np.stack([own.width - 1 - x, y, size, np.pi - angle], axis=1)
        mirrored = Keypoints(own.width, own.height, frames, own.descriptors[:, MIRROR], own.grey[:, ::-1])
        return Comparable(mirrored)

    @property
    def longer_side(self) -> int:
        """In pixels of the copy that has the keypoints."""
        return max(self.keypoints.width, self.keypoints.height)


def similarities(first: Comparable, second: Comparable) -> Iterator[tuple[Comparable, NDArray[np.float32]]]:
    """The first photo, then its mirror image, each with the products of its descriptors and those of the second one.

    Both take no longer than one of them: they are the sum and the difference of the products of `Comparable.parts`.
    """
    same, turned = (one @ other.T for one, other in zip(first.parts, second.parts, strict=True))
    yield first, same + turned
    yield first.mirror_image, same - turned


def may_match(first: Comparable, second: Comparable) -> bool:
    """Whether two photos, by their coarse keypoints, may belong together: few pairs are left, and none is lost."""
    return any(_may_match(one, second, similarity) for one, similarity in similarities(first, second))


def _may_match(first: Comparable, second: Comparable, similarity: NDArray[np.float32]) -> bool:
    one, other = first.keypoints, second.keypoints
    few = min(len(one), len(other)) < _ENOUGH_KEYPOINTS
    if few and float(one.tiny @ other.tiny) >= _COARSE_ALIKE:
        return True
    tolerance = TOLERANCE * second.longer_side
    aligned = align(similarity, one.frames, other.frames, tolerance, _COARSE_INLIERS, _COARSE_SIMILAR)
    if aligned is None:
        return False
    hulls = _hull(one.frames[aligned.first, :2]), _hull(other.frames[aligned.second, :2])
    return few or max(_shares(one, other, hulls)) >= _COARSE_SHARE


def compare(first: Comparable, second: Comparable) -> tuple[Grade, Evidence] | None:
    """How two photos belong together, and what shows it; None where nothing does."""
    best: tuple[Grade, Evidence] | None = None
    for mirrored, (one, similarity) in enumerate(similarities(first, second)):
        found = _by_keypoints(one, second, similarity, mirrored=bool(mirrored))
        found = found or _whole(one, second, mirrored=bool(mirrored))
        if found is not None and (best is None or found[1].inliers > best[1].inliers):
            best = found
    return best


def _by_keypoints(
    first: Comparable, second: Comparable, similarity: NDArray[np.float32], *, mirrored: bool
) -> tuple[Grade, Evidence] | None:
    one, other = first.keypoints, second.keypoints
    tolerance = TOLERANCE * second.longer_side
    aligned = align(similarity, one.frames, other.frames, tolerance)
    if aligned is None:
        return None
    source, target = one.frames[aligned.first, :2], other.frames[aligned.second, :2]
    hulls = _hull(source), _hull(target)
    shares = _shares(one, other, hulls)
    overlay = lay_over(one, other, aligned.matrix, hulls[1])
    if overlay is None:
        return None
    rows, columns = np.nonzero(similarity > SIMILAR)
    similar = (rows, columns)
    agreed = _agreement(similar, first, second, aligned, hulls)
    points = _points(one, other, source, target, mirrored=mirrored)
    spread = np.linspace(0, len(points) - 1, min(MOST_POINTS, len(points))).astype(np.intp)
    evidence = Evidence(len(source), *shares, agreed, overlay.correlation, mirrored, points[spread])
    everywhere = _agreement(similar, first, second, aligned, None)
    if (
        overlay.is_same_picture
        and (everywhere >= _MIN_EVERYWHERE or min(len(one), len(other)) < _ENOUGH_KEYPOINTS)
        and contradictions(one, other, aligned.matrix) <= MOST_CONTRADICTIONS
    ):
        return "same_picture", evidence
    if _off_margins(points) < _FEWEST_OFF_MARGINS or not _is_same_object(evidence, overlay):
        return None
    return "same_object", evidence


def _is_same_object(evidence: Evidence, overlay: Overlay) -> bool:
    agrees = evidence.agreement >= MIN_AGREEMENT or (
        evidence.inliers >= MANY_INLIERS and overlay.blocks >= MIN_BLOCKS
    )
    return (
        agrees
        and evidence.inliers >= MIN_INLIERS
        and max(evidence.first_share, evidence.second_share) >= MIN_SHARE
        and evidence.correlation >= MIN_CORRELATION
    )


def _off_margins(points: NDArray[np.float32]) -> int:
    """How many matching points do not lie along one and the same edge of both photos, as those of banners do."""
    edges = np.stack([points < _MARGIN, points > 1 - _MARGIN])
    return int(np.sum(~(edges[..., :2] & edges[..., 2:]).any(axis=(0, 2))))


def _whole(first: Comparable, second: Comparable, *, mirrored: bool) -> tuple[Grade, Evidence] | None:
    """Whether two photos with too few keypoints are the same picture, neither cropped nor turned."""
    one, other = first.keypoints, second.keypoints
    if min(len(one), len(other)) >= _ENOUGH_KEYPOINTS or float(one.tiny @ other.tiny) < _ALIKE:
        return None
    matrix = np.array([[other.width / one.width, 0, 0], [0, other.height / one.height, 0]])
    corners = np.array([[0, 0], [other.width, 0], [other.width, other.height], [0, other.height]], np.float32)
    overlay: Overlay | None = lay_over(one, other, matrix, corners)
    if overlay is None or not overlay.is_same_picture:
        return None
    if contradictions(one, other, matrix) > MOST_CONTRADICTIONS:
        return None
    return "same_picture", Evidence(0, 1.0, 1.0, 0.0, overlay.correlation, mirrored, _NO_POINTS)


def _agreement(
    similar: tuple[NDArray[np.intp], NDArray[np.intp]],
    first: Comparable,
    second: Comparable,
    aligned: Alignment,
    hulls: tuple[NDArray[np.float32], NDArray[np.float32]] | None,
) -> float:
    """The larger share of the keypoints of either photo, in hulls or in all, that are found in the other."""
    frames, others = first.keypoints.frames, second.keypoints.frames
    square = np.vstack([aligned.matrix, [0, 0, 1]])
    back = np.linalg.pinv(square)[:2]
    return max(
        agreement(
            similar,
            frames,
            others,
            aligned.matrix,
            _inside(frames, hulls and hulls[0]),
            TOLERANCE * second.longer_side,
        ),
        agreement(
            similar[::-1],
            others,
            frames,
            back,
            _inside(others, hulls and hulls[1]),
            TOLERANCE * first.longer_side,
        ),
    )


def _points(
    one: Keypoints,
    other: Keypoints,
    source: NDArray[np.float32],
    target: NDArray[np.float32],
    *,
    mirrored: bool,
) -> NDArray[np.float32]:
    """The matching points, as fractions of either photo as it is, (m, 4)."""
    x = one.width - 1 - source[:, 0] if mirrored else source[:, 0]
    points = np.column_stack([x, source[:, 1], target])
    return (points / (one.width, one.height, other.width, other.height)).astype(np.float32)


def _hull(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Corners of the convex hull, in order, (k, 2)."""
    import cv2

    corners = cv2.convexHull(np.ascontiguousarray(points)).reshape(-1, 2)
    return corners.astype(np.float32)


def _shares(
    one: Keypoints, other: Keypoints, hulls: tuple[NDArray[np.float32], NDArray[np.float32]]
) -> tuple[float, float]:
    """The part of either photo that a hull covers."""
    return _area(hulls[0]) / (one.width * one.height), _area(hulls[1]) / (other.width * other.height)


def _area(corners: NDArray[np.float32]) -> float:
    x, y = corners.T.astype(np.float64)
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def _inside(frames: NDArray[np.float32], corners: NDArray[np.float32] | None) -> NDArray[np.bool_]:
    """Which keypoints lie in a convex hull, (n,); all for None."""
    if corners is None:
        return np.ones(len(frames), dtype=bool)
    edges = np.roll(corners, -1, axis=0) - corners
    away = frames[:, None, :2] - corners
    side = edges[:, 0] * away[..., 1] - edges[:, 1] * away[..., 0]
    return np.logical_or((side >= -1e-3).all(axis=1), (side <= 1e-3).all(axis=1))
