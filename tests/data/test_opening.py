from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ensemble_minerals.data import decode_budget, opening
from ensemble_minerals.data.decoding import decode, is_decoded_as_before
from ensemble_minerals.errors import ImageError, ImageReason

HEIC = Path(__file__).parent / "files" / "quarters.heic"
"""Red, green, blue and white, clockwise from the upper left; made with Debian's `heif-enc -q 60` from a drawn PNG."""


def encoded(image: Image.Image, file_format: str, **options) -> bytes:
    stream = BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def scene(width: int = 400, height: int = 240) -> Image.Image:
    rows, columns = np.mgrid[:height, :width]
    channels = [columns * 255 // width, rows * 255 // height, (rows + columns) % 256]
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


def test_a_photo_of_a_telephone_in_heic():
    for source in (HEIC, HEIC.read_bytes()):
        photo = decode(source)
        assert (photo.width, photo.height, photo.format, photo.mode) == (64, 48, "HEIF", "RGB")
        corners = photo.pixels[[12, 12, 36, 36], [16, 48, 48, 16]].astype(int)
        expected = [(250, 0, 0), (0, 250, 0), (0, 0, 250), (255, 255, 255)]
        assert np.abs(corners - expected).max() <= 4


@pytest.mark.parametrize("keep", [12, 40, 300, 670])
def test_a_heic_that_is_cut_off(keep):
    with pytest.raises(ImageError) as caught:
        decode(HEIC.read_bytes()[:keep])
    assert caught.value.reason is ImageReason.TRUNCATED


def test_any_damage_of_a_heic_gives_a_photo_or_a_reason():
    whole, rng = HEIC.read_bytes(), np.random.default_rng(0)
    for _ in range(60):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), 3):
            data[place] = rng.integers(256)
        with suppress(ImageError):
            assert decode(bytes(data)).pixels.ndim == 3


def test_a_photo_in_avif():
    photo = decode(encoded(scene(), "AVIF", quality=90))
    assert (photo.width, photo.height, photo.format) == (400, 240, "AVIF")
    assert np.abs(photo.pixels.astype(int) - np.asarray(scene())).mean() < 4


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "BMP", "JPEG2000", "WEBP"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_photo_is_decoded_reduced(monkeypatch, file_format, orientation):
    image = scene()
    exif = Image.Exif()
    exif[0x0112] = orientation
    carries = file_format in ("JPEG", "PNG", "TIFF", "WEBP")
    data = encoded(image, file_format, **({"exif": exif} if carries else {}))
    whole = decode(data)
    monkeypatch.setattr(decode_budget, "WHOLE_PIXELS", 400 * 240 // 3)
    photo = decode(data)
    assert (photo.width, photo.height) == (whole.width, whole.height)
    reduced = photo.pixels.shape
    assert reduced[0] in (
        whole.height // 2,
        whole.height // 4,
    )  # JPEG 2000 is reduced from a quarter of that size on
    step = whole.height // reduced[0]
    average = whole.pixels.reshape(reduced[0], step, reduced[1], step, 3).mean(axis=(1, 3))
    # The last channel has edges, which filters treat in different ways.
    assert np.abs(photo.pixels - average)[..., :2].mean() < 4


def test_only_what_fits_at_no_size_is_too_large(monkeypatch):
    data = encoded(scene(), "PNG")
    monkeypatch.setattr(opening, "MEMORY", 400 * 240 * 5)
    assert decode(data).pixels.shape == (
        120,
        200,
        3,
    )  # the image takes 4 bytes a pixel, and the array 3 at most
    monkeypatch.setattr(decode_budget, "MEMORY", 400 * 240 * 3)
    monkeypatch.setattr(opening, "MEMORY", 400 * 240 * 3)
    with pytest.raises(ImageError, match="too_large: PNG of 400 x 240 pixels takes"):
        decode(data)
    assert decode(encoded(scene(), "JPEG")).pixels.shape == (120, 200, 3)
    with pytest.raises(ImageError, match="too_large: JPEG of 400 x 240 pixels takes"):
        decode(
            encoded(scene(), "JPEG", progressive=True, subsampling=0)
        )  # all coefficients are kept at any size


def test_answers_are_those_of_one_thread(monkeypatch):
    files = [encoded(scene(40 * n, 24 * n), "PNG") for n in range(1, 9)]
    alone = [decode(data).pixels for data in files]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda data: decode(data).pixels, files * 3))
    assert all(np.array_equal(a, b) for a, b in zip(alone * 3, together, strict=True))


def test_pillows_log_does_not_reach_the_terminal():
    assert logging.getLogger("PIL").handlers


def test_which_photos_are_decoded_as_before():
    assert is_decoded_as_before("PNG", "RGBA", 4000, 3000)
    assert is_decoded_as_before("", "", 0, 0)  # an unreadable file
    for changed in (
        ("PNG", "I;16", 40, 30),
        ("TIFF", "RGB", 40, 30),
        ("PPM", "L", 40, 30),
        ("JPEG", "RGB", 12_000, 8_000),
    ):
        assert not is_decoded_as_before(*changed)


def test_a_jpeg_that_is_decoded_small_takes_little_memory():
    data = encoded(scene(), "JPEG")
    whole = opening.open_photo(BytesIO(data), lambda _: None)
    small = opening.open_photo(BytesIO(data), lambda _: None)
    opening.plan(whole, None)
    opening.plan(small, 30)
    assert 400 * 240 * 7 <= whole.memory < 400 * 240 * 8
    assert small.memory < whole.memory / 10  # threads that need small photos do not wait for each other
