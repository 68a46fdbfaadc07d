"""Digests that identify contents: BLAKE2b, as hexadecimal digits."""

from __future__ import annotations

import hashlib
from io import BufferedReader, BytesIO
from pathlib import Path

_BYTES = 16


def content_digest(data: bytes) -> str:
    """Digest of some bytes, 32 hexadecimal digits.

    >>> content_digest(b"quartz")
    'ef7259c3eecf3ac0c8b3b252b49742bd'
    """
    return hashlib.blake2b(data, digest_size=_BYTES).hexdigest()


def file_digest(path: Path) -> str:
    """`content_digest` of a file, which need not fit into memory.

    Raises:
        OSError: If the file cannot be read.
    """
    with path.open("rb") as stream:
        return stream_digest(stream)


def stream_digest(stream: BufferedReader | BytesIO) -> str:
    """`content_digest` of what an open file still holds."""
    return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=_BYTES)).hexdigest()
