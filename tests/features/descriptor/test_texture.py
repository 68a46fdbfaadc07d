from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from ensemble_minerals.features.descriptor.texture import (
    blur,
    blur_and_halve,
    box_mean,
    closing,
    local_binary_patterns,
    opening,
    scale_statistics,
    slopes,
    weighted_mean,
)


def _noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).random((height, width), dtype=np.float32)


def _even(height: int, width: int) -> np.ndarray:
    return np.full((2, height, width), 1 / (height * width), np.float32)


def test_blur_is_the_binomial_filter():
    plane, taps = _noise(9, 14), np.array([1, 4, 6, 4, 1]) / 16
    expected = ndimage.correlate1d(
        ndimage.correlate1d(plane, taps, 0, mode="nearest"), taps, 1, mode="nearest"
    )
    np.testing.assert_allclose(blur(plane), expected, rtol=1e-5)


@pytest.mark.parametrize("shape", [(32, 48), (128, 96), (5, 7)])
def test_windows_are_scipys(shape):
    plane = 40 * _noise(*shape)
    np.testing.assert_allclose(box_mean(plane), ndimage.uniform_filter(plane, 5), rtol=1e-5)
    np.testing.assert_array_equal(opening(plane), ndimage.grey_opening(plane, (5, 5)))
    np.testing.assert_array_equal(closing(plane), ndimage.grey_closing(plane, (5, 5)))


@pytest.mark.parametrize("shape", [(32, 48), (9, 14)])
def test_halving_keeps_every_second_smoothed_pixel(shape):
    plane = _noise(*shape)
    np.testing.assert_allclose(blur_and_halve(plane), blur(plane)[::2, ::2], rtol=1e-5)


def test_slopes_of_a_ramp():
    y, x = np.mgrid[:6, :8].astype(np.float32)
    down, across = slopes(3 * y + 2 * x)
    np.testing.assert_allclose(down[1:-1], 3)
    np.testing.assert_allclose(across[:, 1:-1], 2)
    np.testing.assert_allclose(down[[0, -1]], 1.5)  # at the rim the next pixel is the pixel itself
    assert down.shape == across.shape == (6, 8)


def test_weighted_mean():
    weights = np.array([[0.5, 0.5, 0], [0, 0, 1]], np.float32)
    np.testing.assert_allclose(weighted_mean(weights, np.array([1, 3, 9], np.float32)), [2, 9])


def test_patterns_are_shares_and_see_only_where_the_weights_are():
    plane = (_noise(32, 48) * 255).astype(np.uint8)
    plane[:, 24:] = 100
    left, right = np.zeros((2, 2, 32, 48), np.float32)
    left[:, 8:24, 4:20] = 1 / 256
    right[:, 8:24, 28:44] = 1 / 256
    rough = local_binary_patterns(Image.fromarray(plane), left)
    flat = local_binary_patterns(Image.fromarray(plane), right)
    assert [h.shape for h in rough] == [(2, 59)] * 3
    for histogram in (*rough, *flat):
        np.testing.assert_allclose((histogram**2).sum(axis=1), 1)
    assert (flat[0] == 1).sum() == 2  # one pattern, in both weightings: no neighbor is darker
    assert (rough[0][0] > 0).sum() > 20


def _directions(plane: np.ndarray) -> tuple[float, float, np.ndarray]:
    """Strength and sign of the first harmonic, and the histogram of coherence, at the finest scale."""
    blocks = scale_statistics(plane, _even(*plane.shape), n_scales=1, oriented=True)
    strength, signed, _, _, coherence = blocks[-5:]
    return float(strength[0]), float(signed[0]), coherence[0] ** 2


def test_stripes_agree_in_direction_and_noise_does_not():
    y, x = np.mgrid[:64, :64].astype(np.float32)
    upright, level = np.sin(x / 2), np.sin(y / 2)
    assert _directions(upright)[:2] == pytest.approx((1, 1), abs=0.05)
    assert _directions(level)[:2] == pytest.approx((1, -1), abs=0.05)
    strength, signed, coherence = _directions(np.sin((x + y) / 3))
    assert strength == pytest.approx(1, abs=0.05)
    assert signed == pytest.approx(0, abs=0.05)
    assert coherence[-1] > 0.9
    strength, _, coherence = _directions(_noise(64, 64))
    assert strength < 0.2
    assert coherence[-1] < 0.1


def test_patches_of_stripes_agree_from_place_to_place_only():
    y, x = np.mgrid[:64, :64].astype(np.float32)
    patches = np.where((x // 32 + y // 32) % 2 == 0, np.sin(x / 2), np.sin(y / 2))
    strength, _, coherence = _directions(patches)
    assert strength < 0.2
    assert coherence[-1] > 0.5


def test_coarse_grain_shows_at_coarse_scales():
    fine = _noise(64, 64)
    coarse = fine[::8, ::8].repeat(8, axis=0).repeat(8, axis=1)
    per_scale = len(scale_statistics(fine, _even(64, 64), n_scales=1, oriented=False))

    def detail(plane: np.ndarray) -> list[float]:
        blocks = scale_statistics(plane, _even(64, 64), n_scales=3, oriented=False)
        return [float(blocks[per_scale * scale + per_scale - 3][0]) for scale in range(3)]

    assert np.argmax(detail(fine)) == 0
    assert np.argmax(detail(coarse)) == 2


@pytest.mark.parametrize("value", [0, 1])
def test_a_flat_plane_gives_finite_numbers(value):
    plane = np.full((16, 24), value, np.float32)
    for block in scale_statistics(plane, _even(16, 24), n_scales=4, oriented=True):
        assert np.isfinite(block).all()
        assert len(block) == 2
