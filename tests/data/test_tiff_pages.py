from __future__ import annotations

import struct
from io import BytesIO

import numpy as np
import pytest
from drawn.tiffs import grey_page, tiff
from PIL import Image

from ensemble_minerals.data.decoding import decode
from ensemble_minerals.data.tiff_pages import photo_page
from ensemble_minerals.errors import ImageError, ImageReason


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_largest_page_is_the_photo(order):
    pages = [grey_page(8, 8), grey_page(32, 16), grey_page(16, 16), grey_page(32, 16)]
    bodies = [
        bytes([value]) * (page[256] * page[257]) for value, page in zip((10, 20, 30, 40), pages, strict=True)
    ]
    data = tiff(pages, bodies, order)
    assert photo_page(BytesIO(data)).number == 1
    photo = decode(data)
    assert (photo.width, photo.height) == (32, 16)
    assert photo.pixels.max() == photo.pixels.min() == 20


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "jpeg"])
def test_the_largest_page_of_a_compressed_file(compression, tmp_path):
    thumbnail, large = Image.new("RGB", (16, 12), (9, 9, 9)), Image.new("RGB", (160, 120), (200, 100, 50))
    path = tmp_path / "scan.tif"
    thumbnail.save(path, save_all=True, append_images=[large], compression=compression)
    photo = decode(path)
    assert photo.pixels.shape == (120, 160, 3)
    assert np.abs(photo.pixels[60, 80].astype(int) - [200, 100, 50]).max() <= 3
    assert np.array_equal(decode(path.read_bytes()).pixels, photo.pixels)


def test_a_mask_of_transparency_is_no_photo():
    mask = grey_page(64, 64) | {254: 4}
    assert photo_page(BytesIO(tiff([grey_page(8, 8), mask], [bytes(64), bytes(4096)]))).width == 8


def test_pages_in_a_circle_end():
    data = bytearray(tiff([grey_page(8, 8)], [bytes(64)]))
    first = struct.unpack_from("<I", data, 4)[0]
    struct.pack_into("<I", data, len(data) - 4, first)
    assert photo_page(BytesIO(data)).number == 0


def test_damage_behind_the_first_page_does_not_lose_it():
    data = bytearray(tiff([grey_page(8, 8)], [bytes(64)]))
    struct.pack_into("<I", data, len(data) - 4, len(data) + 1000)
    assert decode(bytes(data)).width == 8


@pytest.mark.parametrize(
    ("thumbnail", "below", "name"),
    [
        ({50706: 1}, {}, "DNG"),
        ({271: b"NIKON CORPORATION\0"}, {259: 34713}, "NEF"),
        ({271: b"NIKON CORPORATION\0"}, {262: 32803}, "NEF"),
        ({271: b"SONY\0"}, {259: 32767}, "ARW"),
        ({271: b"PENTAX\0"}, {259: 65535}, "PEF"),
        ({}, {262: 34892}, "this"),
    ],
)
def test_a_raw_file_is_not_read_as_its_preview(thumbnail, below, name):
    pages = [grey_page(16, 12) | thumbnail | {330: 1}, grey_page(32, 32) | below | {-1: 0}]
    data = tiff(pages, [bytes(16 * 12), bytes(1024)])
    with pytest.raises(ImageError, match=f"{name} is a camera's raw file") as caught:
        decode(data)
    assert caught.value.reason is ImageReason.UNSUPPORTED


def test_a_million_strips_are_refused():
    page = grey_page(8, 2_000_000) | {278: 1}
    data = tiff([page], [bytes(64)])
    at = data.index(struct.pack("<HH", 273, 4)) + 4
    data = data[:at] + struct.pack("<I", 2_000_000) + data[at + 4 :]
    with pytest.raises(ImageError, match="2,000,000 strips or tiles"):
        decode(data)


def test_a_directory_without_end_is_refused():
    data = b"II*\0" + struct.pack("<IH", 8, 60_000) + bytes(12 * 60_000 + 4)
    with pytest.raises(ImageError) as caught:
        decode(data)
    assert caught.value.reason is ImageReason.TRUNCATED
