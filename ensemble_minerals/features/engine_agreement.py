"""Whether two engines compute the same features: compared on images drawn by code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Precision: TypeAlias = Literal["float32", "bfloat16", "int8"]

BOUNDS: Mapping[Precision, float] = {"float32": 0.999, "bfloat16": 0.9, "int8": 0.7}
"""Least agreement of any layer with PyTorch in float32, see `agreement`.

The probes vary less than photos do: networks that agree to 0.91 on them in bfloat16 agree to 0.98 on photos. In int8
they are compared on photos, and whether the answers stay as good is asked afterwards.
"""
PROBES = 8


def agreement(
    expected: NDArray[np.float32], computed: NDArray[np.float32], layers: Mapping[str, slice]
) -> dict[str, float]:
    """Cosine between two engines' features of the same images, layer by layer.

    Features are first centered and divided by their standard deviation over the images, as a classifier will do;
    otherwise a constant that all images have in common would hide any difference. Features that hardly vary over
    the few images are divided by a tenth of the layer's usual deviation instead.

    Args:
        expected: Features by the reference engine, shape (n, n_features).
        computed: Features by the other engine, same shape.
        layers: Columns of each layer.

    Example:
        >>> features = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0]], dtype=np.float32)
        >>> agreement(features, features, {"last": slice(0, 2)})
        {'last': 1.0}
    """
    agreed = {}
    for name, columns in layers.items():
        reference, other = expected[:, columns].astype(np.float64), computed[:, columns].astype(np.float64)
        center, spread = reference.mean(0), reference.std(0)
        spread = np.maximum(spread, 0.1 * np.sqrt(np.mean(spread**2)))
        if not spread.any():
            agreed[name] = float(np.array_equal(reference, other))
            continue
        a, b = (reference - center) / spread, (other - center) / spread
        cosine = float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))
        agreed[name] = cosine if np.isfinite(cosine) else 0.0
    return agreed


def probes(size: int) -> list[NDArray[np.uint8]]:
    """Draw images that resemble photos enough to compare engines: shading, grain of all scales, an outline.

    Args:
        size: Side of each in pixels.
    """
    rng = np.random.default_rng(0)
    y, x = (grid / size for grid in np.mgrid[:size, :size])
    drawn = []
    for _ in range(PROBES):
        outline = (x - rng.uniform(0.4, 0.6)) ** 2 + (y - rng.uniform(0.4, 0.6)) ** 2 < rng.uniform(
            0.25, 0.45
        ) ** 2
        grounds = [_grain(rng, size, octaves) for octaves in (8, 3)]
        image = np.where(outline[..., None], *grounds) * (0.6 + 0.8 * x[..., None])
        drawn.append(np.clip(image, 0, 255).astype(np.uint8))
    return drawn


def _grain(rng: np.random.Generator, size: int, octaves: int) -> NDArray[np.float64]:
    ground = rng.uniform(20, 220) + rng.normal(0, 25, 3) * np.ones((size, size, 1))
    for octave in range(1, octaves + 1):
        noise = rng.normal(0, rng.uniform(10, 80) / octave, (2**octave, 2**octave)).astype(np.float32)
        smooth = Image.fromarray(noise).resize((size, size), Image.Resampling.BICUBIC)
        ground += np.asarray(smooth)[..., None]
    return ground
