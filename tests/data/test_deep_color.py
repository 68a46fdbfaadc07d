from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from drawn.tiffs import tiff

from ensemble_minerals.data.decoding import decode, is_decoded_as_before

RAMP = np.linspace(0, 4095, 24 * 20 * 3).round().reshape(20, 24, 3).astype(np.uint16)


def png(values: np.ndarray) -> bytes:
    """A PNG of 16 bits a sample."""
    height, width, bands = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2 if bands == 3 else 6, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def tiff_of(values: np.ndarray, order: str) -> bytes:
    height, width, _ = values.shape
    tags = {
        256: width,
        257: height,
        258: [16, 16, 16],
        259: 1,
        262: 2,
        277: 3,
        278: height,
        279: 2 * values.size,
    }
    return tiff([tags], [values.astype(f"{order}u2").tobytes()], order)


@pytest.mark.parametrize("make", [png, lambda v: tiff_of(v, "<"), lambda v: tiff_of(v, ">")])
def test_12_bits_fill_the_range(make):
    photo = decode(make(RAMP))
    assert photo.mode == "RGB;12"
    np.testing.assert_array_equal(photo.pixels, RAMP >> 4)
    assert not is_decoded_as_before(photo.format, photo.mode, photo.width, photo.height)


@pytest.mark.parametrize("make", [png, lambda v: tiff_of(v, "<")])
def test_16_bits_stay_as_they_are(make):
    photo = decode(make(RAMP * 16))
    assert photo.mode == "RGB"
    np.testing.assert_array_equal(photo.pixels, RAMP >> 4)


def test_only_colors_are_scaled_not_transparency():
    opaque = np.full((20, 24, 1), 65535, np.uint16)
    photo = decode(png(np.concatenate([RAMP, opaque], axis=2)))
    assert photo.mode == "RGBA;12"
    np.testing.assert_array_equal(photo.pixels, RAMP >> 4)


def test_a_tall_photo_is_scaled_strip_by_strip():
    tall = np.repeat(RAMP, 30, axis=0)
    np.testing.assert_array_equal(decode(png(tall)).pixels, tall >> 4)
