"""Solids hide each other as they should, and light falls where the lamp is."""

from __future__ import annotations

import numpy as np
import pytest

from ensemble_minerals.data.synthetic.lighting import Light, Material, shade
from ensemble_minerals.data.synthetic.solids import Relief, box, rotation
from ensemble_minerals.data.synthetic.textures import cells, noise, strata


def test_cube_is_seen_as_a_cube() -> None:
    relief = Relief(64)
    cube = box(np.random.default_rng(0), jitter=0.0)
    relief.add_facets(cube, rotation(0.0, 0.0, 0.0), (0.0, 0.0, 0.0), 0.5)
    assert relief.mask.mean() == pytest.approx(0.25)
    np.testing.assert_allclose(relief.depth[relief.mask], 0.5, atol=1e-5)
    np.testing.assert_allclose(relief.normals(), np.tile([0, 0, 1], (int(relief.mask.sum()), 1)), atol=1e-5)
    np.testing.assert_allclose(relief.local()[relief.mask][:, 2], 1.0, atol=1e-4)


def test_nearer_solid_hides_the_farther_one_whatever_the_order() -> None:
    upright = rotation(0.0, 0.0, 0.0)
    for near_first in (True, False):
        relief = Relief(32)
        for height in (0.5, -0.5) if near_first else (-0.5, 0.5):
            relief.add_ellipsoid((0.4, 0.4, 0.4), upright, (0.0, 0.0, height))
        assert relief.depth[16, 16] == pytest.approx(0.9, abs=0.01)
        assert relief.piece[16, 16] == (0 if near_first else 1)


def test_sphere_is_brightest_towards_the_lamp() -> None:
    relief = Relief(64)
    relief.add_ellipsoid((0.8, 0.8, 0.8), rotation(0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    color = np.full((64, 64, 3), 0.5, dtype=np.float32)
    lamp = Light(np.asarray([[-0.8, 0.0, 0.6]], np.float32), np.ones(1, np.float32), 0.1)
    image = shade(
        relief, Material(color, np.zeros((64, 64), np.float32), gloss=0.0), lamp, np.zeros_like(color)
    )
    assert image[32, 16].mean() > 2 * image[32, 48].mean()
    assert not image[~relief.mask].any()


def test_textures_have_their_ranges() -> None:
    rng = np.random.default_rng(0)
    field = noise(rng, 50, 3, octaves=9)
    assert field.mean() == pytest.approx(0.0, abs=1e-4)
    assert field.std() == pytest.approx(1.0, abs=1e-3)
    near, border, owner = cells(rng, 50, 6)
    assert near.min() >= 0
    assert near.max() < 1.5
    assert border.min() >= 0
    assert len(np.unique(owner)) > 30
    assert np.abs(strata(rng, 40 * field)).max() <= 1.0
