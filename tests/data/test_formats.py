from __future__ import annotations

import pytest

from ensemble_minerals.data.formats import recognized
from ensemble_minerals.errors import ImageError, ImageReason


@pytest.mark.parametrize(
    ("start", "decoder"),
    [
        (b"\0\0\0\x1cftypheic\0\0\0\0mif1heic", "HEIF"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1heicmiaf", "HEIF"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "AVIF"),
        (b"\0\0\0\x1cftypavif\0\0\0\0mif1", "AVIF"),
        (b"II+\0\x08\0\0\0", "TIFF"),
        (b"P5 8 8 255 ", "PPM"),
        (b"P6#a comment", "PPM"),
    ],
)
def test_the_content_says_which_decoder(start, decoder):
    assert recognized(start)[0] == (decoder,)


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"FUJIFILMCCD-RAW 0201", "RAF"),
        (b"IIRO\x08\0\0\0", "ORF"),
        (b"IIU\0\x08\0\0\0", "RW2"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "CR3"),
        (b"II*\0\x10\0\0\0CR\2\0", "CR2"),
        (b"FOVb\0\0\2\0", "X3F"),
    ],
)
def test_raw_files_of_cameras_are_named(start, name):
    with pytest.raises(ImageError, match=f"{name} is a camera's raw file.*export it as JPEG") as caught:
        recognized(start + bytes(64))
    assert caught.value.reason is ImageReason.UNSUPPORTED


def test_what_is_on_no_list_is_no_image():
    for start in (
        b"a text",
        b"DDS |\0\0\0",
        b"\0\0\2\0",
        b"SIMPLE  =",
        b"\x01\xda\x01\x01",
    ):  # DDS, TGA, FITS, SGI
        with pytest.raises(ImageError, match="no known image format"):
            recognized(start)
