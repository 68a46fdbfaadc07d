from __future__ import annotations

import struct
import warnings
import zlib
from io import BytesIO

import pytest
from PIL import Image

from ensemble_minerals.data import photo_headers
from ensemble_minerals.data.decode_budget import BoundedStream
from ensemble_minerals.data.decoding import decode
from ensemble_minerals.data.photo_headers import check_exif, check_jpeg
from ensemble_minerals.errors import ImageError, ImageReason


def encoded(image: Image.Image, file_format: str, **options) -> bytes:
    stream = BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def refused(data: bytes, words: str) -> None:
    with pytest.raises(ImageError, match=words) as caught:
        decode(data)
    assert caught.value.reason is ImageReason.TOO_LARGE


def many_scans(scans: int) -> bytes:
    data = encoded(Image.new("RGB", (64, 64), (90, 120, 80)), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * scans + data[-2:]


def test_a_jpeg_of_thousands_of_scans_is_refused_and_a_usual_one_is_not():
    assert decode(many_scans(1)).width == 64
    refused(many_scans(3_000), "501 or more scans")


def test_what_counts_is_the_work_of_all_scans(monkeypatch):
    data = many_scans(30)
    assert decode(data).width == 64
    monkeypatch.setattr(photo_headers, "_MOST_BLOCKS", 500)
    refused(data, "scans, too many to decode")


@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_coefficients_are_counted_where_they_are_kept(subsampling):
    image = Image.new("RGB", (160, 80))
    header = check_jpeg(BoundedStream(BytesIO(encoded(image, "JPEG", subsampling=subsampling))))
    assert header.coefficient_bytes == 0
    data = encoded(image, "JPEG", progressive=True, subsampling=subsampling)
    samples = 160 * 80 * (3, 2, 1.5)[subsampling]
    assert check_jpeg(BoundedStream(BytesIO(data))).coefficient_bytes == samples * 2


def test_scans_of_a_second_image_do_not_count():
    first, second = Image.new("RGB", (64, 64)), Image.new("RGB", (64, 64), (1, 2, 3))
    data = encoded(first, "MPO", save_all=True, append_images=[second] * 20, progressive=True)
    assert check_jpeg(BoundedStream(BytesIO(data))).coefficient_bytes == 64 * 64 * 3


def test_padding_and_comments_of_a_jpeg():
    usual = encoded(Image.new("L", (64, 64)), "JPEG")
    refused(usual[:2] + b"\xff\xfe\x00\x03a" * 100_000 + usual[2:], "segments")
    refused(usual[:2] + b"\xff" * 1_000_000 + usual[2:], "more parts than any photo")
    assert decode(usual[:2] + b"\xff\xfe\x00\x03a" * 50 + b"\xff" * 50 + usual[2:]).width == 64


def overlapping(n: int, length: int) -> bytes:
    entries = b"".join(struct.pack("<HHII", tag, 7, length - 12 * n, 12 * n) for tag in range(n))
    return (b"II*\0" + struct.pack("<IH", 8, n) + entries).ljust(length, b"\0")


def png_with(kind: bytes, body: bytes, times: int = 1) -> bytes:
    data = encoded(Image.new("RGB", (64, 64)), "PNG")
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return data[:33] + chunk * times + data[33:]


def test_exif_whose_values_overlap():
    block = overlapping(3_000, 60_000)
    with pytest.raises(ImageError, match="more values than any camera"):
        check_exif(block)
    refused(
        encoded(Image.new("RGB", (64, 64)), "JPEG", exif=b"Exif\0\0" + block), "more values than any camera"
    )
    assert decode(png_with(b"eXIf", block)).width == 64  # ignored, as other metadata that cannot be read
    honest = Image.Exif()
    honest[0x010F] = "a maker"
    check_exif(honest.tobytes().removeprefix(b"Exif\0\0"))


def test_exif_is_checked_where_the_decoder_reads_it_whole():
    exif = Image.Exif()
    exif[0x010F] = "x" * 200
    assert decode(encoded(Image.new("RGB", (64, 64)), "AVIF", exif=exif)).width == 64
    block = b"Exif\0\0" + overlapping(3_000, 60_000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns while it saves
        data = encoded(Image.new("RGB", (64, 64)), "AVIF", exif=block)
    refused(data, "more values than any camera")


def test_chunks_of_a_png_without_end():
    assert decode(png_with(b"tEXt", b"k\0v", 100)).width == 64
    refused(png_with(b"tEXt", b"k\0v", 20_000), "more parts than any photo")


def test_comments_of_a_gif_without_end():
    data = encoded(Image.new("L", (64, 64)), "GIF")
    at = data.index(b"\x2c", 13)
    block = b"\x21\xfe" + (b"\xff" + bytes(255).replace(b"\0", b"a")) * 20_000 + b"\0"
    refused(data[:at] + block + data[at:], "more parts than any photo")


def test_comments_of_a_pixmap_without_end():
    body = b"64 64 255\n" + bytes(64 * 64 * 3)
    assert decode(b"P6\n# taken in 1987\n" + body).width == 64
    refused(b"P6\n#" + b"a" * 100_000 + b"\n" + body, "more parts than any photo")


def test_an_empty_webp_with_a_large_canvas():
    for side, words in ((16_384, "data.max_pixels"), (9_900, "WebP of 9900 x 9900 pixels takes 1,568 MB")):
        chunk = b"VP8X" + struct.pack("<I", 10) + bytes([2, 0, 0, 0]) + 2 * struct.pack("<I", side - 1)[:3]
        refused(b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk, words)
