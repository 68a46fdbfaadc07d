"""TIFF files written tag by tag, as cameras and microscopes write them and Pillow does not."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from itertools import pairwise

Tags = Mapping[int, int | bytes | Sequence[int]]


def tiff(pages: Sequence[Tags], bodies: Sequence[bytes], order: str = "<", start: bytes = b"") -> bytes:
    """A TIFF of several pages; tag 273 (where the pixels are) is filled in, and 330 points to the last page.

    Args:
        pages: Tags of each page; integers become longs, bytes text, sequences shorts.
        bodies: Pixels of each page.
        order: "<" or ">".
        start: Bytes between the header and the pixels.
    """
    data = bytearray((b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 0) + start)
    places = []
    for body in bodies:
        places.append(len(data))
        data += body
    chained = [number for number, tags in enumerate(pages) if -1 not in tags]
    offsets = {}
    for number in sorted(range(len(pages)), key=lambda number: number in chained):
        tags = {tag: value for tag, value in pages[number].items() if tag >= 0} | {273: places[number]}
        entries = []
        for tag, given in sorted(tags.items()):
            value = offsets[given] if tag == 330 else given
            if isinstance(value, int):
                entries.append(struct.pack(order + "HHII", tag, 4, 1, value))
                continue
            raw = value if isinstance(value, bytes) else struct.pack(order + f"{len(value)}H", *value)
            kind, count = (2, len(raw)) if isinstance(value, bytes) else (3, len(value))
            field = raw.ljust(4, b"\0") if len(raw) <= 4 else struct.pack(order + "I", len(data))
            data += raw if len(raw) > 4 else b""
            entries.append(struct.pack(order + "HHI", tag, kind, count) + field)
        offsets[number] = len(data)
        data += struct.pack(order + "H", len(entries)) + b"".join(entries) + bytes(4)
    for this, following in pairwise(chained):
        n_entries = struct.unpack_from(order + "H", data, offsets[this])[0]
        struct.pack_into(order + "I", data, offsets[this] + 2 + 12 * n_entries, offsets[following])
    struct.pack_into(order + "I", data, 4, offsets[chained[0]])
    return bytes(data)


def grey_page(width: int, height: int, bits: int = 8, photometric: int = 1, **more: int) -> dict[int, int]:
    """Tags of an uncompressed page of grey."""
    return {
        256: width, 257: height, 258: bits, 259: 1, 262: photometric, 277: 1, 278: height,
        279: width * height * bits // 8,
    }  # fmt: skip
