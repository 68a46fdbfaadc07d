"""Deterministic square views of a photo, resized as 8-bit pixels.

`squash` is the whole photo, stretched to a square. `center` is its central square, and `detail` the middle of that
square, with 0.7 of its side. `pad` is the whole photo in its proportions, on white. A name that ends in `_flip` is
the mirror image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ensemble_minerals.errors import ConfigError

DETAIL = 0.7
"""Side of `detail`, as a part of the side of `center`."""
BASES = ("squash", "center", "detail", "pad")
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
    detailed = any(name.startswith("detail") for name in names)
    return math.ceil(size / DETAIL) if detailed else size


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
    side = max(width, height) if base == "pad" else min(width, height) * (DETAIL if base == "detail" else 1.0)
    left, top = (width - side) / 2, (height - side) / 2
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
