"""Color of 16 bits a sample, of which Pillow keeps the high byte: nearly black where the values fit into 12 bits."""

from __future__ import annotations

import sys
from typing import Any

from PIL import Image, ImageChops, ImageFile

_HIGHEST = 15  # high byte of the largest number of 12 bits
_STRIP = 256  # rows that are combined at once
_NATIVE = "L" if sys.byteorder == "little" else "B"


def low_byte_tiles(image: Image.Image) -> list[Any]:
    """How Pillow reads the low bytes of an image that is not loaded yet; empty if it has no color of 16 bits."""
    if not isinstance(image, ImageFile.ImageFile):
        return []
    tiles = [tile._replace(args=_swapped(tile.args)) for tile in image.tile]
    return tiles if all(tile.args for tile in tiles) else []


def fits_12_bits(image: Image.Image) -> bool:
    """Whether the high bytes of all colors are those of numbers of 12 bits."""
    extrema = image.getextrema()
    colors = extrema[:3] if image.mode == "RGBA" else extrema
    return all(high <= _HIGHEST for _, high in colors)  # type: ignore[misc]


def stretch(high: Image.Image, low: Image.Image) -> None:
    """Scale numbers of 12 bits to 8 bits, in place.

    Args:
        high: Their high bytes; afterwards the image.
        low: Their low bytes.
    """
    opaque = high.mode == "RGB"
    upper = [min(16 * value, 255) for value in range(256)] * 3 + ([] if opaque else list(range(256)))
    lower = [value >> 4 for value in range(256)] * 3 + ([] if opaque else [0] * 256)
    for top in range(0, high.height, _STRIP):
        box = (0, top, high.width, min(top + _STRIP, high.height))
        high.paste(ImageChops.add(high.crop(box).point(upper), low.crop(box).point(lower)), box)


def _swapped(args: Any) -> Any:
    """Arguments of a decoder that takes the other byte of each sample; None where there are not two."""
    mode, *rest = args if isinstance(args, tuple) else (args,)
    color, _, depth = str(mode).partition(";")
    if color not in ("RGB", "RGBA") or depth not in ("16B", "16L", "16N"):
        return None
    order = depth[-1].replace("N", _NATIVE)
    other = f"{color};16{'L' if order == 'B' else 'B'}"
    return (other, *rest) if isinstance(args, tuple) else other
