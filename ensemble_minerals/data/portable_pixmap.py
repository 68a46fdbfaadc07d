"""Portable pixmaps (PPM, PGM) whose brightest value is none of a computer's usual ones, 12-bit ones for example.

Pillow decodes them value by value in Python, which takes a minute for a large photo.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from PIL import Image

from ensemble_minerals.data.decode_budget import check_file_size

_PLAIN_BYTES = 8_000_000
_ROLL_BYTES = 4_000_000
_BLOCK_VALUES = 500_000


class _Readable(Protocol):
    size: int

    def read(self, size: int = ..., /) -> bytes: ...
    def seek(self, offset: int, whence: int = ..., /) -> int: ...


def check_slow_codec(image: Image.Image, n_bytes: int) -> None:
    """Refuse large files of the formats that Pillow decodes in Python: numbers as text, and run lengths in a BMP.

    Raises:
        ImageError: With the sizes and the way out.
    """
    codecs = {tile[0] for tile in getattr(image, "tile", [])}
    if "ppm_plain" in codecs:
        check_file_size(n_bytes, _PLAIN_BYTES, "PPM with numbers as text")
    if "bmp_rle" in codecs:
        check_file_size(n_bytes, _ROLL_BYTES, "BMP with run lengths")


def is_scaled(image: Image.Image) -> bool:
    """Whether an image that was opened is such a pixmap."""
    return [tile[0] for tile in getattr(image, "tile", [])] == ["ppm"]


def load_scaled(image: Image.Image, stream: _Readable) -> Image.Image:
    """Read the values of such a pixmap, scaled to 8 bits.

    Raises:
        OSError: If there are fewer than the header says.
    """
    _, _, offset, (_, brightest) = image.tile[0]  # type: ignore[attr-defined]
    bands = len(image.getbands())
    mode = "RGB" if bands == 3 else "L"
    width, height = image.size
    kind = np.dtype(np.uint8 if brightest < 256 else ">u2")
    result = Image.new(mode, image.size)
    scaled = np.minimum(np.rint(np.arange(256) * (255 / brightest)), 255).astype(int).tolist()
    rows = max(1, _BLOCK_VALUES // (width * bands))
    stream.seek(offset)
    for top in range(0, height, rows):
        n_rows = min(rows, height - top)
        wanted = n_rows * width * bands * kind.itemsize
        data = stream.read(wanted)
        if len(data) < wanted:
            raise OSError("image file is truncated")
        if brightest < 256:
            part = Image.frombytes(mode, (width, n_rows), data).point(scaled * bands)
        else:
            values = np.frombuffer(data, kind).astype(np.float32) * np.float32(255 / brightest)
            shape = (n_rows, width, 3) if bands == 3 else (n_rows, width)
            part = Image.fromarray(np.rint(np.minimum(values, 255)).astype(np.uint8).reshape(shape))
        result.paste(part, (0, top))
    return result
