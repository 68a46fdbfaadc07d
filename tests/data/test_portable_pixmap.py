from __future__ import annotations

import numpy as np
import pytest

from ensemble_minerals.data import portable_pixmap
from ensemble_minerals.data.decoding import decode
from ensemble_minerals.errors import ImageError


@pytest.mark.parametrize(("magic", "bands"), [(b"P5", 1), (b"P6", 3)])
@pytest.mark.parametrize("brightest", [1, 100, 254, 1023, 4095])
def test_values_are_scaled_by_the_brightest(monkeypatch, magic, bands, brightest):
    monkeypatch.setattr(portable_pixmap, "_BLOCK_VALUES", 100)
    values = np.random.default_rng(1).integers(0, brightest + 1, (20, 16, bands))
    header = magic + b" 16 20 %d " % brightest
    photo = decode(header + values.astype(">u2" if brightest > 255 else "u1").tobytes())
    expected = np.broadcast_to(np.rint(values * 255 / brightest), (20, 16, 3))
    assert np.abs(photo.pixels - expected).max() <= 1
    with pytest.raises(ImageError, match="truncated"):
        decode(header + values.astype("u1").tobytes()[:-200])


def test_numbers_as_text_are_read_up_to_a_size(monkeypatch):
    data = b"P2 8 8 9 " + b"9 " * 64
    assert decode(data).pixels.min() == 255
    monkeypatch.setattr(portable_pixmap, "_PLAIN_BYTES", len(data) - 1)
    with pytest.raises(ImageError, match=r"too_large: PPM with numbers as text.*save it smaller"):
        decode(data)
