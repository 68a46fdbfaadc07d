"""A file that was opened once and is read through its handle, whatever takes its name later."""

from __future__ import annotations

import os
import stat
import weakref
from pathlib import Path

from ensemble_minerals.system.digest import content_digest, stream_digest


class HeldFile:
    """An open regular file.

    Args:
        path: Where it was when it was opened, for messages.
        handle: Of the open file; it is closed with this object.

    Raises:
        ValueError: If it is a folder, a device or a pipe.

    Attributes:
        size: Length in bytes when it was opened.
    """

    def __init__(self, path: Path, handle: int) -> None:
        self.path = path
        self._handle = handle
        weakref.finalize(self, os.close, handle)
        state = os.fstat(handle)
        if not stat.S_ISREG(state.st_mode):
            raise ValueError("it is no regular file")
        self.size = state.st_size
        self._content: bytes | None = None
        self._digest = ""

    @classmethod
    def open(cls, path: Path) -> HeldFile:
        """Open a file by its path.

        Raises:
            OSError: If it cannot be opened.
            ValueError: If it is no regular file.
        """
        return cls(path, os.open(path, READING))

    def read(self, start: int = 0, size: int = -1) -> bytes:
        """Some bytes of the file, or all that follow `start`."""
        if self._content is not None:
            return self._content[start : start + size if size >= 0 else None]
        with open(self._handle, "rb", closefd=False) as stream:
            stream.seek(start)
            return stream.read(size)

    def digest(self, *, keep: bool = False) -> str:
        """`content_digest` of the file, computed once.

        Args:
            keep: Whether the content stays in memory, so that what is read later is what was digested.
        """
        if keep and self._content is None:
            self._content = self.read(0, self.size)
            self._digest = content_digest(self._content)
        if not self._digest:
            with open(self._handle, "rb", closefd=False) as stream:
                stream.seek(0)
                self._digest = stream_digest(stream)
        return self._digest


READING = getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
"""Flags of opening a file to read: its bytes as they are, and without waiting for a writer if it is a pipe."""
