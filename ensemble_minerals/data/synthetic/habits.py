"""Shapes (habits) that several minerals have: lumps, pebbles, knobs and crusts of crystals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ensemble_minerals.data.synthetic.solids import Facets, Relief, lump, rotation
from ensemble_minerals.data.synthetic.textures import Field, cells, noise

_CLOSE_VIEWS = 0.25
_UPRIGHT = np.eye(3, dtype=np.float32)


def any_turn(rng: np.random.Generator) -> Field:
    """A random rotation (3, 3)."""
    return rotation(*rng.uniform(-np.pi, np.pi, size=3))


def empty_relief(rng: np.random.Generator, side: int, roughness: float) -> Relief:
    """An empty relief; its outlines will be distorted by `roughness`, and some reliefs are close views."""
    warp = (roughness * noise(rng, side, 5, 5, 0.6), roughness * noise(rng, side, 5, 5, 0.6))
    if rng.random() < _CLOSE_VIEWS:
        return Relief(side, warp, rng.uniform(1.5, 2.5), (rng.uniform(-0.2, 0.2), rng.uniform(-0.2, 0.2)))
    return Relief(side, warp)


def add_lump(rng: np.random.Generator, relief: Relief, size: float, faces: int = 12) -> None:
    """Add a broken piece of rock near the middle."""
    stretch = (1.0, float(rng.uniform(0.6, 0.95)), float(rng.uniform(0.5, 0.8)))
    center = (*rng.uniform(-0.12, 0.12, size=2), 0.0)
    relief.add_facets(lump(rng, faces, stretch), rotation(0.0, 0.0, rng.uniform(-np.pi, np.pi)), center, size)


def rock(rng: np.random.Generator, side: int, roughness: float = 0.03) -> Relief:
    """A relief with one rough lump."""
    relief = empty_relief(rng, side, roughness)
    add_lump(rng, relief, rng.uniform(0.6, 0.95))
    return relief


def pebbles(rng: np.random.Generator, side: int) -> Relief:
    """A relief with one tumbled stone, a handful, or many."""
    relief = empty_relief(rng, side, 0.012)
    count = int(rng.choice([1, 3, 7, 16, 40], p=[0.3, 0.2, 0.2, 0.2, 0.1]))
    size = {1: 0.75, 3: 0.42, 7: 0.3, 16: 0.24, 40: 0.26}[count]
    spread = min(0.95, 0.12 * count)
    for _ in range(count):
        axes = size * rng.uniform(0.65, 1.1, size=3) * (1.0, 0.8, 0.6)
        turn = rotation(0.0, rng.uniform(0, 0.5), rng.uniform(-np.pi, np.pi))
        relief.add_ellipsoid((axes[0], axes[1], axes[2]), turn, (*rng.uniform(-spread, spread, size=2), 0.0))
    return relief


def knobs(rng: np.random.Generator, side: int) -> Relief:
    """A relief with a crust of grape-like (botryoidal) knobs on a lump."""
    relief = rock(rng, side)
    size = rng.uniform(0.08, 0.2)
    for x, y, z in surface_points(rng, relief, int(rng.integers(50, 110))):
        radius = size * rng.uniform(0.5, 1.2)
        relief.add_ellipsoid((radius, radius, radius), _UPRIGHT, (x, y, z - 0.45 * radius))
    return relief


def surface_points(rng: np.random.Generator, relief: Relief, count: int) -> list[tuple[float, float, float]]:
    """World coordinates of random points on the surface of a relief."""
    rows, columns = np.nonzero(relief.mask)
    chosen = rng.integers(0, len(rows), size=count)
    at = rows[chosen], columns[chosen]
    return list(zip(relief.x[at].tolist(), relief.y[at].tolist(), relief.depth[at].tolist(), strict=True))


def crust(
    rng: np.random.Generator,
    relief: Relief,
    count: int,
    size: float,
    grow: Callable[[np.random.Generator], Facets],
    turn: Callable[[np.random.Generator], Field],
) -> None:
    """Cover a relief with small crystals that stick out of it."""
    for x, y, z in surface_points(rng, relief, count):
        scale = size * rng.uniform(0.4, 1.3)
        relief.add_facets(grow(rng), turn(rng), (x, y, z - 0.2 * scale), scale)


def tones(rng: np.random.Generator, relief: Relief, spread: float) -> Field:
    """A random brightness for each piece and face, around 1 (side, side)."""
    table = 1.0 + spread * rng.uniform(-1.0, 1.0, size=(relief.pieces + 1, 24))
    toned: Field = table.astype(np.float32)[relief.piece, relief.face % 24]
    return toned


def grains(rng: np.random.Generator, side: int, across: int, lean: float) -> tuple[Field, Field]:
    """Crystal grains: a random slope (side, side, 2) and a tone around 0 (side, side) for each grain."""
    _, _, owner = cells(rng, side, across)
    table = rng.normal(0.0, 1.0, size=((across + 2) ** 2, 3)).astype(np.float32)[owner]
    return lean * table[..., :2], table[..., 2]
