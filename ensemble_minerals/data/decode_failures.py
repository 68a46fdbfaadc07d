"""Why a file could not be decoded: errors of the system and of Pillow as errors with a reason."""

from __future__ import annotations

import re
from collections.abc import Sequence

from PIL import Image

from ensemble_minerals.errors import ImageError, ImageReason


def is_access_error(error: BaseException) -> bool:
    """Whether an error comes from the operating system, not from the decoder: only its errors have a number."""
    return isinstance(error, OSError) and error.errno is not None


def access_failure(error: Exception) -> ImageError:
    """The error for a file that cannot be opened or read."""
    detail = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    reason = ImageReason.NOT_PERMITTED if isinstance(error, PermissionError) else ImageReason.MISSING
    return ImageError(reason, f"cannot be opened: {detail}")


def header_failure(error: Exception, name: str) -> ImageError:
    """The error for a file whose header its decoder cannot use.

    Args:
        error: What the decoder raised.
        name: The format of the file.
    """
    if isinstance(error, MemoryError):
        return ImageError(ImageReason.TOO_LARGE, "not enough memory to decode it")
    detail = f"begins like {name}, but its header is damaged or cut off"
    return ImageError(ImageReason.TRUNCATED, detail)


def load_failure(error: Exception, file_format: str, messages: Sequence[str] = ()) -> ImageError:
    """The error for a file whose header is good, and whose pixels cannot be decoded.

    Args:
        error: What the decoder raised.
        file_format: The format of the file.
        messages: What a library below the decoder said of it.
    """
    if is_access_error(error):
        return access_failure(error)
    if isinstance(error, MemoryError):
        return ImageError(ImageReason.TOO_LARGE, "not enough memory to decode it")
    if isinstance(error, Image.DecompressionBombError):
        return ImageError(ImageReason.TOO_LARGE, str(error))
    message = "; ".join(messages).rstrip(".") or str(error) or type(error).__name__
    if re.search(
        r"unsupported|not supported|not available|not implemented|unknown|conversion", message, re.IGNORECASE
    ):
        return ImageError(ImageReason.UNSUPPORTED, f"{file_format} of a kind that cannot be read: {message}")
    return ImageError(ImageReason.TRUNCATED, f"{file_format} is damaged or cut off: {message}")
