"""The only decoder: it turns a file into an upright RGB array, or raises an error with a reason.

It recognizes formats by the content of a file, never by its name, and tries only those that Pillow decodes by itself
(not EPS, for which Pillow would start Ghostscript). It does not apply color profiles.
"""

from __future__ import annotations

import hashlib
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from ensemble_minerals.data.decode_failures import (
    access_failure,
    header_failure,
    is_access_error,
    load_failure,
)
from ensemble_minerals.errors import ImageError, ImageReason
from ensemble_minerals.system.digest import stream_digest
from ensemble_minerals.system.runtime import DEFAULT_LIMITS, DecodeLimits

# MPO (a JPEG with two images, from many telephones) is opened as JPEG.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM")

# EXIF orientation -> what makes the image upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAPS_SIDES = (5, 6, 7, 8)


@dataclass(frozen=True, eq=False)
class Photo:
    """A decoded photo.

    Attributes:
        pixels: Upright RGB, shape (H, W, 3), uint8, contiguous and writable. It can be smaller than the image in the
            file, see `decode`.
        width: Width of the image in the file, upright and at full size, in pixels.
        height: Its height.
        format: Format of the file, for instance ``"JPEG"``.
        mode: Pillow's mode of the file, for instance ``"P"`` for a palette.
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int
    format: str
    mode: str


def decode(
    source: Path | bytes,
    *,
    at_least: int | None = None,
    limits: DecodeLimits = DEFAULT_LIMITS,
) -> Photo:
    """Decode one file, or the bytes of one.

    Transparent parts become white, 16-bit grey is scaled to 8 bits, and of an animation the first frame is used.
    Unreadable metadata are ignored.

    Args:
        source: Path of the file, or its content.
        at_least: Pixels of the shorter side that the caller needs. A JPEG is then decoded at 1/2, 1/4 or 1/8 of its
            size if that leaves so many pixels, which is faster. None decodes at full size.
        limits: Sizes of the photos that are decoded. They are checked in the header, before anything is decoded.
            Pillow's own limit, twice ``PIL.Image.MAX_IMAGE_PIXELS``, applies as well.

    Returns:
        The photo, upright.

    Raises:
        ImageError: If the photo cannot be read, with the reason.
        ValueError: If `at_least` is below 1.

    Example:
        >>> photo = decode(b"P6 16 8 255 " + bytes(16 * 8 * 3))
        >>> photo.pixels.shape, photo.format
        ((8, 16, 3), 'PPM')
    """
    if at_least is not None and at_least < 1:
        raise ValueError(f"at_least must be 1 or more pixels, got {at_least}")
    with _silence, _stream(source) as stream:
        image = _opened(stream)
        with image:
            full_size = image.size
            _check_size(full_size, limits)
            file_format, mode = image.format or "", image.mode
            try:
                if at_least is not None:
                    image.draft(None, (at_least, at_least))
                image.load()
                orientation = _orientation(image)
                rgb = _to_rgb(image)
            except Exception as error:  # a damaged file can make a decoder raise anything
                raise load_failure(error, file_format) from error
    if orientation in _UPRIGHT:
        rgb = rgb.transpose(_UPRIGHT[orientation])
    width, height = full_size[::-1] if orientation in _SWAPS_SIDES else full_size
    return Photo(np.array(rgb, dtype=np.uint8, order="C"), width, height, file_format, mode)


def pixel_digest(pixels: NDArray[np.uint8]) -> str:
    """Digest of decoded pixels: equal for files that show exactly the same image.

    Args:
        pixels: Shape (H, W, 3), uint8.

    Returns:
        BLAKE2b over shape and bytes, 32 hexadecimal digits.
    """
    digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def photo_digest(path: Path) -> str:
    """Digest of a photo's file, its image id: 32 hexadecimal digits.

    Raises:
        ImageError: If the file is missing, not permitted, or not a regular file.
    """
    with _stream(path) as stream:
        try:
            return stream_digest(stream)
        except OSError as error:
            raise access_failure(error) from error


@contextmanager
def _stream(source: Path | bytes) -> Iterator[BufferedReader | BytesIO]:
    """Open for reading. Folders, pipes and devices are refused: reading them could block."""
    if isinstance(source, bytes):
        yield BytesIO(source)
        return
    try:
        mode = source.stat().st_mode
        if not stat.S_ISREG(mode):
            what = "a folder" if stat.S_ISDIR(mode) else "a device, pipe or socket"
            raise ImageError(ImageReason.NOT_AN_IMAGE, f"it is {what}, not a file")
        stream = source.open("rb")
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        raise access_failure(error) from error
    with stream:
        yield stream


def _opened(stream: BufferedReader | BytesIO) -> Image.Image:
    """The image after Pillow has read its header."""
    try:
        start = stream.read(512)
        if not start:
            raise ImageError(ImageReason.EMPTY, "the file holds no bytes")
        return Image.open(stream, formats=_FORMATS)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        detail = f"more than {limit:,} pixels, the most that Pillow decodes"
        raise ImageError(ImageReason.TOO_LARGE, detail) from error
    except Exception as error:  # a damaged header can make a decoder raise anything
        if is_access_error(error):
            raise access_failure(error) from error
        raise header_failure(error, start) from error


def _check_size(size: tuple[int, int], limits: DecodeLimits) -> None:
    width, height = size
    if width * height > limits.max_pixels:
        detail = f"{width} x {height} pixels, more than the limit of {limits.max_pixels:,}"
        raise ImageError(ImageReason.TOO_LARGE, detail)
    if min(size) < limits.min_side:
        detail = f"{width} x {height} pixels, the shorter side is below {limits.min_side}"
        raise ImageError(ImageReason.TOO_SMALL, detail)


def _orientation(image: Image.Image) -> int:
    """EXIF orientation; 1 if there is none. For a TIFF it is 1, because Pillow turns it while loading."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # EXIF is often damaged, and the image is whole without it
        return 1
    return value if isinstance(value, int) else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    """Turn any mode into RGB."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return Image.fromarray(_to_8_bit(image)).convert("RGB")
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    straight = {"La": "LA", "RGBa": "RGBA"}.get(image.mode)  # premultiplied modes convert in two steps
    opaque = image.convert(straight) if straight else image
    layer = opaque.convert("RGBA")
    paper = Image.new("RGBA", layer.size, (255, 255, 255, 255))
    return Image.alpha_composite(paper, layer).convert("RGB")


def _to_8_bit(image: Image.Image) -> NDArray[np.uint8]:
    """Scale grey of more than 8 bits to 8 bits.

    White is 65535 for integers that fit into 16 bits, 1 for floats in [0, 1], and 255 for floats in [0, 255]. Values
    in any other range are stretched so that the darkest is black and the lightest white.
    """
    values = np.nan_to_num(np.asarray(image).astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if image.mode == "F":
        white = 1.0 if high <= 1 else 255.0
    else:
        white = 65535.0
        transparent = image.info.get("transparency")
        if isinstance(transparent, int):
            values[values == transparent] = white
    if low < 0 or high > white:
        values, white = values - low, max(high - low, 1.0)
    return np.rint(values * (255.0 / white)).astype(np.uint8)


class _Silence:
    """Hides Pillow's warnings about odd files, also while several threads decode.

    `warnings.catch_warnings` is not safe for threads: it restores a list of filters that another thread still uses.
    Here the first thread adds one filter, and the last one removes it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._depth = 0
        self._filter: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if self._depth == 0:
                warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
                self._filter = warnings.filters[0]
            self._depth += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._depth -= 1
            if self._depth == 0:
                with suppress(ValueError):  # other code has restored the list of filters meanwhile
                    cast(list[Any], warnings.filters).remove(self._filter)


_silence = _Silence()
