"""Why a file could not be decoded: errors of the system and of Pillow as errors with a reason."""

from __future__ import annotations

import re

from PIL import Image, UnidentifiedImageError

from ensemble_minerals.errors import ImageError, ImageReason

# First bytes of files of known formats: of a supported format (then the file is damaged), or of another one.
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


def is_access_error(error: BaseException) -> bool:
    """Whether an error comes from the operating system, not from the decoder: only its errors have a number."""
    return isinstance(error, OSError) and error.errno is not None


def access_failure(error: Exception) -> ImageError:
    """The error for a file that cannot be opened or read."""
    detail = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    reason = ImageReason.NOT_PERMITTED if isinstance(error, PermissionError) else ImageReason.MISSING
    return ImageError(reason, f"cannot be opened: {detail}")


def header_failure(error: Exception, start: bytes) -> ImageError:
    """The error for a file whose header Pillow cannot use.

    Args:
        error: What Pillow raised.
        start: First bytes of the file.
    """
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


def load_failure(error: Exception, file_format: str) -> ImageError:
    """The error for a file whose header is good, and whose pixels cannot be decoded."""
    if is_access_error(error):
        return access_failure(error)
    if isinstance(error, MemoryError):
        return ImageError(ImageReason.TOO_LARGE, "not enough memory to decode it")
    if isinstance(error, Image.DecompressionBombError):
        return ImageError(ImageReason.TOO_LARGE, str(error))
    message = str(error) or type(error).__name__
    if re.search(
        r"unsupported|not supported|not available|not implemented|unknown|conversion", message, re.IGNORECASE
    ):
        return ImageError(ImageReason.UNSUPPORTED, f"{file_format} of a kind that cannot be read: {message}")
    return ImageError(ImageReason.TRUNCATED, f"{file_format} is damaged or cut off: {message}")
