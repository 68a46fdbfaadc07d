"""Local features of a photo: where its corners and blobs are, and what is around each, by OpenCV's SIFT.

They are of a small copy of the photo, and are computed once: coarse ones of each photo, and fine ones, which take
four times as long, of the few photos that coarse ones do not tell apart. Those of the mirror image are the same
numbers in another order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

KEYPOINTS_VERSION = 2
"""Increase when photos get other keypoints or words than before."""


@dataclass(frozen=True)
class Detail:
    """How closely a photo is looked at.

    Attributes:
        name: Of the keypoints that are found so.
        side: Longer side of the copy that keypoints are found in, in pixels.
        layers: Scales in which keypoints are looked for, until a scale is twice another.
        described: Strongest keypoints that are described, so that each part of a photo can have its share.
        count: Most keypoints of a photo: the strongest of each part.
        grey_side: Longer side of the copy in shades of grey, where the photo has so many pixels.
    """

    name: str
    side: int
    layers: int
    described: int
    count: int
    grey_side: int

    @property
    def needed_side(self) -> int:
        """Pixels the shorter side of a photo should have."""
        return _shorter(max(self.side, self.grey_side))


def _shorter(longer_side: int) -> int:
    """The shorter side of most photos of so long a longer side."""
    return longer_side * 3 // 4


COARSE = Detail("coarse", side=192, layers=2, described=350, count=250, grey_side=32)
"""Enough to tell most photos apart."""

FINE = Detail("fine", side=320, layers=3, described=700, count=500, grey_side=640)
"""What decides."""

_SMALL_SIDE = 128
_CONTRAST = 0.02  # half of OpenCV's own: smooth stones have weak texture
_GRID = 4  # parts of a photo in a row and a column that get as many keypoints, where they have them
_BINS, _CELLS = 8, 4  # of a descriptor: directions, and cells in a row and a column

# The mirror image of what is around a keypoint, seen along its direction: rows are swapped, and directions turn back.
MIRROR = (
    np.arange(_CELLS * _CELLS * _BINS)
    .reshape(_CELLS, _CELLS, _BINS)[::-1][:, :, -np.arange(_BINS) % _BINS]
    .reshape(-1)
)
"""Positions in a descriptor of the numbers of the mirrored one: none stays where it is."""


@dataclass(frozen=True, eq=False)
class Keypoints:
    """Local features of one photo.

    Attributes:
        width: Width of the copy that they were found in, in pixels.
        height: Its height.
        frames: For each keypoint x, y, size in pixels and direction in radians, shape (n, 4), float32.
        descriptors: What is around each, shape (n, 128), uint8.
        grey: A copy in shades of grey, shape (h, w), uint8.
    """

    width: int
    height: int
    frames: NDArray[np.float32]
    descriptors: NDArray[np.uint8]
    grey: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.frames)

    @cached_property
    def small(self) -> NDArray[np.uint8]:
        """A small copy in shades of grey, shape (h, w), in which details do not matter."""
        return np.asarray(_fitted(Image.fromarray(self.grey), _SMALL_SIDE))

    @cached_property
    def tiny(self) -> NDArray[np.float32]:
        """A tiny copy as a unit vector, shape (256,): photos of one picture have nearly the same."""
        small = np.asarray(Image.fromarray(self.grey).resize((16, 16), Image.Resampling.BOX), np.float32)
        values: NDArray[np.float32] = small.ravel() - small.mean()
        values /= max(float(np.linalg.norm(values)), 1e-6)
        return values

    def pack(self) -> bytes:
        """As bytes, for a cache."""
        head = np.array([self.width, self.height, len(self), *self.grey.shape], dtype="<u2")
        parts = (head, self.frames.astype("<f4"), self.descriptors, self.grey)
        return b"".join(part.tobytes() for part in parts)

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """What `pack` made."""
        width, height, n, *shape = np.frombuffer(data, "<u2", 5).tolist()
        frames = np.frombuffer(data, "<f4", 4 * n, 10).reshape(n, 4)
        descriptors = np.frombuffer(data, np.uint8, 128 * n, 10 + 16 * n).reshape(n, 128)
        grey = np.frombuffer(data, np.uint8, shape[0] * shape[1], 10 + 144 * n).reshape(shape)
        return cls(width, height, frames, descriptors, grey)


def find_keypoints(pixels: NDArray[np.uint8], detail: Detail = FINE) -> Keypoints:
    """The keypoints of a photo.

    Args:
        pixels: Upright RGB, shape (H, W, 3), uint8.
        detail: How closely to look.
    """
    import cv2

    image = Image.fromarray(pixels).convert("L")
    factor = min(image.size) // _shorter(
        detail.side
    )  # as JPEGs are decoded: all photos are made smaller in one way
    small = np.asarray(_fitted(image.reduce(factor) if factor > 1 else image, detail.side))
    sift = cv2.SIFT.create(
        nfeatures=detail.described, nOctaveLayers=detail.layers, contrastThreshold=_CONTRAST
    )
    found, descriptors = sift.detectAndCompute(small, None)
    kept = _spread(found, small.shape)[: detail.count]
    frames = [(*found[n].pt, found[n].size, np.deg2rad(found[n].angle)) for n in kept]
    return Keypoints(
        small.shape[1],
        small.shape[0],
        np.array(frames, dtype=np.float32).reshape(-1, 4),
        np.zeros((0, 128), np.uint8) if descriptors is None else descriptors[kept].astype(np.uint8),
        np.asarray(_fitted(image, min(detail.grey_side, max(image.size)))),
    )


def _spread(found: Sequence[Any], shape: tuple[int, ...]) -> list[int]:
    """The strongest keypoint of each cell of a grid, then the second of each, and so on."""
    order = np.argsort([-point.response for point in found], kind="stable")
    places = np.array([point.pt for point in found]).reshape(-1, 2)[order]
    cells = np.minimum(places * _GRID // (shape[1], shape[0]), _GRID - 1).astype(np.intp)
    number = cells[:, 1] * _GRID + cells[:, 0]
    rank = np.zeros(len(order), dtype=np.intp)
    for cell in range(_GRID * _GRID):
        mine = number == cell
        rank[mine] = np.arange(mine.sum())
    chosen: list[int] = order[np.argsort(rank, kind="stable")].tolist()
    return chosen


def root_sift(descriptors: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Descriptors as unit vectors whose products tell more than those of SIFT (Arandjelovic and Zisserman 2012)."""
    values = descriptors.astype(np.float32)
    values /= np.maximum(values.sum(axis=1, keepdims=True), 1.0)
    roots: NDArray[np.float32] = np.sqrt(values, out=values)
    return roots


def _fitted(image: Image.Image, side: int) -> Image.Image:
    scale = side / max(image.size)
    size = max(round(image.width * scale), 1), max(round(image.height * scale), 1)
    return image.resize(size, Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.BOX)
