"""Directories of a TIFF file: which page is the photo, and whether the file is a camera's raw file.

Pillow reads the first page only. Its own walk over the pages loads every value of each; this one reads a few tags.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Protocol

from ensemble_minerals.data.formats import camera_raw
from ensemble_minerals.errors import ImageError, ImageReason

_MOST_PAGES = 200
_MOST_ENTRIES = 1000
_MOST_PARTS = 200_000  # strips or tiles; Pillow keeps an object for each

_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 258, 259, 262
_MAKE, _STRIPS, _SAMPLES, _ROWS, _TILE_WIDTH, _TILE_HEIGHT, _TILES = 271, 273, 277, 278, 322, 323, 324
_SUB_DIRECTORIES, _DNG_VERSION = 330, 50706
_SENSOR = (32803, 34892)  # values of the photometric tag: a color filter's mosaic, linear raw
_RAW_COMPRESSIONS = {32767: "ARW", 32769: "raw", 32770: "SRW", 34713: "NEF", 65000: "DCR", 65535: "PEF"}
_RAW_MAKERS = {"NIKON": "NEF", "CANON": "CR2", "SONY": "ARW", "PENTAX": "PEF", "SAMSUNG": "SRW"}
_CODES = {1: ("B", 1), 3: ("H", 2), 4: ("I", 4), 13: ("I", 4), 16: ("Q", 8), 18: ("Q", 8)}  # integers


@dataclass(frozen=True)
class TiffPage:
    """One page of a TIFF file.

    Attributes:
        number: Its place in the file, from 0.
        width: Width in pixels, as stored.
        height: Height in pixels, as stored.
        bits: Bits of a pixel, all its samples together.
        white_is_zero: Whether the value 0 is white.
        part_bytes: Bytes of a strip or tile once it is decompressed; 0 where nothing is compressed.
    """

    number: int
    width: int
    height: int
    bits: int
    white_is_zero: bool
    part_bytes: int


class _Readable(Protocol):
    def read(self, size: int = ..., /) -> bytes: ...
    def seek(self, offset: int, whence: int = ..., /) -> int: ...


class _Directories:
    """Reads directories: for each tag the number of its values and the first of them."""

    def __init__(self, stream: _Readable) -> None:
        stream.seek(0)
        start = stream.read(16)
        self._stream = stream
        self._order = "<" if start[:2] == b"II" else ">"
        self._big = struct.unpack_from(self._order + "H", start, 2)[0] == 43
        self.first: int = struct.unpack_from(
            self._order + ("Q" if self._big else "I"), start, 8 if self._big else 4
        )[0]

    def read(self, offset: int) -> tuple[dict[int, tuple[int, list[int]]], int]:
        """Tags of a directory with their first values, and where the next directory is (0: nowhere)."""
        counts, entry, value = ("Q", "HHQ", 8) if self._big else ("H", "HHI", 4)
        self._stream.seek(offset)
        n_entries = self._number(counts)
        if n_entries > _MOST_ENTRIES:
            raise ImageError(ImageReason.TRUNCATED, f"TIFF is damaged: a directory of {n_entries:,} entries")
        size = struct.calcsize(self._order + entry) + value
        table = self._stream.read(n_entries * size)
        following = self._number("Q" if self._big else "I")
        tags: dict[int, tuple[int, list[int]]] = {}
        for start in range(0, len(table) - size + 1, size):
            tag, kind, count = struct.unpack_from(self._order + entry, table, start)
            if tag == _MAKE and kind == 2:
                tags[tag] = (
                    count,
                    list(self._bytes(table[start + size - value : start + size], min(count, 16))),
                )
            elif kind in _CODES:
                code, width = _CODES[kind]
                data = self._bytes(
                    table[start + size - value : start + size], min(count, 8) * width, count * width
                )
                tags[tag] = (count, [v for (v,) in struct.iter_unpack(self._order + code, data)])
        return tags, following

    def _bytes(self, field: bytes, wanted: int, total: int | None = None) -> bytes:
        """Value of an entry, which stands in the entry itself if it fits."""
        if (wanted if total is None else total) <= len(field):
            return field[:wanted]
        self._stream.seek(struct.unpack(self._order + ("Q" if self._big else "I"), field)[0])
        data = self._stream.read(wanted)
        return data if len(data) == wanted else b""

    def _number(self, code: str) -> int:
        size = struct.calcsize(self._order + code)
        return int(struct.unpack(self._order + code, self._stream.read(size))[0])


def photo_page(stream: _Readable) -> TiffPage:
    """The page of a TIFF that is the photo: the largest, and of equals the first.

    Raises:
        ImageError: If the file is a camera's raw file, or its directories are damaged.
    """
    pages: list[TiffPage] = []
    try:
        directories = _Directories(stream)
        offset, seen = directories.first, set[int]()
        while offset and offset not in seen and len(seen) < _MOST_PAGES:
            seen.add(offset)
            try:
                tags, following = directories.read(offset)
            except struct.error:
                if not pages:
                    raise
                break  # what follows a good page is damaged: the page is good still
            _check_not_raw(directories, tags)
            page = _page(len(seen) - 1, tags)
            if page is not None:
                pages.append(page)
            offset = following
    except (struct.error, OverflowError, OSError, ValueError) as error:
        raise _damaged() from error
    if not pages:
        raise _damaged()
    return max(pages, key=lambda page: page.width * page.height)


def _check_not_raw(directories: _Directories, tags: dict[int, tuple[int, list[int]]]) -> None:
    """Refuse a raw file, whose first page is a thumbnail or a preview; the sensor's data are in a page below it."""
    maker = bytes(tags.get(_MAKE, (0, []))[1]).split(b"\0")[0].decode("ascii", "replace").upper()
    name = next((raw for word, raw in _RAW_MAKERS.items() if maker.startswith(word)), "this")
    if _DNG_VERSION in tags:
        raise camera_raw("DNG")
    below = []
    for offset in tags.get(_SUB_DIRECTORIES, (0, []))[1]:
        try:
            below.append(directories.read(offset)[0])
        except (struct.error, OverflowError, OSError, ValueError):
            continue
    for one in (tags, *below):
        if _first(one, _COMPRESSION, 1) in _RAW_COMPRESSIONS:
            raise camera_raw(_RAW_COMPRESSIONS[_first(one, _COMPRESSION, 1)])
        if _first(one, _PHOTOMETRIC, 0) in _SENSOR:
            raise camera_raw(name)


def _page(number: int, tags: dict[int, tuple[int, list[int]]]) -> TiffPage | None:
    width, height = _first(tags, _WIDTH, 0), _first(tags, _HEIGHT, 0)
    if not width or not height or _first(tags, _SUBFILE, 0) & 4:  # a mask of transparency is no photo
        return None
    parts = max(tags.get(_STRIPS, (0, []))[0], tags.get(_TILES, (0, []))[0])
    if parts > _MOST_PARTS:
        raise ImageError(
            ImageReason.TOO_LARGE, f"TIFF of {parts:,} strips or tiles, more than {_MOST_PARTS:,}"
        )
    bits = tags.get(_BITS, (1, [1]))[1] or [1]
    per_pixel = sum(bits) if len(bits) > 1 else bits[0] * max(1, _first(tags, _SAMPLES, 1))
    part = 0
    if _first(tags, _COMPRESSION, 1) != 1:
        across = _first(tags, _TILE_WIDTH, width)
        down = _first(tags, _TILE_HEIGHT, min(height, _first(tags, _ROWS, height)))
        part = across * down * per_pixel // 8
    return TiffPage(number, width, height, per_pixel, _first(tags, _PHOTOMETRIC, 1) == 0, part)


def _first(tags: dict[int, tuple[int, list[int]]], tag: int, default: int) -> int:
    values = tags.get(tag, (0, []))[1]
    return values[0] if values else default


def _damaged() -> ImageError:
    return ImageError(ImageReason.TRUNCATED, "begins like TIFF, but its header is damaged or cut off")
