from __future__ import annotations

import os
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ensemble_minerals.data import decoding
from ensemble_minerals.data.decoding import Photo, decode, photo_digest, pixel_digest
from ensemble_minerals.errors import ImageError, ImageReason
from ensemble_minerals.system.digest import content_digest
from ensemble_minerals.system.runtime import DecodeLimits

RED, GREEN, BLUE, WHITE = (250, 0, 0), (0, 250, 0), (0, 0, 250), (255, 255, 255)
ORIENTATION = 0x0112
# What an orientation's transpose is undone by: rotations by each other, all else by itself.
UNDO = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def encoded(image: Image.Image, file_format: str = "PNG", **options) -> bytes:
    stream = BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def quarters(width: int = 48, height: int = 32) -> Image.Image:
    """Red, green, blue and white, clockwise from the upper left."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste(BLUE, (width // 2, height // 2, width, height))
    image.paste(WHITE, (0, height // 2, width // 2, height))
    return image


def noise(width: int = 60, height: int = 40, seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def assert_quarters(photo: Photo) -> None:
    height, width = photo.pixels.shape[:2]
    for row, column, color in (
        (height // 4, width // 4, RED),
        (height // 4, 3 * width // 4, GREEN),
        (3 * height // 4, 3 * width // 4, BLUE),
        (3 * height // 4, width // 4, WHITE),
    ):
        assert np.abs(photo.pixels[row, column].astype(int) - color).max() <= 12


def reason_of(source: Path | bytes, **options) -> ImageReason:
    with pytest.raises(ImageError) as caught:
        decode(source, **options)
    assert caught.value.detail
    return caught.value.reason


@pytest.mark.parametrize(
    ("file_format", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("PPM", {}),
        ("WEBP", {"lossless": True}),
        ("JPEG2000", {}),
        ("JPEG", {"quality": 95}),
        ("JPEG", {"quality": 95, "progressive": True}),
    ],
)
@pytest.mark.parametrize("name", ["no extension", "wrong.jpg", "100% ünïcode.png"])
def test_content_is_sniffed_whatever_the_name(tmp_path, file_format, options, name):
    data = encoded(quarters(), file_format, **options)
    path = tmp_path / name
    path.write_bytes(data)
    photo = decode(path)
    assert (photo.width, photo.height, photo.format, photo.mode) == (48, 32, file_format, "RGB")
    assert photo.pixels.shape == (32, 48, 3)
    assert photo.pixels.dtype == np.uint8
    assert photo.pixels.flags.c_contiguous
    assert photo.pixels.flags.writeable
    assert_quarters(photo)
    assert np.array_equal(decode(data).pixels, photo.pixels)


def test_mpo_of_telephones_is_read_as_its_first_image():
    data = encoded(quarters(), "MPO", save_all=True, append_images=[noise(48, 32)], quality=95)
    assert_quarters(decode(data))
    assert decode(data, at_least=8).pixels.shape == (8, 12, 3)


@pytest.mark.parametrize("orientation", list(UNDO))
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_makes_every_format_upright(file_format, orientation):
    upright = quarters(400, 240)
    stored = upright if UNDO[orientation] is None else upright.transpose(UNDO[orientation])
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = encoded(stored, file_format, exif=exif)
    photo = decode(data)
    assert (photo.width, photo.height) == (400, 240)
    assert photo.pixels.shape == (240, 400, 3)
    assert_quarters(photo)
    reduced = decode(data, at_least=50)
    assert (reduced.width, reduced.height) == (400, 240)
    assert reduced.pixels.shape == ((60, 100, 3) if file_format == "JPEG" else (240, 400, 3))
    assert_quarters(reduced)


@pytest.mark.parametrize("at_least", [1, 100, 101, 150, 202, 203, 404, 405, 5000])
def test_a_reduced_decode_keeps_the_shorter_side(at_least):
    data = encoded(quarters(811, 405), "JPEG")
    photo = decode(data, at_least=at_least)
    assert min(photo.pixels.shape[:2]) >= min(at_least, 405)
    assert (photo.width, photo.height) == (811, 405)
    if at_least <= 202:
        assert photo.pixels.shape[0] < 405


def test_a_reduced_decode_needs_a_positive_side():
    with pytest.raises(ValueError, match="at_least"):
        decode(encoded(quarters(), "JPEG"), at_least=0)


def test_alpha_is_composited_onto_white():
    layer = Image.new("RGBA", (16, 16), (200, 0, 0, 0))
    layer.paste((200, 0, 0, 255), (0, 0, 8, 8))
    layer.paste((200, 0, 0, 128), (8, 0, 16, 8))
    for file_format, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {})):
        pixels = decode(encoded(layer, file_format, **options)).pixels
        assert pixels[4, 4].tolist() == [200, 0, 0]
        assert pixels[12, 4].tolist() == [255, 255, 255]
        assert np.abs(pixels[4, 12].astype(int) - [227, 127, 127]).max() <= 1


def test_grey_with_alpha_is_composited_onto_white():
    layer = Image.new("LA", (16, 16), (40, 0))
    layer.paste((40, 255), (0, 0, 8, 16))
    photo = decode(encoded(layer))
    assert photo.mode == "LA"
    assert photo.pixels[4, 4].tolist() == [40, 40, 40]
    assert photo.pixels[4, 12].tolist() == [255, 255, 255]


@pytest.mark.parametrize("transparency", [1, bytes([255, 0, 255])])
@pytest.mark.parametrize("file_format", ["PNG", "GIF"])
def test_palette_transparency_is_composited_onto_white(file_format, transparency):
    if file_format == "GIF" and isinstance(transparency, bytes):
        transparency = 1
    image = Image.new("P", (16, 16), 0)
    image.putpalette([*RED, *GREEN, *BLUE])
    image.paste(1, (8, 0, 16, 16))
    photo = decode(encoded(image, file_format, transparency=transparency))
    assert photo.mode == "P"
    assert photo.pixels[4, 4].tolist() == list(RED)
    assert photo.pixels[4, 12].tolist() == [255, 255, 255]


@pytest.mark.parametrize(("mode", "key"), [("L", 7), ("RGB", (7, 7, 7))])
def test_one_transparent_color_becomes_white(mode, key):
    image = Image.new(mode, (16, 16), 100 if mode == "L" else (100, 100, 100))
    image.paste(key, (8, 0, 16, 16))
    pixels = decode(encoded(image, transparency=key)).pixels
    assert pixels[4, 4].tolist() == [100, 100, 100]
    assert pixels[4, 12].tolist() == [255, 255, 255]


def test_palette_grey_and_bilevel():
    palette = decode(encoded(quarters().quantize(8)))
    assert palette.mode == "P"
    assert_quarters(palette)
    assert decode(encoded(Image.new("L", (9, 9), 77))).pixels[0, 0].tolist() == [77, 77, 77]
    assert decode(encoded(Image.new("1", (9, 9), 1))).pixels[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("file_format", ["JPEG", "TIFF"])
def test_cmyk(file_format):
    image = Image.new("CMYK", (32, 16), (0, 0, 0, 0))
    image.paste((0, 255, 255, 0), (16, 0, 32, 16))
    photo = decode(encoded(image, file_format))
    assert photo.mode == "CMYK"
    assert photo.pixels[8, 4].min() >= 250
    assert np.abs(photo.pixels[8, 28].astype(int) - [255, 0, 0]).max() <= 6


def grey_tiff(
    values: np.ndarray, order: str, exif: bytes | None = None, exif_offset: int | None = None
) -> bytes:
    """An uncompressed 16-bit TIFF of either byte order."""
    height, width = values.shape
    body = values.astype(f"{order}u2").tobytes()
    tags = [(256, width), (257, height), (258, 16), (259, 1), (262, 1), (273, 8), (277, 1), (278, height)]
    tags.append((279, len(body)))
    if exif is not None:
        end = 8 + len(body) + 2 + 12 * (len(tags) + 1) + 4
        tags.append((0x8769, end if exif_offset is None else exif_offset))
    directory = struct.pack(order + "H", len(tags))
    for tag, value in tags:
        directory += struct.pack(order + "HHII", tag, 4, 1, value)
    start = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8 + len(body))
    return start + body + directory + struct.pack(order + "I", 0) + (exif or b"")


def test_16_bit_grey_is_scaled_not_clipped():
    values = np.linspace(0, 65535, 16 * 16).reshape(16, 16).round().astype(np.uint16)
    expected = np.rint(values / 257.0)
    sources = [
        encoded(Image.fromarray(values)),
        encoded(Image.fromarray(values), "TIFF"),
        grey_tiff(values, "<"),
        grey_tiff(values, ">"),
        b"P5 16 16 65535\n" + values.astype(">u2").tobytes(),
    ]
    for data in sources:
        pixels = decode(data).pixels
        assert np.abs(pixels - expected[..., None]).max() == 0


def test_16_bit_grey_with_one_transparent_value():
    values = np.full((16, 16), 20000, dtype=np.uint16)
    values[:, 8:] = 300
    data = encoded(Image.fromarray(values))
    body = struct.pack(">H", 300)
    chunk = struct.pack(">I", 2) + b"tRNS" + body + struct.pack(">I", zlib.crc32(b"tRNS" + body))
    at = data.index(b"IDAT") - 4
    pixels = decode(data[:at] + chunk + data[at:]).pixels
    assert pixels[0, 0].tolist() == [78, 78, 78]
    assert pixels[0, 12].tolist() == [255, 255, 255]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.float32([0.0, 0.5, 1.0]), [0, 128, 255]),
        (np.float32([0.0, 100.0, 255.0]), [0, 100, 255]),
        (np.float32([-1.0, np.nan, 1.0]), [0, 128, 255]),
        (np.float32([-3.0, -3.0, -3.0]), [0, 0, 0]),
        (np.int32([0, 257 * 90, 65535]), [0, 90, 255]),
        (np.int32([0, 1_000_000, 2_000_000]), [0, 128, 255]),
        (np.int32([-100, 0, 100]), [0, 128, 255]),
    ],
)
def test_32_bit_grey(values, expected):
    image = Image.fromarray(np.repeat(values, 4)[None].repeat(9, axis=0))
    assert np.abs(decode(encoded(image, "TIFF")).pixels[0, ::4, 0] - np.array(expected)).max() <= 1


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame(file_format):
    frames = [quarters().quantize(16) if file_format == "GIF" else quarters(), noise(48, 32)]
    photo = decode(encoded(frames[0], file_format, save_all=True, append_images=frames[1:]))
    assert (photo.width, photo.height) == (48, 32)
    assert_quarters(photo)


def png_claiming(width: int, height: int) -> bytes:
    data = bytearray(encoded(quarters()))
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    return bytes(data)


def test_the_limit_of_pixels_is_checked_before_decoding():
    assert reason_of(png_claiming(11_000, 10_000)) is ImageReason.TOO_LARGE
    assert (
        reason_of(png_claiming(11_000, 10_000), limits=DecodeLimits(max_pixels=200_000_000))
        is ImageReason.TRUNCATED
    )
    assert (
        reason_of(png_claiming(60_000, 60_000), limits=DecodeLimits(max_pixels=10**12))
        is ImageReason.TOO_LARGE
    )
    assert (
        reason_of(encoded(quarters()), limits=DecodeLimits(max_pixels=48 * 32 - 1)) is ImageReason.TOO_LARGE
    )
    assert decode(encoded(quarters()), limits=DecodeLimits(max_pixels=48 * 32)).width == 48


def test_pillows_own_warning_about_large_images_stays_inside(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 48 * 32 - 1)
    assert decode(encoded(quarters())).width == 48  # a warning is an error in these tests


def test_too_small():
    assert reason_of(encoded(quarters(30, 7))) is ImageReason.TOO_SMALL
    assert reason_of(encoded(quarters(30, 7)), limits=DecodeLimits(min_side=31)) is ImageReason.TOO_SMALL
    assert decode(encoded(quarters(30, 8))).height == 8


@pytest.mark.parametrize("keep", [0.5, 0.9])
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "JPEG2000", "AVIF"])
def test_truncated_files(file_format, keep):
    data = encoded(noise(120, 90), file_format)
    assert reason_of(data[: int(len(data) * keep)]) in (
        # AVIF keeps its directory in front, but Pillow cannot tell a cut file from one of another kind
        {ImageReason.TRUNCATED, ImageReason.UNSUPPORTED} if file_format == "AVIF" else {ImageReason.TRUNCATED}
    )


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "JPEG2000"])
def test_a_cut_header_is_truncated_too(file_format):
    assert reason_of(encoded(noise(), file_format)[:14]) is ImageReason.TRUNCATED


def test_files_that_are_no_images(tmp_path):
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "notes.jpg").write_text("biotite, found in 1987\n")
    (tmp_path / "folder.jpg").mkdir()
    assert reason_of(tmp_path / "empty.jpg") is ImageReason.EMPTY
    assert reason_of(b"") is ImageReason.EMPTY
    assert reason_of(tmp_path / "notes.jpg") is ImageReason.NOT_AN_IMAGE
    assert reason_of(tmp_path / "folder.jpg") is ImageReason.NOT_AN_IMAGE
    assert reason_of(tmp_path / "absent.jpg") is ImageReason.MISSING
    assert reason_of(tmp_path / "notes.jpg" / "below.jpg") is ImageReason.MISSING
    assert reason_of(tmp_path / "null\0.jpg") is ImageReason.MISSING
    assert reason_of(tmp_path / ("n" * 300)) is ImageReason.MISSING
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "absent.jpg")
    assert reason_of(tmp_path / "gone.jpg") is ImageReason.MISSING


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    assert reason_of(tmp_path / "pipe.jpg") is ImageReason.NOT_AN_IMAGE


def test_not_permitted(tmp_path, monkeypatch):
    path = tmp_path / "locked.png"
    path.write_bytes(encoded(quarters()))

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert reason_of(path) is ImageReason.NOT_PERMITTED


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\xff\x0a" + bytes(64), "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(64), "JPEG XL"),
        (b"II\xbc\x01" + bytes(64), "JPEG XR"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0" + bytes(64), "a video"),
        (b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PostScript"),
        (b"8BPS\0\1" + bytes(64), "Photoshop"),
        (b"%PDF-1.7\n", "PDF"),
    ],
)
def test_formats_that_are_known_but_not_read(data, name):
    with pytest.raises(ImageError, match=name) as caught:
        decode(data)
    assert caught.value.reason is ImageReason.UNSUPPORTED


def test_lab():
    reddish = decode(encoded(Image.new("LAB", (16, 16), (128, 188, 128)), "TIFF"))
    assert reddish.mode == "LAB"
    assert np.abs(reddish.pixels[0, 0].astype(int) - [206, 63, 122]).max() <= 2


def test_a_mode_that_cannot_be_converted_is_unsupported(monkeypatch):
    def fail(*_):
        raise ValueError("conversion from X to RGB not supported")

    monkeypatch.setattr(Image.Image, "convert", fail)
    assert reason_of(encoded(Image.new("L", (16, 16)))) is ImageReason.UNSUPPORTED


def test_running_out_of_memory_is_a_reason(monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(Image.Image, "convert", fail)
    assert reason_of(encoded(Image.new("L", (16, 16)))) is ImageReason.TOO_LARGE


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_corrupt_exif_does_not_lose_the_photo(file_format):
    exif = Image.Exif()
    exif[ORIENTATION] = 1
    exif[0x010E] = "a description that is long enough to stand outside its entry"
    block = exif.tobytes()
    rng = np.random.default_rng(3)
    blocks = [b"Exif\0\0" + rng.bytes(size) for size in (0, 1, 7, 8, 60)]
    blocks.append(b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + rng.bytes(40))
    blocks.append(b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x09\xff\xff\xff\xff\0\0\0\0")
    for _ in range(40):
        copy = np.frombuffer(block, dtype=np.uint8).copy()
        copy[rng.integers(6, len(copy), 6)] = rng.integers(0, 256, 6)
        blocks.append(copy.tobytes())
    for damaged in blocks:
        photo = decode(encoded(quarters(), file_format, exif=damaged))
        assert sorted((photo.width, photo.height)) == [32, 48]


def test_corrupt_exif_of_a_tiff_does_not_lose_the_photo():
    rng = np.random.default_rng(4)
    for number in range(40):
        junk = rng.bytes(int(rng.integers(0, 200)))
        where = int(rng.integers(2**32)) if number % 3 == 0 else None
        data = grey_tiff(np.zeros((16, 16), dtype=np.uint16), "<", exif=junk, exif_offset=where)
        assert decode(data).pixels.shape == (16, 16, 3)


@pytest.mark.parametrize(
    ("file_format", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("GIF", {}),
        ("WEBP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("BMP", {}),
    ],
)
def test_any_damage_gives_a_photo_or_a_reason(file_format, options):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    whole = encoded(
        noise(24, 16), file_format, **options, **({} if file_format in ("GIF", "BMP") else {"exif": exif})
    )
    rng = np.random.default_rng(8)
    readable = 0
    for _ in range(150):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), rng.integers(1, 5)):
            data[place] = rng.integers(256)
        if rng.random() < 0.3:
            head = min(len(data), 120)  # headers and directories are where it hurts
            data[rng.integers(head)] = rng.integers(256)
        try:
            photo = decode(
                bytes(data),
                limits=DecodeLimits(max_pixels=1_000_000),
                at_least=4 if rng.random() < 0.5 else None,
            )
        except ImageError:
            continue
        readable += 1
        assert photo.pixels.ndim == 3
    assert readable < 150


def test_warnings_stay_inside_while_threads_decode_and_the_filters_come_back():
    image = Image.new("P", (16, 16), 0)
    image.putpalette([*RED, *GREEN])
    apng = bytearray(encoded(quarters(), save_all=True, append_images=[noise(48, 32)]))
    at = apng.index(b"acTL")
    apng[at + 4 : at + 8] = bytes(4)  # no frames: Pillow warns and takes the default image
    apng[at + 12 : at + 16] = struct.pack(">I", zlib.crc32(bytes(apng[at : at + 12])))
    before = list(warnings.filters)
    with warnings.catch_warnings(record=True) as outside:
        warnings.simplefilter("always")
        Image.open(BytesIO(bytes(apng))).close()
    assert outside, "Pillow warns no more about this file: choose another"
    with ThreadPoolExecutor(4) as pool:
        shapes = set(pool.map(lambda _: decode(bytes(apng)).pixels.shape, range(40)))
    assert shapes == {(32, 48, 3)}
    assert list(warnings.filters) == before


def test_one_thread_that_is_done_does_not_unmute_another():
    before = list(warnings.filters)
    with decoding._silence:
        muted = list(warnings.filters)
        assert len(muted) == len(before) + 1
        with decoding._silence:
            pass
        assert list(warnings.filters) == muted
    assert list(warnings.filters) == before


def test_pixel_digest_is_of_the_image():
    pixels = decode(encoded(quarters())).pixels
    assert len(pixel_digest(pixels)) == 32
    assert pixel_digest(pixels) == pixel_digest(decode(encoded(quarters(), "BMP")).pixels)
    assert pixel_digest(pixels) == pixel_digest(np.asfortranarray(pixels))
    assert pixel_digest(pixels) != pixel_digest(pixels.reshape(48, 32, 3))
    # A checksum alone would be the same for some of a hundred thousand small photos.
    assert pixel_digest(pixels) == content_digest(repr(pixels.shape).encode() + pixels.tobytes())
    large = np.tile(pixels, (19, 19, 1))  # several blocks
    assert len({pixel_digest(one) for one in (large, large[::-1], large[:, ::-1])}) == 3
    for place in (0, large.size // 2, -1):
        changed = large.copy()
        changed.flat[place] ^= 1
        assert pixel_digest(large) != pixel_digest(changed)


def test_photo_digest_is_that_of_the_content(tmp_path):
    data = encoded(quarters())
    (tmp_path / "a").write_bytes(data)
    assert photo_digest(tmp_path / "a") == content_digest(data)
    with pytest.raises(ImageError, match="missing"):
        photo_digest(tmp_path / "b")
