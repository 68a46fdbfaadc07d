"""What libtiff would write to the terminal, kept for the thread that decodes."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from PIL import _imaging

_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
_local = threading.local()
_kept: list[Any] = []  # handlers that libtiff may call as long as the process lives


@contextmanager
def libtiff_errors() -> Iterator[list[str]]:
    """Collect the errors that libtiff reports in this thread; its warnings are dropped.

    Where libtiff cannot be reached (it is part of Pillow's own library on some systems), nothing is collected.
    """
    _install()
    before = getattr(_local, "errors", None)
    errors: list[str] = []
    _local.errors = errors
    try:
        yield errors
    finally:
        _local.errors = before


@cache
def _install() -> bool:
    """Set the handlers once; whether it could be done."""
    try:
        library = ctypes.CDLL(_imaging.__file__)  # finds what this library is linked with, too
        set_error, set_warning = library.TIFFSetErrorHandler, library.TIFFSetWarningHandler
    except (AttributeError, OSError):
        return False
    for setter in (set_error, set_warning):
        setter.restype = ctypes.c_void_p
        setter.argtypes = [ctypes.c_void_p]
    handler = _HANDLER(_collect)
    _kept.append(handler)
    set_error(ctypes.cast(handler, ctypes.c_void_p))
    set_warning(None)
    return True


def _collect(module: bytes | None, pattern: bytes | None, values: int | None) -> None:
    errors = getattr(_local, "errors", None)
    if errors is None or len(errors) >= 3:  # the first say what is wrong
        return
    text = (pattern or b"").decode("utf-8", "replace")
    if "%" in text:
        buffer = ctypes.create_string_buffer(300)
        try:
            ctypes.CDLL(None).vsnprintf(
                buffer, ctypes.c_size_t(len(buffer)), pattern, ctypes.c_void_p(values)
            )
            text = buffer.value.decode("utf-8", "replace")
        except (AttributeError, OSError, TypeError):  # no C library by that name: the pattern says enough
            pass
    errors.append(text)
