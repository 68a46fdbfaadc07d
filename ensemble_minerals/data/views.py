"""Deterministic square views of a photo, resized as 8-bit pixels.

`squash` is the whole photo, stretched to a square. `center` is its central square, and `detail` the middle of that
square, with 0.7 of its side. `top_left`, `top_right`, `bottom_left` and `bottom_right` have half of its side, and lie
off its middle so that they overlap a little and leave out its border. `pad` is the whole photo in its proportions, on
white. A name that ends in `_flip` is the mirror image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

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
REDUCING_GAP = 1.2
"""Large photos are first reduced by averaging pixels, to this times the size. It halves the time, and changes values
by 0.4 grey levels."""
TRANSFORM = f"Pillow bicubic with antialiasing on 8-bit pixels, reducing gap {REDUCING_GAP}"


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


def draw_views(photo: NDArray[np.uint8], names: Sequence[str], size: int) -> Iterator[NDArray[np.uint8]]:
    """Draw the views of one photo, one after the other.

    Args:
        photo: RGB pixels of shape (height, width, 3).
        names: Names of the views, in order.
        size: Side of each view in pixels.

    Yields:
        Contiguous RGB pixels of shape (size, size, 3).
    """
    image = Image.fromarray(photo)
    drawn: dict[str, NDArray[np.uint8]] = {}
    for name in names:
        base = name.removesuffix("_flip")
        if base not in drawn:
            drawn[base] = _draw(image, base, size)
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


def _draw(image: Image.Image, base: str, size: int) -> NDArray[np.uint8]:
    if base == "pad":
        return _padded(image, size)
    box = view_box(base, *image.size)
    return np.asarray(
        image.resize((size, size), Image.Resampling.BICUBIC, box=box, reducing_gap=REDUCING_GAP)
    )


def _padded(image: Image.Image, size: int) -> NDArray[np.uint8]:
    scale = size / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    canvas = np.full((size, size, 3), 255, np.uint8)
    left, top = (size - width) // 2, (size - height) // 2
    canvas[top : top + height, left : left + width] = np.asarray(
        image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=REDUCING_GAP)
    )
    return canvas
