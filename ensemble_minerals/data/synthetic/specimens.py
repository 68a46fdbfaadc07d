"""A drawn mineral: what its surface is made of, how it is formed and colored, and the light that falls on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.spatial import KDTree

Field: TypeAlias = NDArray[np.floating]
"""A number for each pixel (side, side), or with a last axis of channels."""


class Habit(NamedTuple):
    """How crystals grow together: cells of a Voronoi diagram, each a small body. Heights are in widths of a cell."""

    across: tuple[int, int]  # cells across the photo, least and most
    stretch: float = 1.0  # length of a cell over its width
    square: bool = False  # whether cells are squares rather than round
    round: float = 0.0  # height of a ball
    tilt: float = 0.0  # slope of a facet
    ridge: float = 0.0  # height of a roof
    step: float = 0.0  # height of a terrace
    loose: bool = False  # whether the cells lie apart


class Mineral(NamedTuple):
    """Looks of a mineral. Colors are of linear light."""

    habits: tuple[str, ...]
    palettes: tuple[tuple[tuple[float, float, float], ...], ...]  # one is chosen, and read between its colors
    bands: float = 0.0  # contrast of concentric bands
    mottled: float = 0.25  # how far the color strays within its palette
    host: float = 0.0  # share of specimens in a rusty rock
    metal: float = 0.0
    gloss: float = 0.4
    clear: float = 0.0  # share of light from behind, at most


HABITS: Mapping[str, Habit] = {
    "lump": Habit((4, 9), tilt=0.5),
    "grains": Habit((12, 26), tilt=0.35),
    "pebbles": Habit((2, 6), round=0.9, loose=True),
    "knobs": Habit((7, 16), round=0.9),
    "prisms": Habit((6, 12), stretch=4.0, ridge=1.2, tilt=0.15),
    "cubes": Habit((4, 12), square=True, tilt=0.7, step=0.5),
    "sheets": Habit((2, 5), stretch=1.6, step=0.35, tilt=0.08),
    "flakes": Habit((8, 18), step=0.6, tilt=0.25),
}

_COPPER_GREEN = ((0.003, 0.07, 0.025), (0.05, 0.34, 0.14), (0.08, 0.42, 0.36))
_COPPER_BLUE = ((0.03, 0.3, 0.17), (0.05, 0.33, 0.4), (0.03, 0.24, 0.46), (0.35, 0.62, 0.6))
_RUST = ((0.2, 0.1, 0.05), (0.05, 0.04, 0.035))
_PEACOCK = ((0.36, 0.22, 0.12), (0.36, 0.1, 0.2), (0.14, 0.07, 0.36), (0.05, 0.16, 0.45), (0.4, 0.36, 0.16))

MINERALS: Mapping[str, Mineral] = {
    "biotite": Mineral(
        ("sheets", "flakes", "lump"),
        (((0.02, 0.018, 0.016), (0.08, 0.06, 0.05)), ((0.05, 0.035, 0.025), (0.25, 0.15, 0.08))),
        gloss=0.8,
    ),
    "bornite": Mineral(
        ("grains", "lump", "pebbles"), (_PEACOCK, _PEACOCK[::-1], _PEACOCK[:3]), metal=0.8, mottled=0.45
    ),
    "chrysocolla": Mineral(("pebbles", "knobs", "lump"), (_COPPER_BLUE, _COPPER_BLUE[::-1]), host=0.6),
    "malachite": Mineral(
        ("pebbles", "knobs", "lump"), (_COPPER_GREEN, _COPPER_GREEN[::-1]), bands=0.5, host=0.4, mottled=0.2
    ),
    "muscovite": Mineral(
        ("sheets", "flakes"),
        (((0.4, 0.36, 0.3), (0.62, 0.58, 0.5)), ((0.16, 0.11, 0.07), (0.4, 0.3, 0.2))),
        gloss=1.0,
        clear=0.4,
    ),
    "pyrite": Mineral(
        ("cubes", "grains"),
        (((0.5, 0.4, 0.2), (0.62, 0.5, 0.26)), ((0.5, 0.47, 0.4), (0.5, 0.36, 0.2)), _PEACOCK[:2]),
        metal=1.0,
    ),
    "quartz": Mineral(
        ("prisms", "lump", "pebbles"),
        (((0.6, 0.6, 0.6), (0.85, 0.85, 0.85)),) * 3
        + (
            ((0.6, 0.4, 0.38), (0.8, 0.6, 0.57)),
            ((0.12, 0.09, 0.07), (0.4, 0.33, 0.27)),
            ((0.3, 0.18, 0.5), (0.6, 0.5, 0.75)),
        ),
        gloss=1.2,
        clear=0.6,
    ),
}


def noise(rng: np.random.Generator, side: int, cells: int) -> Field:
    """Fractal noise: `cells` across in its coarsest octave, mean 0, standard deviation 1 (side, side)."""
    total = np.zeros((side, side), dtype=np.float32)
    for octave in range(4):
        lattice = rng.standard_normal((cells * 2**octave + 2,) * 2).astype(np.float32)
        larger = Image.fromarray(lattice).resize((side, side), Image.Resampling.BICUBIC)
        total += 0.55**octave * np.asarray(larger)
    total -= total.mean()
    total /= total.std() + 1e-6
    return total


def blend(colors: ArrayLike, share: Field) -> Field:
    """Read a row of colors (n, 3) at positions from 0 to 1 (side, side), clipped (side, side, 3)."""
    stops = np.asarray(colors)
    at = np.linspace(0.0, 1.0, len(stops))
    return np.stack([np.interp(share, at, channel) for channel in stops.T], axis=-1).astype(np.float32)


def draw_specimen(rng: np.random.Generator, mineral: Mineral, behind: Field) -> Field:
    """Draw a specimen in front of a background; both are linear light (side, side, 3)."""
    side = len(behind)
    mask, height, crystal = _grow(rng, HABITS[mineral.habits[rng.integers(len(mineral.habits))]], side)
    clear = mineral.clear * rng.random()
    color = _paint(rng, mineral, crystal)
    color = color * (1.0 - clear) + behind * (0.3 + 0.7 * color) * clear
    shadow = gaussian_filter(np.roll(mask, (side // 20, side // 30), (0, 1)).astype(np.float32), side / 25)
    ground = behind * (1.0 - rng.uniform(0.0, 0.7) * shadow)[..., None]
    seen: Field = np.where(mask[..., None], _shade(rng, height, color, mineral), ground)
    return seen


def _grow(
    rng: np.random.Generator, habit: Habit, side: int
) -> tuple[NDArray[np.bool_], Field, NDArray[np.intp]]:
    """A rough lump of crystals: where it is, its height in pixels, the number of the crystal; each (side, side)."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    angle, size = rng.uniform(-np.pi, np.pi), rng.uniform(0.6, 1.4)
    along, aside = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    body = size**2 - along**2 - (aside * rng.uniform(1.0, 1.5)) ** 2 + 0.12 * noise(rng, side, 4)

    across = int(rng.integers(*habit.across, endpoint=True))
    n_crystals = round(2.25 * across**2)
    seeds = rng.uniform(-1.5, 1.5, (n_crystals, 2)) / (habit.stretch, 1.0)
    warp = 0.1 / across * noise(rng, side, 6)
    places = np.stack([along / habit.stretch + warp, aside + warp], axis=-1)
    distances, owners = KDTree(seeds).query(places, k=2, p=np.inf if habit.square else 2.0)
    crystal, (near, second) = owners[..., 0], np.moveaxis(distances, -1, 0) * across / 2
    lean = (places - seeds[crystal]) * rng.normal(0.0, habit.tilt, (n_crystals, 2))[crystal]
    cell = lean.sum(axis=-1) * across / 2 + habit.step * rng.random(n_crystals)[crystal]
    cell += habit.round * np.sqrt(np.clip(1.0 - near**2, 0.0, None)) + habit.ridge * np.minimum(
        second - near, 0.5
    )
    mask = body > 0
    if habit.loose:
        mask &= (near < 0.6) & (rng.random(n_crystals) < 0.8)[crystal]
    relief = gaussian_filter(0.25 * np.sqrt(np.clip(body, 0.0, None)) + cell / across, 0.6) * side
    return mask, relief + rng.uniform(0.1, 0.4) * noise(rng, side, 20), crystal


def _paint(rng: np.random.Generator, mineral: Mineral, crystal: NDArray[np.intp]) -> Field:
    """Body color of each pixel (side, side, 3)."""
    side = len(crystal)
    share = rng.uniform(0.15, 0.85) + mineral.mottled * noise(rng, side, 3)
    share += 0.12 * rng.normal(size=crystal.max() + 1)[crystal]
    if mineral.bands:
        y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
        rings = np.hypot(x - rng.uniform(-0.6, 0.6), y - rng.uniform(-0.6, 0.6)) + 0.06 * noise(rng, side, 3)
        share += mineral.bands * rng.uniform(0.2, 1.0) * np.sin(rings * rng.uniform(15, 50))
    grain = noise(rng, side, 20)
    color = (
        blend(mineral.palettes[rng.integers(len(mineral.palettes))], share) * (1.0 + 0.1 * grain)[..., None]
    )
    if rng.random() < mineral.host:
        seams = np.clip(3.0 * (noise(rng, side, 3) - rng.uniform(0.3, 1.5)), 0.0, 1.0)[..., None]
        color = color * (1.0 - seams) + blend(_RUST, 0.5 + 0.3 * grain) * seams
    painted: Field = np.clip(color, 0.0, None) * rng.uniform(0.7, 1.3)
    return painted


def _shade(rng: np.random.Generator, height: Field, color: Field, mineral: Mineral) -> Field:
    """Light from one to three lamps: diffuse by Lambert's law, mirrored by that of Phong; metals mirror in color."""
    down, right = np.gradient(height)
    normal = np.stack([-right, -down, np.ones_like(height)], axis=-1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    mirror = 2.0 * normal[..., 2:] * normal - (0.0, 0.0, 1.0)
    sky, polish = rng.uniform(0.2, 0.5), rng.uniform(8, 60)
    diffuse, mirrored = np.full_like(height, sky), sky * np.clip(0.5 - mirror[..., 1], 0.05, 1.0)
    for _ in range(rng.integers(1, 4)):
        angle, elevation, power = rng.uniform(-np.pi, 0.0), rng.uniform(0.4, 1.2), rng.uniform(0.3, 0.8)
        flat = np.cos(elevation)
        lamp = (flat * np.cos(angle), flat * np.sin(angle), np.sin(elevation))
        diffuse += power * np.clip(normal @ lamp, 0.0, None)
        mirrored += power * 4.0 * np.exp(polish * (mirror @ lamp - 1.0))
    stone = color * diffuse[..., None] + 0.1 * mineral.gloss * mirrored[..., None]
    metal = color * (0.2 * diffuse + 1.4 * mirrored)[..., None]
    lit: Field = stone * (1.0 - mineral.metal) + metal * mineral.metal
    return lit
