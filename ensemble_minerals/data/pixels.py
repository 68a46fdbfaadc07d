"""Any image of Pillow as an RGB array, strip by strip, so that no second copy of a large photo is needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_STRIP_PIXELS = 250_000  # a strip fits into the cache of a core
_EXACT = 1e30  # ranges up to this are scaled as floats of 32 bits


@dataclass(frozen=True)
class _Grey:
    """How grey of more than 8 bits becomes 8 bits: black, white, a value that is transparent."""

    low: float
    white: float
    transparent: int | None
    white_is_zero: bool


def to_rgb_array(image: Image.Image, factor: int = 1, *, white_is_zero: bool = False) -> NDArray[np.uint8]:
    """Turn an image of any mode into RGB, on white where it is transparent.

    Args:
        image: Loaded image of size (w, h).
        factor: By how much the sides are reduced, by averaging.
        white_is_zero: Whether grey of more than 8 bits is a negative, which Pillow leaves as it is.

    Returns:
        Shape (ceil(h / factor), ceil(w / factor), 3).

    Example:
        >>> to_rgb_array(Image.new("L", (5, 4), 7), 2).shape
        (2, 3, 3)
    """
    width, height = image.size
    grey = _grey(image, white_is_zero) if _is_deep(image) else None
    pixels = np.empty((-(-height // factor), -(-width // factor), 3), np.uint8)
    for top, strip in _strips(image, factor):
        part = np.asarray(
            _reduced_rgb(strip if grey is None else Image.fromarray(_to_8_bit(strip, grey)), factor)
        )
        pixels[top // factor : top // factor + len(part)] = part
    return pixels


def _reduced_rgb(image: Image.Image, factor: int) -> Image.Image:
    if factor == 1:
        return _to_rgb(image)
    if image.mode in ("L", "RGB", "RGBA") and "transparency" not in image.info:
        return _to_rgb(image.reduce(factor))  # quicker in this order
    return _to_rgb(image).reduce(factor)


def _strips(image: Image.Image, factor: int) -> Iterator[tuple[int, Image.Image]]:
    """The image in horizontal strips, with the row where each begins."""
    width, height = image.size
    rows = max(1, _STRIP_PIXELS // width // factor) * factor
    if rows >= height:
        yield 0, image
        return
    for top in range(0, height, rows):
        yield top, image.crop((0, top, width, min(height, top + rows)))


def _is_deep(image: Image.Image) -> bool:
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def _to_rgb(image: Image.Image) -> Image.Image:
    """Turn any mode of 8 bits a sample into RGB."""
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    straight = {"La": "LA", "RGBa": "RGBA"}.get(image.mode)  # premultiplied modes convert in two steps
    opaque = image.convert(straight) if straight else image
    layer = opaque.convert("RGBA")
    paper = Image.new("RGBA", layer.size, (255, 255, 255, 255))
    return Image.alpha_composite(paper, layer).convert("RGB")


def _grey(image: Image.Image, white_is_zero: bool) -> _Grey:
    """The range of grey of more than 8 bits.

    White is 65535 for integers that fit into 16 bits, 4095 where they fit into 12 bits of a file of 16, 1 for floats
    in [0, 1], and 255 for floats in [0, 255]. Values in any other range are stretched so that the darkest is black
    and the lightest white.
    """
    transparent = image.info.get("transparency")
    transparent = transparent if isinstance(transparent, int) and image.mode != "F" else None
    low, high = np.inf, -np.inf
    for _, strip in _strips(image, 1):
        values = _finite(strip)
        low, high = min(low, float(values.min())), max(high, float(values.max()))
    if image.mode == "F":
        white = 1.0 if high <= 1 else 255.0
    else:
        white = 4095.0 if image.mode != "I" and high <= 4095 else 65535.0
    if low < 0 or high > white:
        return _Grey(low, max(high - low, 1.0), transparent, white_is_zero)
    return _Grey(0.0, white, transparent, white_is_zero)


def _to_8_bit(image: Image.Image, grey: _Grey) -> NDArray[np.uint8]:
    if image.mode.startswith("I;16"):  # few values: each is computed once
        table, values = _scaled(np.arange(65536.0), grey), np.asarray(image)
        return np.take(table, values)
    values = _finite(image)
    if grey.white > _EXACT:
        values = values.astype(np.float64)  # whose range is larger
    return _scaled(values, grey)


def _scaled(values: NDArray[np.floating[Any]], grey: _Grey) -> NDArray[np.uint8]:
    """Values in 8 bits; the array is overwritten."""
    transparent = None if grey.transparent is None else values == grey.transparent
    values -= grey.low
    values *= 255.0 / grey.white
    if grey.white_is_zero:
        np.subtract(255.0, values, out=values)
    if transparent is not None:
        values[transparent] = 255.0
    return np.clip(np.rint(values, out=values), 0, 255, out=values).astype(np.uint8)


def _finite(image: Image.Image) -> NDArray[np.floating[Any]]:
    """Values of an image as floats."""
    values = np.asarray(image)
    if image.mode != "F":
        return values.astype(np.float64)
    if np.isfinite(values.min()) and np.isfinite(values.max()):
        return values.copy()
    return np.where(np.isfinite(values), values, np.float32(0))
