"""Deterministic square views of a photo, resized as 8-bit pixels.

`squash` is the whole picture, its sides made equal; `center` the central square; `detail` the middle of that
square, seven tenths of its side; `pad` the whole picture with its shape kept, on white. A name that ends in
`_flip` is the mirror image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ensemble_minerals.errors import ConfigError

DETAIL = 0.7
"""Part of the central square's side that `detail` shows."""
BASES = ("squash", "center", "detail", "pad")
VIEWS = tuple(f"{base}{flip}" for base in BASES for flip in ("", "_flip"))
REDUCING_GAP = 1.2
"""Large photos are first averaged over whole pixels to this times the size: half the time, 0.4 grey levels."""
TRANSFORM = f"Pillow bicubic with antialiasing on 8-bit pixels, reducing gap {REDUCING_GAP}"


def check_views(names: Sequence[str]) -> tuple[str, ...]:
    """Check the names of views.

    Raises:
        ConfigError: None at all, an unknown one, or one twice.
    """
    unknown = [name for name in names if name not in VIEWS]
    if unknown or not names or len(set(names)) < len(names):
        raise ConfigError([f"views: {list(names)} should be one or more of {', '.join(VIEWS)}, each once"])
    return tuple(names)


def needed_side(names: Sequence[str], size: int) -> int:
    """Pixels a photo's shorter side needs so that no view has to be enlarged."""
    detailed = any(name.startswith("detail") for name in names)
    return math.ceil(size / DETAIL) if detailed else size


def draw_views(photo: NDArray[np.uint8], names: Sequence[str], size: int) -> Iterator[NDArray[np.uint8]]:
    """Draw the views of one photo, one after the other.

    Args:
        photo: RGB pixels of shape (height, width, 3).
        names: Which views, in order.
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
    """What a view shows of a photo: left, top, right and bottom in pixels; beyond the photo where it is padded."""
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
