"""The only decoder: a file becomes an upright RGB array, or a typed error.

Formats are recognized by content, never by the name of the file. Only formats that Pillow decodes without
outside programs are tried (no EPS, which would start Ghostscript). Color profiles are not applied.
"""

from __future__ import annotations

import hashlib
import re
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
from PIL import ExifTags, Image, UnidentifiedImageError

from ensemble_minerals.errors import ImageError, ImageReason
from ensemble_minerals.system.digest import stream_digest
from ensemble_minerals.system.runtime import DEFAULT_LIMITS, DecodeLimits

# MPO (the two-picture JPEG of many telephones) is opened through JPEG.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM")

# What the beginning of a file says where no decoder could make sense of the rest.
_DAMAGED = (
    (rb"\xff\xd8\xff", "JPEG"),
    (rb"\x89PNG\r\n\x1a\n", "PNG"),
    (rb"GIF8[79]a", "GIF"),
    (rb"RIFF.{4}WEBP", "WebP"),
    (rb"II\*\x00|MM\x00\*", "TIFF"),
    (rb"\x00\x00\x00\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", "JPEG 2000"),
)
_FOREIGN = (
    (rb".{4}ftyp(hei[cmsx]|hev[cmsx]|mif1|msf1)", "HEIC"),
    (rb".{4}ftypavi[fs]", "AVIF"),
    (rb"\xff\x0a|\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (rb"8BPS", "Photoshop"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "PostScript"),
    (rb"%PDF", "PDF"),
    (rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*(<!DOCTYPE svg[^>]*>\s*)?<svg", "SVG"),
)

# EXIF orientation -> what makes the picture upright.
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
        pixels: Upright RGB, shape (H, W, 3), uint8, contiguous and writable; smaller than the file's picture
            after a reduced decode.
        width: Width in pixels of the file's picture, upright and at full size.
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

    Transparency is composited onto white, 16-bit grey is scaled to 8 bits, of an animation the first frame is
    taken, and metadata that cannot be read does not cost the photo.

    Args:
        source: Path of the file, or its content.
        at_least: Where given, a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size, as long as its shorter
            side keeps at least this many pixels; quicker, and the result is meant to be scaled down anyway.
        limits: Sizes of the photos that are decoded, checked in the header before anything is decoded. Pillow's
            own limit, twice ``PIL.Image.MAX_IMAGE_PIXELS``, holds beside it.

    Returns:
        The photo, upright.

    Raises:
        ImageError: If it cannot be read, with the reason.
        ValueError: If `at_least` is below 1.
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
                raise _load_failure(error, file_format) from error
    if orientation in _UPRIGHT:
        rgb = rgb.transpose(_UPRIGHT[orientation])
    width, height = full_size[::-1] if orientation in _SWAPS_SIDES else full_size
    return Photo(np.array(rgb, dtype=np.uint8, order="C"), width, height, file_format, mode)


def pixel_digest(pixels: NDArray[np.uint8]) -> str:
    """Digest of decoded pixels, equal for files that show exactly the same picture.

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
            raise _access_failure(error) from error


@contextmanager
def _stream(source: Path | bytes) -> Iterator[BufferedReader | BytesIO]:
    """Open for reading; folders, pipes and devices are refused before they can block."""
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
        raise _access_failure(error) from error
    with stream:
        yield stream


def _opened(stream: BufferedReader | BytesIO) -> Image.Image:
    """Let Pillow read the header."""
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
        if _is_access_error(error):
            raise _access_failure(error) from error
        raise _header_failure(error, start) from error


def _check_size(size: tuple[int, int], limits: DecodeLimits) -> None:
    width, height = size
    if width * height > limits.max_pixels:
        detail = f"{width} x {height} pixels, more than the limit of {limits.max_pixels:,}"
        raise ImageError(ImageReason.TOO_LARGE, detail)
    if min(size) < limits.min_side:
        detail = f"{width} x {height} pixels, the shorter side is below {limits.min_side}"
        raise ImageError(ImageReason.TOO_SMALL, detail)


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 where there is none. TIFFs were turned by Pillow while loading and say 1."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # EXIF comes in every state of decay; the picture is whole without it
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
    """Scale deep grey to 8 bits.

    Integers that fit 16 bits are taken as 16-bit grey, floats in [0, 1] as fractions of white and floats in
    [0, 255] as they are; any other range has no known white and is stretched from darkest to lightest.
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


def _is_access_error(error: BaseException) -> bool:
    """Whether the operating system, not the decoder, refused: only its errors carry a number."""
    return isinstance(error, OSError) and error.errno is not None


def _access_failure(error: Exception) -> ImageError:
    detail = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    reason = ImageReason.NOT_PERMITTED if isinstance(error, PermissionError) else ImageReason.MISSING
    return ImageError(reason, f"cannot be opened: {detail}")


def _header_failure(error: Exception, start: bytes) -> ImageError:
    for signature, name in _DAMAGED:
        if re.match(signature, start, re.DOTALL):
            detail = f"begins like {name}, but its header is damaged or cut off"
            return ImageError(ImageReason.TRUNCATED, detail)
    for signature, name in _FOREIGN:
        if re.match(signature, start, re.DOTALL):
            return ImageError(ImageReason.UNSUPPORTED, f"{name} cannot be read here; save it as JPEG or PNG")
    if isinstance(error, UnidentifiedImageError):
        return ImageError(ImageReason.NOT_AN_IMAGE, "its content is no known image format")
    return ImageError(ImageReason.UNSUPPORTED, f"its header cannot be used: {error}")


def _load_failure(error: Exception, file_format: str) -> ImageError:
    if _is_access_error(error):
        return _access_failure(error)
    if isinstance(error, MemoryError):
        return ImageError(ImageReason.TOO_LARGE, "not enough memory to decode it")
    if isinstance(error, Image.DecompressionBombError):
        return ImageError(ImageReason.TOO_LARGE, str(error))
    said = str(error) or type(error).__name__
    if re.search(
        r"unsupported|not supported|not available|not implemented|unknown|conversion", said, re.IGNORECASE
    ):
        return ImageError(ImageReason.UNSUPPORTED, f"{file_format} of a kind that cannot be read: {said}")
    return ImageError(ImageReason.TRUNCATED, f"{file_format} is damaged or cut off: {said}")


class _Silence:
    """Keeps Pillow's warnings about odd files to itself, also while several threads decode.

    `warnings.catch_warnings` is not safe across threads: it would restore a list of filters that another
    thread is still using. Here one filter is put in by the first thread and taken out by the last.
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
                with suppress(ValueError):  # somebody restored the list of filters meanwhile
                    cast(list[Any], warnings.filters).remove(self._filter)


_silence = _Silence()
