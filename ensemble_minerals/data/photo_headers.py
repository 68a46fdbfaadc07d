"""Checks of a file's header before a decoder sees it: what decoding would cost, and metadata that are a trap.

A decoder allocates and loops as the file tells it to. These checks read what the file claims, and refuse what no
photo needs: a JPEG of thousands of scans, an empty WebP with an enormous canvas, EXIF values that overlap.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from ensemble_minerals.data.decode_budget import (
    COMPRESSED_BYTES,
    BoundedStream,
    check_file_size,
    check_memory,
)
from ensemble_minerals.errors import ImageError, ImageReason

_MOST_SCANS = 500  # progressive photos have about ten
_MOST_BLOCKS = (
    60_000_000  # blocks of 8 x 8 samples in all scans; 25 million for 100 megapixels as usually saved
)
_MOST_SEGMENTS = 5_000
_ARITHMETIC_BYTES = 16_000_000  # arithmetic coding is some ten times slower to read than Huffman's
_EXIF_BYTES = 16_000_000  # of all values together, many times what a camera writes
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_WEBP_BYTES_A_PIXEL = 16  # two canvases of the decoder, a frame, Pillow's image


@dataclass(frozen=True)
class JpegHeader:
    """What a JPEG says of its pixels.

    Attributes:
        coefficient_bytes: Memory for coefficients, which a decoder keeps all if there is more than one scan.
    """

    coefficient_bytes: int


def check_jpeg(stream: BoundedStream) -> JpegHeader:
    """Check the scans and the EXIF block of a JPEG.

    A damaged header is left to the decoder, which knows what is wrong with it.

    Raises:
        ImageError: If decoding takes more work or memory than any photo.
    """
    check_file_size(stream.size, COMPRESSED_BYTES, "JPEG")
    data = _content(stream)
    components: dict[int, tuple[int, int]] = {}
    width = height = largest_across = largest_down = kind = 0
    scans = blocks = 0
    exif = b""
    position = 2
    for _ in range(_MOST_SEGMENTS):
        marker = _NEXT_MARKER.search(data, position)
        if marker is None or data[marker.end() - 1] == 0xD9:  # the end of the image
            break
        code, start = data[marker.end() - 1], marker.end()
        if code in (0x01, 0xD8) or start + 2 > len(data):
            position = start
            continue
        (length,) = struct.unpack_from(">H", data, start)
        segment = data[start + 2 : start + length]
        position = start + max(2, length)
        if code == 0xE1 and segment[:6] == b"Exif\0\0":
            exif += segment[6:] if exif else segment
            if len(exif) > _EXIF_BYTES:
                raise _endless_exif()
        elif 0xC0 <= code <= 0xCF and code not in (0xC4, 0xC8, 0xCC) and len(segment) >= 6:
            kind = code
            _, height, width, n = struct.unpack_from(">BHHB", segment)
            components = {
                one: (sampling >> 4 or 1, sampling & 15 or 1) for one, sampling in _pairs(segment[6:], n, 3)
            }
            largest_across = max((across for across, _ in components.values()), default=1)
            largest_down = max((down for _, down in components.values()), default=1)
        elif code == 0xDA and segment and components:
            scans += 1
            chosen = [components[one] for one, _ in _pairs(segment[1:], segment[0], 2) if one in components]
            units_across, units_down = -(-width // (8 * largest_across)), -(-height // (8 * largest_down))
            blocks += units_across * units_down * sum(across * down for across, down in chosen)
            if scans > _MOST_SCANS or blocks > _MOST_BLOCKS:
                detail = f"JPEG of {scans:,} or more scans, too many to decode; save it again as a usual JPEG"
                raise ImageError(ImageReason.TOO_LARGE, detail)
            if scans == 1 and data.find(b"\xff\xda", position) < 0:
                break
    else:
        detail = f"JPEG of more than {_MOST_SEGMENTS:,} segments; save it again as a usual JPEG"
        raise ImageError(ImageReason.TOO_LARGE, detail)
    check_exif(exif[6:])
    if kind in (0xC9, 0xCA):
        check_file_size(stream.size, _ARITHMETIC_BYTES, "JPEG with arithmetic coding")
    if kind in (0xC0, 0xC1) and scans <= 1:
        return JpegHeader(0)
    units = -(-width // (8 * (largest_across or 1))) * -(-height // (8 * (largest_down or 1)))
    return JpegHeader(units * sum(across * down for across, down in components.values()) * 128)


def check_webp(start: bytes, size: int) -> tuple[int, int] | None:
    """Check the canvas of a WebP, which its decoder allocates before anything is decoded.

    Args:
        start: First bytes of the file, at least 30.
        size: Bytes of the file.

    Returns:
        Width and height, None if the header does not say.

    Raises:
        ImageError: If decoding takes more memory than the limit.
    """
    check_file_size(size, COMPRESSED_BYTES, "WebP")
    canvas = None
    kind = start[12:16]
    if kind == b"VP8X" and len(start) >= 30:
        canvas = int.from_bytes(start[24:27], "little") + 1, int.from_bytes(start[27:30], "little") + 1
    elif kind == b"VP8 " and len(start) >= 30:
        across, down = struct.unpack_from("<HH", start, 26)
        canvas = across & 0x3FFF, down & 0x3FFF
    elif kind == b"VP8L" and len(start) >= 25:
        (bits,) = struct.unpack_from("<I", start, 21)
        canvas = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return canvas


def check_webp_memory(size: tuple[int, int]) -> None:
    """Refuse a WebP whose canvas takes too much memory.

    Raises:
        ImageError: With the sizes and the way out.
    """
    width, height = size
    check_memory(width * height * _WEBP_BYTES_A_PIXEL, f"a WebP of {width} x {height} pixels")


def check_embedded_exif(stream: BoundedStream, what: str) -> None:
    """Check every EXIF block of a file that its decoder reads whole.

    Raises:
        ImageError: If the file is too large, or the values of a block overlap beyond measure.
    """
    check_file_size(stream.size, COMPRESSED_BYTES, what)
    data = _content(stream)
    for signature in (b"II*\0", b"MM\0*"):
        position = data.find(signature)
        for _ in range(100):
            if position < 0:
                break
            check_exif(data[position : position + _EXIF_BYTES])
            position = data.find(signature, position + 4)


def check_exif(block: bytes) -> None:
    """Refuse EXIF whose values overlap, so that they take many times the memory of the file.

    Args:
        block: The EXIF directory as a small TIFF file, without the word "Exif" before it.

    Raises:
        ImageError: If all values together are larger than any camera writes.
    """
    if len(block) < 8 or block[:2] not in (b"II", b"MM"):
        return
    order = "<" if block[:2] == b"II" else ">"
    (offset,) = struct.unpack_from(order + "I", block, 4)
    if offset + 2 > len(block):
        return
    (n,) = struct.unpack_from(order + "H", block, offset)
    table = block[offset + 2 : offset + 2 + 12 * n]
    total = 0
    for start in range(0, len(table) - 11, 12):
        _, kind, count, at = struct.unpack_from(order + "HHII", table, start)
        width = {3: 2, 8: 2, 4: 4, 9: 4, 11: 4, 13: 4, 5: 8, 10: 8, 12: 8, 16: 8}.get(kind, 1)
        total += max(0, min(count * width, len(block) - at))
    if total > _EXIF_BYTES:
        raise _endless_exif()


def _endless_exif() -> ImageError:
    detail = "its EXIF block claims more values than any camera writes; save the photo again without it"
    return ImageError(ImageReason.TOO_LARGE, detail)


def _content(stream: BoundedStream) -> bytes:
    stream.seek(0)
    data = stream.read()
    stream.seek(0)
    return data


def _pairs(table: bytes, n: int, step: int) -> list[tuple[int, int]]:
    """First two bytes of each of n entries."""
    return [(table[at], table[at + 1]) for at in range(0, min(n * step, len(table) - 1), step)]
