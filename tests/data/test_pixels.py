from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from drawn.tiffs import grey_page, tiff
from PIL import Image

from ensemble_minerals.data import pixels as module
from ensemble_minerals.data.decoding import decode
from ensemble_minerals.data.pixels import to_rgb_array


def noise(mode: str, width: int = 37, height: int = 29) -> Image.Image:
    rng = np.random.default_rng(5)
    if mode == "F":
        return Image.fromarray(rng.normal(0, 3, (height, width)).astype(np.float32))
    if mode == "I":
        return Image.fromarray(rng.integers(-9, 9**5, (height, width)).astype(np.int32))
    if mode == "I;16":
        return Image.fromarray(rng.integers(0, 60_000, (height, width)).astype(np.uint16))
    image = Image.fromarray(rng.integers(0, 256, (height, width, 4), dtype=np.uint8), "RGBA")
    return image.quantize(20) if mode == "P" else image.convert(mode)


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I", "I;16", "F"]
)
def test_strips_give_the_same_as_the_whole(monkeypatch, mode):
    image = noise(mode) if mode != "LAB" else Image.new("LAB", (37, 29), (120, 140, 99))
    whole = [to_rgb_array(image, factor) for factor in (1, 2, 4)]
    monkeypatch.setattr(module, "_STRIP_PIXELS", 150)
    for factor, expected in zip((1, 2, 4), whole, strict=True):
        assert np.array_equal(to_rgb_array(image, factor), expected)
        assert expected.shape == (-(-29 // factor), -(-37 // factor), 3)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L"])
def test_a_reduced_image_is_the_average(mode):
    image = noise(mode, 32, 32)
    full = to_rgb_array(image).astype(float).reshape(16, 2, 16, 2, 3).mean(axis=(1, 3))
    assert np.abs(to_rgb_array(image, 2) - full).max() <= 2


def grey_values(values: np.ndarray, bits: int, photometric: int) -> bytes:
    height, width = values.shape
    if bits == 12:
        pairs = values.reshape(-1, 2).astype(int)
        three = [pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255]
        body = np.stack(three, axis=1).astype(np.uint8).tobytes()
    else:
        body = values.astype("<u2").tobytes()
    return tiff([grey_page(width, height, bits, photometric)], [body])


def test_12_bits_use_their_whole_range():
    values = np.linspace(0, 4095, 256).round().reshape(16, 16)
    expected = np.rint(values * 255 / 4095)
    for data in (
        grey_values(values, 12, 1),
        grey_values(values, 16, 1),  # 12 bits of a microscope, in a file of 16
        b"P5 16 16 4095 " + values.astype(">u2").tobytes(),
    ):
        assert np.abs(decode(data).pixels[..., 0] - expected).max() == 0


def test_white_is_zero_is_no_negative_at_16_bits():
    values = np.linspace(0, 65535, 256).round().reshape(16, 16)
    positive, negative = decode(grey_values(values, 16, 1)).pixels, decode(grey_values(values, 16, 0)).pixels
    assert np.abs(positive.astype(int) + negative - 255).max() <= 1
    assert negative[0, 0].tolist() == [255, 255, 255]


def test_white_is_zero_is_no_negative_of_floats_and_where_it_is_compressed():
    page = grey_page(8, 8, 32, 0) | {339: 3}
    assert decode(tiff([page], [np.zeros((8, 8), "<f4").tobytes()])).pixels.min() == 255
    stream = BytesIO()
    image = Image.fromarray(np.full((16, 16), 60_000, np.uint16))
    image.save(stream, "TIFF", compression="tiff_lzw", tiffinfo={262: 0})
    assert decode(stream.getvalue()).pixels.max() in (21, 22, 233)  # 233: this Pillow does not write the tag
    assert decode(grey_values(np.full((16, 16), 60_000), 16, 0)).pixels.max() == 22


def test_large_numbers_of_floats_give_no_warning():
    values = np.array([[np.inf, -np.inf, np.nan, 3e38, -3e38, 1e-45, 0, 1]] * 8, np.float32)
    assert to_rgb_array(Image.fromarray(values)).shape == (8, 8, 3)
