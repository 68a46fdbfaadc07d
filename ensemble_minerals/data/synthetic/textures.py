"""Drawn textures of the demonstration set: noise, veins, strata, cells and palettes."""

from __future__ import annotations

from itertools import product
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

Field: TypeAlias = NDArray[np.float32]
"""Real numbers in single precision: one for each pixel (side, side), or with a last axis of channels."""


def noise(rng: np.random.Generator, side: int, cells: int, octaves: int = 4, gain: float = 0.55) -> Field:
    """Draw fractal value noise: smooth random lattices of growing fineness and falling weight.

    Args:
        rng: Random generator.
        side: Width and height in pixels.
        cells: Lattice cells across the image in the coarsest octave.
        octaves: Number of octaves, each twice as fine as the one before; those finer than a pixel are left out.
        gain: Amplitude of an octave over that of the one before.

    Returns:
        A field (side, side) with mean 0 and standard deviation 1.
    """
    width = cells
    total = rng.standard_normal((width + 2, width + 2)).astype(np.float32)
    for octave in range(1, octaves):
        if 2 * width > side:
            break
        # Doubling the sum so far costs a quarter of drawing every octave at full size.
        total = _enlarge(total, 2 * width + 2, 1.0)
        width *= 2
        total += gain**octave * rng.standard_normal(total.shape).astype(np.float32)
    total = _enlarge(total, side, rng.uniform(0.5, 1.5))
    total -= total.mean()
    total /= total.std() + 1e-6
    return total


def _enlarge(lattice: Field, side: int, margin: float) -> Field:
    """Enlarge a lattice to (side, side), leaving out `margin` cells at the left and top, the rest at the others."""
    inner = len(lattice) - 2
    box = (margin, margin, margin + inner, margin + inner)
    larger = Image.fromarray(lattice).resize((side, side), Image.Resampling.BICUBIC, box=box)
    return np.array(larger, dtype=np.float32)


def veins(rng: np.random.Generator, side: int, cells: int, width: float) -> Field:
    """Draw thin winding lines: the zero crossings of a noise, 1 on the line and 0 away from it."""
    line: Field = np.exp(-np.square(noise(rng, side, cells, octaves=3) / width))
    return line


def strata(rng: np.random.Generator, position: Field, sharpness: float = 1.0) -> Field:
    """Look positions up in a random layered profile, as growth bands and cleavage steps have it.

    Args:
        rng: Random generator.
        position: Distance across the layers; a layer is about one unit thick.
        sharpness: Below 1 soft transitions, above 1 crisp ones.

    Returns:
        The profile at each position, in -1 to 1, with the shape of `position`.
    """
    profile = rng.standard_normal(512)
    profile = np.tanh(sharpness * np.repeat(profile, 4))
    profile = np.convolve(np.r_[profile, profile[:5]], np.hanning(7)[1:-1] / np.hanning(7).sum(), mode="same")
    index = np.mod(position * 4.0, 2048.0).astype(np.intp)
    layered: Field = profile.astype(np.float32)[np.minimum(index, 2047)]
    return layered


def cells(rng: np.random.Generator, side: int, across: int) -> tuple[Field, Field, NDArray[np.intp]]:
    """Divide the square among scattered seeds, one in each square of a jittered grid (Worley noise).

    Args:
        rng: Random generator.
        side: Width and height in pixels.
        across: Seeds across the image.

    Returns:
        Distance to the nearest seed and to the border of its cell, both in units of the seed spacing, and the
        number of the nearest seed, below (across + 2) squared; each (side, side).
    """
    wide = across + 2
    jitter = rng.random((2, wide, wide)).astype(np.float32)
    axis = 1.0 + (np.arange(side, dtype=np.float32) + 0.5) * (across / side)
    square = np.floor(axis).astype(np.intp)
    first = np.full((side, side), np.inf, dtype=np.float32)
    second = first.copy()
    owner = np.zeros((side, side), dtype=np.intp)
    for down, right in product((-1, 0, 1), repeat=2):
        rows, columns = square[:, None] + down, square[None, :] + right
        number = rows * wide + columns
        y = jitter[0].take(number) + (rows - axis[:, None]).astype(np.float32)
        x = jitter[1].take(number) + (columns - axis[None, :]).astype(np.float32)
        distance = x * x + y * y
        nearer = distance < first
        np.minimum(second, np.maximum(first, distance), out=second)
        np.copyto(owner, number, where=nearer)
        np.minimum(first, distance, out=first)
    first, second = np.sqrt(first), np.sqrt(second)
    return first, second - first, owner


def lookup(colors: ArrayLike, position: Field) -> Field:
    """Read a row of colors (n, 3) at positions 0 to 1 (...), clipped: a smooth palette (..., 3)."""
    stops = np.asarray(colors, dtype=np.float64)
    fine = np.linspace(0.0, len(stops) - 1.0, 256)
    palette = np.stack([np.interp(fine, np.arange(len(stops)), channel) for channel in stops.T], axis=1)
    index = np.clip(position * 255.0, 0.0, 255.0).astype(np.intp)
    colored: Field = palette.astype(np.float32)[index]
    return colored


def blend(low: ArrayLike, high: ArrayLike, share: Field) -> Field:
    """Mix two colors (3,) or color fields (..., 3) by a share (...) that is clipped to 0 to 1."""
    weight = np.clip(share, 0.0, 1.0)[..., None]
    mixed: Field = (
        np.asarray(low, dtype=np.float32) * (1.0 - weight) + np.asarray(high, dtype=np.float32) * weight
    )
    return mixed
