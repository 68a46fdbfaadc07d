"""Text files as people save them: UTF-8 with or without a byte order mark, or UTF-16 with one, as Windows writes."""

from __future__ import annotations

import codecs
from pathlib import Path

from ensemble_minerals.errors import DataError


def read_text(path: Path) -> str:
    """Content of a text file.

    Raises:
        DataError: If it cannot be opened, or is no such text.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be opened: {error.strerror}") from error
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start)
        shown = content.split(b"\n")[line].decode("cp1252", "replace").strip()[:80]
        raise DataError(
            f"{path} is not UTF-8: line {line + 1} is, as Windows reads it, {shown!r}; save it as UTF-8 (Excel: "
            "'CSV UTF-8'; Notepad: Save as, Encoding)"
        ) from error
