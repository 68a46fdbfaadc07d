from __future__ import annotations

import numpy as np
import pytest

from ensemble_minerals.features.descriptor.color import lab_of


def test_it_is_scikit_images():
    color = pytest.importorskip("skimage.color")
    pixels = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    pixels[0, :, :] = np.arange(96)[:, None]  # dark greys: the straight parts of both curves
    np.testing.assert_allclose(lab_of(pixels), color.rgb2lab(pixels).transpose(2, 0, 1), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((0, 0, 0), (0, 0, 0)),
        ((255, 255, 255), (100, 0, 0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 128, 0), (46.23, -51.70, 49.90)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
    ],
)
def test_known_colors(rgb, lab):
    found = lab_of(np.array([[rgb]], np.uint8))
    assert found.shape == (3, 1, 1)
    np.testing.assert_allclose(found.ravel(), lab, atol=0.03)
