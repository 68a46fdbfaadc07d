"""Deterministic square views of a photo, resized as 8-bit pixels.

`squash` is the whole photo, stretched to a square. `center` is its central square, and `detail` the middle of that
square, with 0.7 of its side. `top_left`, `top_right`, `bottom_left` and `bottom_right` have half of its side, and lie
off its middle so that they overlap a little and leave out its border. `pad` is the whole photo in its proportions, on
white. A name that ends in `_flip` is the mirror image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ensemble_minerals.errors import ConfigError


class Cut(NamedTuple):
    """A part of the central square, in units of its side.

    Attributes:
        side: Of the part.
        across: From the middle of the square to that of the part, to the right.
        down: The same, downwards.
    """

    side: float
    across: float = 0.0
    down: float = 0.0


CUTS = {
    "center": Cut(1.0),
    "detail": Cut(0.7),
    "top_left": Cut(0.5, -0.2, -0.2),
    "top_right": Cut(0.5, 0.2, -0.2),
    "bottom_left": Cut(0.5, -0.2, 0.2),
    "bottom_right": Cut(0.5, 0.2, 0.2),
}
"""Views that show a part of the photo."""
BASES = ("squash", *CUTS, "pad")
VIEWS = tuple(f"{base}{flip}" for base in BASES for flip in ("", "_flip"))
TRANSFORM = "OpenCV: read at 384, 576, 768, ...; whole pixels, areas of whole numbers of pixels, bicubic"
"""How views are drawn: a photo is decoded at one of these sides (see `data.image_cache.decode_side`), the part is cut
out at whole pixels, squares of whole numbers of pixels are averaged where it is much larger than its view (see
`averaged`), and what is left of the difference is bicubic interpolation."""
REDUCING_GAP = 1.2
"""Pillow first reduces large photos by averaging pixels, to this times the size."""
PILLOW_TRANSFORM = f"Pillow bicubic with antialiasing on 8-bit pixels, reducing gap {REDUCING_GAP}"
"""How views were drawn before, in four times the time; features that were fitted so are computed so."""

NEARLY_HALF = 0.501
"""Added to a place, whose fraction is then left out: rounding errors do not change the whole pixel that remains."""

_Resize: TypeAlias = Callable[[tuple[float, float, float, float], tuple[int, int]], NDArray[np.uint8]]
"""A part of a photo (left, top, right, bottom) at a size (width, height)."""


def check_views(names: Sequence[str]) -> tuple[str, ...]:
    """Check the names of views.

    Raises:
        ConfigError: If there is none, one is unknown, or one is there twice.

    Example:
        >>> check_views(["center", "center_flip"])
        ('center', 'center_flip')
    """
    unknown = [name for name in names if name not in VIEWS]
    if unknown or not names or len(set(names)) < len(names):
        raise ConfigError([f"views: {list(names)} should be one or more of {', '.join(VIEWS)}, each once"])
    return tuple(names)


def needed_side(names: Sequence[str], size: int) -> int:
    """Pixels that a photo's shorter side needs, so that no view has to be enlarged.

    >>> needed_side(["center"], 224), needed_side(["center", "detail"], 224)
    (224, 320)
    """
    return math.ceil(size / smallest_side(names))


def smallest_side(names: Sequence[str]) -> float:
    """Side of the smallest part that views show, in units of the central square's.

    >>> smallest_side(["squash", "detail_flip"])
    0.7
    """
    return min(
        (CUTS[base].side for name in names if (base := name.removesuffix("_flip")) in CUTS), default=1.0
    )


def draw_views(
    photo: NDArray[np.uint8], names: Sequence[str], size: int, transform: str = TRANSFORM
) -> Iterator[NDArray[np.uint8]]:
    """Draw the views of one photo, one after the other.

    Args:
        photo: RGB pixels of shape (height, width, 3).
        names: Names of the views, in order.
        size: Side of each view in pixels.
        transform: `TRANSFORM` or `PILLOW_TRANSFORM`.

    Yields:
        Contiguous RGB pixels of shape (size, size, 3).
    """
    resize = TRANSFORMS[transform](photo)
    drawn: dict[str, NDArray[np.uint8]] = {}
    for name in names:
        base = name.removesuffix("_flip")
        if base not in drawn:
            drawn[base] = _draw(resize, base, size, *photo.shape[:2])
        yield np.ascontiguousarray(drawn[base][:, ::-1]) if name != base else drawn[base]


def view_box(name: str, width: int, height: int) -> tuple[float, float, float, float]:
    """The part of a photo that a view shows: left, top, right and bottom in pixels.

    The box of a padded view is larger than the photo.

    >>> view_box("center", width=300, height=200), view_box("pad", width=300, height=200)
    ((50.0, 0.0, 250.0, 200.0), (0.0, -50.0, 300.0, 250.0))
    """
    base = name.removesuffix("_flip")
    if base == "squash":
        return 0.0, 0.0, float(width), float(height)
    if base == "pad":
        side = float(max(width, height))
        left, top = (width - side) / 2, (height - side) / 2
    else:
        cut, square = CUTS[base], min(width, height)
        side = square * cut.side
        left, top = (width - side) / 2 + square * cut.across, (height - side) / 2 + square * cut.down
    return left, top, left + side, top + side


def _draw(resize: _Resize, base: str, size: int, height: int, width: int) -> NDArray[np.uint8]:
    if base != "pad":
        return resize(view_box(base, width, height), (size, size))
    scale = size / max(width, height)
    across, down = (max(1, round(side * scale)) for side in (width, height))
    canvas = np.full((size, size, 3), 255, np.uint8)
    left, top = (size - across) // 2, (size - down) // 2
    canvas[top : top + down, left : left + across] = resize((0.0, 0.0, width, height), (across, down))
    return canvas


def averaged(length: int, target: int) -> int:
    """How many pixels become one before a length is interpolated to a target.

    >>> [averaged(length, 100) for length in (80, 169, 170, 300, 370)]
    [1, 1, 2, 3, 4]
    """
    return max(1, (10 * length + 3 * target) // (10 * target))


def whole_pixel(place: float) -> int:
    """The edge between pixels that is next to a place, the later one where two are as near but for rounding errors.

    >>> [whole_pixel(place) for place in (2.4, 2.4999, 2.5)]
    [2, 3, 3]
    """
    return math.floor(place + NEARLY_HALF)


def _by_opencv(photo: NDArray[np.uint8]) -> _Resize:
    import cv2

    def resize(box: tuple[float, float, float, float], size: tuple[int, int]) -> NDArray[np.uint8]:
        (left, top, right, bottom), (height, width) = box, photo.shape[:2]
        columns, rows = _whole(left, right, width, size[0]), _whole(top, bottom, height, size[1])
        part = photo[rows.start : rows.stop, columns.start : columns.stop]
        if rows.step > 1 or columns.step > 1:
            part = np.asarray(
                cv2.resize(part, (len(columns), len(rows)), interpolation=cv2.INTER_AREA), np.uint8
            )
        return np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_CUBIC), np.uint8)

    return resize


def _whole(start: float, stop: float, length: int, target: int) -> range:
    """The first pixel of each mean along one axis of a box; what is left over is left out on both sides."""
    first = min(whole_pixel(start), length - 1)
    extent = max(1, min(whole_pixel(stop), length) - first)
    step = averaged(extent, target)
    first += extent % step // 2
    return range(first, first + extent // step * step, step)


def _by_pillow(photo: NDArray[np.uint8]) -> _Resize:
    image = Image.fromarray(photo)

    def resize(box: tuple[float, float, float, float], size: tuple[int, int]) -> NDArray[np.uint8]:
        return np.asarray(image.resize(size, Image.Resampling.BICUBIC, box=box, reducing_gap=REDUCING_GAP))

    return resize


TRANSFORMS: dict[str, Callable[[NDArray[np.uint8]], _Resize]] = {
    TRANSFORM: _by_opencv,
    PILLOW_TRANSFORM: _by_pillow,
}
"""How parts of a photo are resized, by what the metadata of features say."""
