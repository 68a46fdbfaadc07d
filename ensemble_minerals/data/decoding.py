"""The only decoder: it turns a file into an upright RGB array, or raises an error with a reason.

It recognizes formats by the content of a file, never by its name, and opens none but those of a list (not EPS, for
which Pillow would start Ghostscript). It does not apply color profiles. What one photo may cost is bounded, see
`data.decode_budget`.
"""

from __future__ import annotations

import stat
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import version
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from ensemble_minerals.data.decode_budget import LARGE, MemoryGate, return_freed_memory
from ensemble_minerals.data.decode_failures import access_failure, load_failure
from ensemble_minerals.data.libtiff_messages import libtiff_errors
from ensemble_minerals.data.opening import OpenedPhoto, open_photo, plan
from ensemble_minerals.data.photo_headers import check_exif
from ensemble_minerals.data.pixels import to_rgb_array
from ensemble_minerals.errors import ImageError, ImageReason
from ensemble_minerals.system.digest import checksum, content_digest, stream_digest
from ensemble_minerals.system.runtime import DEFAULT_LIMITS, DecodeLimits

DECODER_VERSION = 3
"""Increase when files give other pixels than before; see `is_decoded_as_before`."""

# EXIF orientation -> whether the rows and the columns are reversed to make the image upright, after the sides are
# swapped where they must be.
_FLIPS = {
    2: (False, True),
    3: (True, True),
    4: (True, False),
    6: (False, True),
    7: (True, True),
    8: (True, False),
}
_SWAPS_SIDES = (5, 6, 7, 8)

_BLOCK = 1 << 16  # bytes of pixels that have one checksum
_FEW_BLOCKS = 1 << 19  # bytes of pixels whose checksums would be too few to tell photos apart

_NEVER_REDUCED = 40_000_000  # pixels that fit into memory whatever the kind of file

_gate = MemoryGate()


@dataclass(frozen=True, eq=False)
class Photo:
    """A decoded photo.

    Attributes:
        pixels: Upright RGB, shape (H, W, 3), uint8, contiguous and writable. It can be smaller than the image in the
            file, see `decode`.
        width: Width of the image in the file, upright and at full size, in pixels.
        height: Its height.
        format: Format of the file, for instance ``"JPEG"``.
        mode: Pillow's mode of the file, for instance ``"P"`` for a palette; ``"RGB;12"`` for color of 12 bits in
            samples of 16.
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int
    format: str
    mode: str


@contextmanager
def decoded(
    source: Path | bytes,
    *,
    at_least: int | None = None,
    limits: DecodeLimits = DEFAULT_LIMITS,
    before: Callable[[int, int], object] | None = None,
) -> Iterator[Photo]:
    """Decode one file, and hold its memory of `decode_budget.PROCESS_MEMORY` until the block ends.

    For threads that reduce large photos: keep the reduced one alone, and decode no other photo in the block, for
    which two threads could wait for each other. The other parameters and errors are those of `decode`.

    Args:
        source: See `decode`.
        at_least: See `decode`.
        limits: See `decode`.
        before: Called with the two sides of the decoded photo in pixels, before memory is taken for it.
    """
    if at_least is not None and at_least < 1:
        raise ValueError(f"at_least must be 1 or more pixels, got {at_least}")
    with ExitStack() as memory:
        yield _decode(source, at_least, limits, memory, before)


def decode(
    source: Path | bytes,
    *,
    at_least: int | None = None,
    limits: DecodeLimits = DEFAULT_LIMITS,
) -> Photo:
    """Decode one file, or the bytes of one.

    Transparent parts become white, samples of 12 and 16 bits are scaled to 8, of an animation the first frame is
    used, and of the pages of a TIFF the largest. Unreadable metadata are ignored. A photo of more than
    `decode_budget.WHOLE_PIXELS` pixels is decoded at 1/2 of its sides, or less.

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
    with decoded(source, at_least=at_least, limits=limits) as photo:
        return photo


def _decode(
    source: Path | bytes,
    at_least: int | None,
    limits: DecodeLimits,
    memory: ExitStack,
    before: Callable[[int, int], object] | None,
) -> Photo:
    """Decode one file; `memory` ends holding what that took."""
    with _silence, _stream(source) as file, libtiff_errors() as messages:
        opened = open_photo(file, partial(_check_size, limits=limits))
        image = opened.image
        full_size = image.size
        file_format, mode = image.format or "", image.mode
        try:
            with image:
                factor = plan(opened, at_least)
                if before is not None:
                    before(-(-image.width // factor), -(-image.height // factor))
                memory.enter_context(_gate.held(opened.memory))
                pixels = _pixels(opened, factor, messages)
                if opened.memory > LARGE:
                    return_freed_memory()
        except ImageError:
            raise
        except Exception as error:  # a damaged file can make a decoder raise anything
            raise load_failure(error, file_format, messages) from error
    width, height = full_size[::-1] if opened.orientation in _SWAPS_SIDES else full_size
    return Photo(pixels, width, height, file_format, f"{mode};12" if opened.is_12_bit else mode)


def is_decoded_as_before(file_format: str, mode: str, width: int, height: int) -> bool:
    """Whether a photo gave the same pixels before `DECODER_VERSION` was 3.

    What was computed from the pixels of other photos then must not be used any more.

    Example:
        >>> is_decoded_as_before("JPEG", "RGB", 4000, 3000), is_decoded_as_before("TIFF", "RGB", 4000, 3000)
        (True, False)
    """
    deep = mode in ("I", "F") or mode.startswith("I;16") or mode.endswith(";12")
    return file_format not in ("TIFF", "PPM", "JPEG2000") and not deep and width * height <= _NEVER_REDUCED


@cache
def heif_version() -> str:
    """Version of what decodes HEIC, which is not Pillow."""
    return version("pi-heif")


def pixel_digest(pixels: NDArray[np.uint8]) -> str:
    """Digest of decoded pixels: equal for files that show exactly the same image.

    Args:
        pixels: Shape (H, W, 3), uint8.

    Returns:
        BLAKE2b over the shape and the bytes of a small photo, and over the checksums of all blocks of bytes of a
        larger one, which takes a fifth of the time; 32 hexadecimal digits.
    """
    content = np.ascontiguousarray(pixels).reshape(-1).data
    if len(content) < _FEW_BLOCKS:
        return content_digest(repr(pixels.shape).encode() + content)
    blocks = (content[start : start + _BLOCK] for start in range(0, len(content), _BLOCK))
    checksums = np.array([checksum([block]) for block in blocks], "<u4")
    return content_digest(repr(pixels.shape).encode() + checksums.tobytes())


def photo_digest(source: Path | bytes) -> str:
    """Digest of a photo's file, or of its bytes, its image id: 32 hexadecimal digits.

    Raises:
        ImageError: If the file is missing, not permitted, or not a regular file.
    """
    with _stream(source) as stream:
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


def _pixels(opened: OpenedPhoto, factor: int, messages: list[str]) -> NDArray[np.uint8]:
    """Decode what was opened, upright; its `orientation` is known afterwards."""
    image = opened.load()
    if messages:  # libtiff went on after an error, and the pixels are wrong
        raise OSError("libtiff reports an error")
    opened.orientation = orientation = _orientation(image)
    pixels = to_rgb_array(image, factor, white_is_zero=opened.white_is_zero)
    image.close()
    del image
    opened.release()
    return np.ascontiguousarray(_turned(pixels, orientation))


def _turned(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """The array upright, as a view of it."""
    if orientation in _SWAPS_SIDES:
        pixels = pixels.swapaxes(0, 1)
    upside_down, mirrored = _FLIPS.get(orientation, (False, False))
    return pixels[:: -1 if upside_down else 1, :: -1 if mirrored else 1]


def _check_size(size: tuple[int, int], limits: DecodeLimits) -> None:
    width, height = size
    if width * height > limits.max_pixels:
        detail = (
            f"{width} x {height} pixels, more than the limit of {limits.max_pixels:,}; save it smaller, or raise "
            "data.max_pixels"
        )
        raise ImageError(ImageReason.TOO_LARGE, detail)
    if min(size) < limits.min_side:
        detail = f"{width} x {height} pixels, the shorter side is below {limits.min_side} (data.min_side)"
        raise ImageError(ImageReason.TOO_SMALL, detail)


def _orientation(image: Image.Image) -> int:
    """EXIF orientation; 1 if there is none. For a TIFF it is 1, because Pillow turns it while loading."""
    try:
        check_exif(image.info.get("exif", b"").removeprefix(b"Exif\0\0"))
        value = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # EXIF is often damaged, and the image is whole without it
        return 1
    return value if isinstance(value, int) else 1


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
