"""What decoding one photo may cost: bytes of memory, bytes and reads of a file, photos at once.

All limits are of what the file says of itself, never of time or of free memory, so that an answer is the same on
every machine and for any number of threads.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader, BytesIO

from ensemble_minerals.errors import ImageError, ImageReason

MEMORY = 490_000_000
"""Bytes that decoding one photo may take at once."""

PROCESS_MEMORY = 2 * MEMORY
"""Bytes that all photos that a process decodes may take at once, whatever the number of threads."""

LARGE = 64_000_000
"""Bytes from which on memory that a decoder freed is given back to the system at once."""

ANSWER_BYTES = 3
"""Bytes of a pixel in the decoded array."""

WHOLE_PIXELS = 50_000_000
"""A photo of more pixels is decoded at 1/2 or less of its sides."""

COMPRESSED_BYTES = 128_000_000
"""Largest file of a format that is read whole before it is decoded."""

_HEADER_READS, _HEADER_BYTES = 5_000, 64_000_000
_READS = 200_000


def reduction(pixels: int) -> int:
    """By which factor the sides of a photo are reduced while it is decoded: 1, 2, 4, ...

    >>> reduction(24_000_000), reduction(100_000_000)
    (1, 2)
    """
    factor = 1
    while pixels > WHOLE_PIXELS * factor**2:
        factor *= 2
    return factor


def check_memory(needed: int, what: str) -> None:
    """Refuse a photo whose decoding takes too many bytes at once.

    Raises:
        ImageError: With the sizes and the way out.
    """
    if needed > MEMORY:
        detail = (
            f"{what} takes {needed // 1_000_000:,} MB to decode, more than the limit of {MEMORY // 1_000_000} MB; "
            "save it smaller, or as JPEG"
        )
        raise ImageError(ImageReason.TOO_LARGE, detail)


def check_file_size(n_bytes: int, limit: int, what: str) -> None:
    """Refuse a file of more bytes than its decoder gets through in reasonable time.

    Raises:
        ImageError: With the sizes and the way out.
    """
    if n_bytes > limit:
        detail = f"{what} of {n_bytes:,} bytes, more than the limit of {limit:,}; save it smaller, or as JPEG"
        raise ImageError(ImageReason.TOO_LARGE, detail)


class BoundedStream:
    """A file that may be read only so often.

    Some decoders read a header byte by byte or entry by entry, and a header can claim millions of entries, or values
    that overlap and add up to more than memory holds.
    """

    def __init__(self, stream: BufferedReader | BytesIO) -> None:
        self._stream = stream
        self._reads, self._bytes = _HEADER_READS, _HEADER_BYTES
        self.size = stream.seek(0, 2)
        stream.seek(0)
        if isinstance(stream, BufferedReader):
            self.fileno = stream.fileno  # libtiff reads from the descriptor
        else:
            self.getvalue = stream.getvalue

    def header_done(self) -> None:
        """Allow what decoding the pixels takes."""
        self._reads, self._bytes = _READS, 2 * self.size + _HEADER_BYTES

    def read(self, size: int | None = -1, /) -> bytes:
        """Read up to so many bytes; all if None or negative."""
        data = self._stream.read(-1 if size is None else size)
        # A decoder that takes the whole file at once is not one that reads again and again.
        self._bytes -= 0 if size is None or size < 0 else len(data)
        self._reads -= 1
        if self._reads < 0 or self._bytes < 0:
            detail = "its header or its structure has more parts than any photo; save it again with another program"
            raise ImageError(ImageReason.TOO_LARGE, detail)
        return data

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to a place in the file."""
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        """Where in the file the next byte is read."""
        return self._stream.tell()

    def flush(self) -> None:
        """Nothing to write."""

    def close(self) -> None:
        """Who opened the file closes it."""


def return_freed_memory() -> None:
    """Give memory that was freed back to the system: glibc keeps it, for each thread that decoded a large photo."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


class MemoryGate:
    """Lets the threads of a process decode at once only what fits into a number of bytes.

    Small photos pass side by side. Were large ones decoded by all threads at once, one could run out of memory that
    has enough alone, and the answer would depend on the number of threads.

    Args:
        capacity: Bytes. A photo that takes more passes alone.
    """

    def __init__(self, capacity: int = PROCESS_MEMORY) -> None:
        self._capacity = capacity
        self._taken = 0
        self._changed = threading.Condition()

    @contextmanager
    def held(self, n_bytes: int) -> Iterator[None]:
        """Wait until so many bytes fit, and hold them for the time of the block."""
        n_bytes = min(n_bytes, self._capacity)
        with self._changed:
            self._changed.wait_for(lambda: self._taken + n_bytes <= self._capacity)
            self._taken += n_bytes
        try:
            yield
        finally:
            with self._changed:
                self._taken -= n_bytes
                self._changed.notify_all()
