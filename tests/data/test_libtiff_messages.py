from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from ensemble_minerals.data.decoding import decode
from ensemble_minerals.errors import ImageError, ImageReason


def damaged(compression: str) -> list[bytes]:
    rng = np.random.default_rng(2)
    image = Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    stream = BytesIO()
    (image.convert("1") if compression == "group4" else image).save(stream, "TIFF", compression=compression)
    files = []
    for _ in range(40):
        data = bytearray(stream.getvalue())
        for place in rng.integers(8, len(data), 6):
            data[place] = rng.integers(256)
        files.append(bytes(data))
    return files


def reason(data: bytes) -> str:
    try:
        decode(data)
    except ImageError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "jpeg", "group4"])
def test_what_libtiff_says_is_a_reason_and_no_line_on_the_terminal(compression, capfd):
    files = damaged(compression)
    reasons = [reason(data) for data in files]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(reason, files)) == reasons
    assert capfd.readouterr() == ("", "")
    words = {
        "tiff_lzw": "Using code not yet in table",
        "tiff_adobe_deflate": "Decoding error",
        "jpeg": "JPEG",
        "group4": "Bad code word",
    }
    assert any(words[compression] in text and ImageReason.TRUNCATED in text for text in reasons)


def test_what_pillow_tells_its_log_is_no_line_on_the_terminal(capfd):
    data = damaged("tiff_lzw")[0]
    stream = BytesIO()
    Image.new("L", (16, 16)).save(stream, "TIFF", tiffinfo={277: 3000})
    for one in (data, stream.getvalue()):
        reason(one)
    assert capfd.readouterr() == ("", "")
