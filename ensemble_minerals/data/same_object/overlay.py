"""One photo laid over another, pixel by pixel, in copies in shades of grey."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.data.same_object.keypoints import Keypoints

SAME_PICTURE_BLOCKS = 0.85
"""Share of the blocks of the same picture that must agree."""

_BLOCK = 8  # pixels of a side
_BLOCK_CORRELATION = 0.5  # of a block that agrees
_PLAIN = 3.0  # standard deviation of a block in which nothing can be compared
_OVERLAPS = (
    0.6,
    0.2,
)  # shares of both photos that the same picture covers, at least: the larger, the smaller
_FEWEST_BLOCKS = 6

MOST_CONTRADICTIONS = 0.1
"""Share of the blocks of a larger copy in which the same picture may show something else: a layout is no picture.

Real photos of the same picture have at most 0.07; tables, forms and cards of one layout at least 0.11.
"""

_LARGE_BLOCK, _LARGE_SHIFT = 16, 2  # pixels of a side, and by how many a block is moved to fit best
_LARGE_CORRELATION, _LARGE_PLAIN = 0.6, 12.0


@dataclass(frozen=True)
class Overlay:
    """How the pixels of two photos agree.

    Attributes:
        correlation: Inside the part that matching keypoints span.
        first_share: Share of the first photo that lies on the second one.
        second_share: Share of the second photo that is covered.
        blocks: Share of the blocks in the whole overlap that agree; 0 where there are too few to tell.
    """

    correlation: float
    first_share: float
    second_share: float
    blocks: float

    @property
    def is_same_picture(self) -> bool:
        """Whether most of both photos agrees."""
        shares = sorted((self.first_share, self.second_share))
        return shares[1] >= _OVERLAPS[0] and shares[0] >= _OVERLAPS[1] and self.blocks >= SAME_PICTURE_BLOCKS


def lay_over(
    first: Keypoints, second: Keypoints, matrix: NDArray[np.float64], corners: NDArray[np.float32]
) -> Overlay | None:
    """Lay the first photo over the second one, in the smaller of both scales.

    Args:
        first: The first photo.
        second: The second photo.
        matrix: From places in the first to places in the second, as keypoints count them, shape (2, 3).
        corners: The part of the second photo that matching keypoints span, shape (k, 2).

    Returns:
        How they agree; None where the transform makes no sense.
    """
    import cv2

    scales = [photo.small.shape[1] / photo.width for photo in (first, second)]
    matrix = _scaled(matrix, *scales)
    corners = corners * np.float32(scales[1])
    zoom = abs(np.linalg.det(matrix[:, :2]))
    if not 1e-3 < zoom < 1e3:
        return None
    fixed, moved = second.small, first.small
    if zoom > 1:  # the second photo has more pixels there: lay it over the first one
        matrix = cv2.invertAffineTransform(matrix).astype(np.float64)
        corners = (corners @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
        fixed, moved = moved, fixed
    size = fixed.shape[1], fixed.shape[0]
    laid = cv2.warpAffine(np.ascontiguousarray(moved), matrix, size).astype(np.float32)
    covered = cv2.warpAffine(np.full(moved.shape, 255, np.uint8), matrix, size) > 250
    spanned = np.zeros(fixed.shape, np.uint8)
    cv2.fillConvexPoly(spanned, np.round(corners).astype(np.int32), 1)
    plain = fixed.astype(np.float32)
    on_fixed = float(covered.mean())
    on_moved = float(covered.sum() / (moved.size * abs(np.linalg.det(matrix[:, :2]))))
    first_share, second_share = (on_fixed, on_moved) if zoom > 1 else (on_moved, on_fixed)
    inside = covered & (spanned > 0)
    return Overlay(
        _correlation(laid[inside], plain[inside]),
        min(first_share, 1.0),
        min(second_share, 1.0),
        _agreeing_blocks(laid, plain, covered),
    )


def contradictions(first: Keypoints, second: Keypoints, matrix: NDArray[np.float64]) -> float:
    """Share of the blocks of the overlap in which both photos have details, and not the same ones.

    Pages, forms and windows of one layout agree over most of a small copy; the letters in them do not.

    Args:
        first: The first photo.
        second: The second photo.
        matrix: From places in the first to places in the second, as keypoints count them, shape (2, 3).
    """
    import cv2

    matrix = _scaled(matrix, *(photo.grey.shape[1] / photo.width for photo in (first, second)))
    fixed, moved = second.grey, first.grey
    if abs(np.linalg.det(matrix[:, :2])) > 1:
        matrix = cv2.invertAffineTransform(matrix).astype(np.float64)
        fixed, moved = moved, fixed
    moved = np.ascontiguousarray(moved)
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if scale < 0.8:  # finer details than the other photo can have
        moved = cv2.GaussianBlur(moved, (0, 0), 0.5 / scale).astype(np.uint8)
    size, shift = (fixed.shape[1], fixed.shape[0]), _LARGE_SHIFT
    laid = cv2.warpAffine(moved, matrix, size).astype(np.float32)
    covered = cv2.warpAffine(np.full(moved.shape, 255, np.uint8), matrix, size) > 250
    covered = cv2.erode(covered.astype(np.uint8), np.ones((2 * shift + 1,) * 2, np.uint8)).astype(bool)
    tops, lefts = (np.arange(shift, side - _LARGE_BLOCK - shift + 1, _LARGE_BLOCK) for side in fixed.shape)
    places = np.stack(np.meshgrid(tops, lefts, indexing="ij"), axis=-1).reshape(-1, 2)
    places = places[_at(covered, places).all(axis=1)]
    x, x_spread = _standardized(_at(fixed.astype(np.float32), places))
    _, y_spread = _standardized(_at(laid, places))
    seen = np.maximum(x_spread, y_spread) > _LARGE_PLAIN
    if seen.sum() < _FEWEST_BLOCKS:
        return 0.0
    left = np.flatnonzero(np.minimum(x_spread, y_spread) > _LARGE_PLAIN)
    moves = sorted(
        np.ndindex(2 * shift + 1, 2 * shift + 1), key=lambda move: np.hypot(*np.subtract(move, shift))
    )
    for move in moves:
        y, _ = _standardized(_at(laid, places[left] + np.subtract(move, shift)))
        left = left[(x[left] * y).mean(axis=1) < _LARGE_CORRELATION]
    return len(left) / int(seen.sum())


def _scaled(matrix: NDArray[np.float64], before: float, after: float) -> NDArray[np.float64]:
    """A transform between photos, for larger or smaller copies of them."""
    return np.column_stack([matrix[:, :2] * (after / before), matrix[:, 2] * after])


def _at(pixels: NDArray[Any], places: NDArray[np.intp]) -> NDArray[Any]:
    """The pixels of blocks by their upper left corners, shape (n_blocks, pixels of a block)."""
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (_LARGE_BLOCK, _LARGE_BLOCK))
    return windows[places[:, 0], places[:, 1]].reshape(len(places), _LARGE_BLOCK**2)


def _standardized(blocks: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Blocks of mean 0 and standard deviation 1, and what that was."""
    centered = blocks - blocks.mean(axis=1, keepdims=True)
    spread = np.sqrt((centered * centered).mean(axis=1))
    return centered / np.maximum(spread, 1e-6)[:, None], spread


def _correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    if len(one) < 2:
        return 0.0
    x, y = one - one.mean(dtype=np.float64), other - other.mean(dtype=np.float64)
    return float((x @ y) / max(np.sqrt((x @ x) * (y @ y)), 1e-9))


def _agreeing_blocks(
    one: NDArray[np.float32], other: NDArray[np.float32], covered: NDArray[np.bool_]
) -> float:
    """Share of the blocks with something to see in either photo in which both correlate."""
    whole = _blocks(covered).all(axis=1)
    x, y = _blocks(one)[whole], _blocks(other)[whole]
    x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    spread = np.sqrt((x * x).mean(axis=1)), np.sqrt((y * y).mean(axis=1))
    seen = np.maximum(*spread) > _PLAIN
    if seen.sum() < _FEWEST_BLOCKS:
        return 0.0
    correlation = (x * y).mean(axis=1)[seen] / np.maximum(spread[0] * spread[1], 1e-6)[seen]
    return float((correlation > _BLOCK_CORRELATION).mean())


def _blocks(pixels: NDArray[np.generic]) -> NDArray[np.generic]:
    """Pixels of each whole block, shape (n_blocks, pixels of a block)."""
    rows, columns = pixels.shape[0] // _BLOCK, pixels.shape[1] // _BLOCK
    cut = pixels[: rows * _BLOCK, : columns * _BLOCK].reshape(rows, _BLOCK, columns, _BLOCK)
    return cut.swapaxes(1, 2).reshape(rows * columns, _BLOCK * _BLOCK)
