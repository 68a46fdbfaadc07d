"""Seven minerals, each in several habits, grown from solids and textures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ensemble_minerals.data.synthetic.habits import (
    add_lump,
    any_turn,
    crust,
    empty_relief,
    grains,
    knobs,
    pebbles,
    rock,
    tones,
)
from ensemble_minerals.data.synthetic.lighting import Material
from ensemble_minerals.data.synthetic.solids import Facets, Relief, box, plate, prism, rotation
from ensemble_minerals.data.synthetic.textures import Field, blend, cells, lookup, noise, strata, veins

_PEACOCK = (
    (0.4, 0.24, 0.1),
    (0.36, 0.1, 0.2),
    (0.14, 0.07, 0.36),
    (0.05, 0.16, 0.45),
    (0.05, 0.36, 0.4),
    (0.4, 0.4, 0.16),
)


@dataclass(frozen=True)
class Specimen:
    """A shape and its surface."""

    relief: Relief
    material: Material


def _mica(rng: np.random.Generator, side: int, color: Field, clarity: float, thick: float) -> Specimen:
    """Sheets with perfect basal cleavage: stacked in a book, strewn about, or flaking from a lump."""
    habit = rng.choice(["book", "strewn", "schist"], p=[0.5, 0.27, 0.23])
    relief = empty_relief(rng, side, 0.012)
    if habit == "book":
        tilt = rng.uniform(0.1, 0.7) if rng.random() < 0.6 else rng.uniform(1.0, 1.35)
        turn, spin, count = rng.uniform(-np.pi, np.pi), rng.uniform(-np.pi, np.pi), int(rng.integers(4, 15))
        axis = rotation(spin, tilt, turn)[:, 2]
        size = rng.uniform(0.5, 0.85)
        thickness = thick * rng.uniform(0.6, 1.6)
        for layer in range(count):
            shift = 1.9 * thickness * size * (layer - count / 2) * axis + rng.normal(0, 0.07, 3) * (1, 1, 0.1)
            wobble = rng.normal(0, 0.05, size=3)
            pose = rotation(spin + 2 * wobble[0], tilt + wobble[1], turn + wobble[2])
            sheet = plate(rng, thickness, rng.uniform(0.2, 1.0))
            relief.add_facets(sheet, pose, (shift[0], shift[1], shift[2]), size * rng.uniform(0.7, 1.0))
    elif habit == "strewn":
        for _ in range(int(rng.integers(3, 16))):
            pose = rotation(rng.uniform(-3, 3), rng.uniform(0, 0.5), rng.uniform(-3, 3))
            center = (*rng.uniform(-0.6, 0.6, size=2), rng.uniform(0.0, 0.1))
            relief.add_facets(plate(rng, thick, 1.0), pose, center, rng.uniform(0.15, 0.5))
    else:
        add_lump(rng, relief, rng.uniform(0.6, 0.9))
        tilt, turn = rng.uniform(0.0, 1.2), rng.uniform(-np.pi, np.pi)

        def flake(rng: np.random.Generator) -> Facets:
            return plate(rng, 0.12, 1.0)

        def lie(rng: np.random.Generator) -> Field:
            return rotation(rng.uniform(-3, 3), tilt + rng.normal(0, 0.35), turn + rng.normal(0, 0.4))

        crust(rng, relief, int(rng.integers(60, 140)), rng.uniform(0.08, 0.22), flake, lie)
    edge = (relief.face >= 2).astype(np.float32)
    flat = 1.0 - edge
    steps = 0.5 * np.floor(1.5 * noise(rng, side, 3, 3))
    lines = strata(rng, relief.local()[..., 2] * rng.uniform(40, 90) + 0.3 * steps, 2.0)
    cracks = veins(rng, side, int(rng.integers(2, 5)), 0.05) * rng.uniform(0.1, 0.9)
    lean, grain = grains(rng, side, int(rng.integers(4, 24)), rng.uniform(0.02, 0.08))
    tone = tones(rng, relief, 0.25) * (1.0 + flat * (0.1 * steps + 0.5 * cracks) + 0.45 * edge * lines)
    bump = flat * (0.3 * steps + 0.5 * cracks) + edge * 0.35 * lines + 0.1 * noise(rng, side, 9, 4)
    return Specimen(
        relief,
        Material(
            color=color * (tone * (1.0 + 0.06 * grain))[..., None],
            bump=bump,
            lean=lean,
            gloss=(1.0 - 0.5 * edge) * rng.uniform(0.6, 2.2),
            polish=rng.uniform(8, 50),
            clarity=(1.0 - 0.7 * edge) * clarity * (1.0 - 0.6 * cracks),
            metal=rng.uniform(0.1, 0.4) if rng.random() < 0.5 else 0.0,
        ),
    )


def biotite(rng: np.random.Generator, side: int) -> Specimen:
    """Black to bronze mica, opaque, in thick books and flakes."""
    share = rng.beta(0.6, 2.2)
    low = np.asarray([0.018, 0.016, 0.015]) * rng.uniform(0.7, 1.8)
    high = np.asarray([0.25, 0.15, 0.08]) * rng.uniform(0.5, 1.3)
    color = blend(low, high, share + 0.15 * noise(rng, side, 3, 3))
    return _mica(rng, side, color, clarity=0.0, thick=0.05)


def muscovite(rng: np.random.Generator, side: int) -> Specimen:
    """Silvery to brown mica in thin clear sheets."""
    share = rng.beta(1.2, 1.2)
    low = np.asarray([0.62, 0.58, 0.5]) * rng.uniform(0.7, 1.2)
    high = np.asarray([0.26, 0.18, 0.11]) * rng.uniform(0.5, 1.4)
    color = blend(low, high, share + 0.15 * noise(rng, side, 3, 3))
    return _mica(rng, side, color, clarity=rng.uniform(0.1, 0.65), thick=0.022)


def quartz(rng: np.random.Generator, side: int) -> Specimen:
    """Clear, milky, rose, smoky, violet or yellow; six-sided prisms, glassy lumps, tumbled stones."""
    tints = [(0.8, 0.8, 0.8), (0.75, 0.5, 0.48), (0.25, 0.19, 0.15), (0.42, 0.28, 0.6), (0.8, 0.55, 0.2)]
    tint = np.asarray(tints[int(rng.choice(5, p=[0.55, 0.15, 0.14, 0.07, 0.09]))]) * rng.uniform(0.7, 1.15)
    habit = rng.choice(["cluster", "point", "lump", "tumbled"], p=[0.38, 0.22, 0.26, 0.14])
    relief = empty_relief(rng, side, 0.004)
    if habit == "cluster":
        fan = rng.uniform(0.5, 1.3)
        turn = rng.uniform(-0.5, 0.5) + np.pi * float(rng.random() < 0.5)
        for _ in range(int(rng.integers(8, 26))):
            thickness = rng.uniform(0.07, 0.2)
            length = rng.uniform(2.0, 4.5)
            tilt, aside = fan + rng.normal(0, 0.35), turn + rng.normal(0, 0.55)
            pose = rotation(rng.uniform(-3, 3), tilt, aside)
            reach = pose[:, 2] * thickness * length * 0.6
            center = (reach[0] + rng.normal(0, 0.22), reach[1] + rng.normal(0, 0.12), reach[2])
            relief.add_facets(prism(rng, length), pose, center, thickness)
    elif habit == "point":
        for _ in range(int(rng.choice([1, 1, 2, 4]))):
            pose = rotation(rng.uniform(-3, 3), rng.uniform(1.0, 1.6), rng.uniform(-3, 3))
            center = (*rng.uniform(-0.3, 0.3, size=2), 0.0)
            relief.add_facets(prism(rng, rng.uniform(1.8, 3.5)), pose, center, rng.uniform(0.16, 0.32))
    elif habit == "lump":
        add_lump(rng, relief, rng.uniform(0.6, 0.95), faces=30)
    else:
        relief = pebbles(rng, side)
    clouds = noise(rng, side, 3, 5)
    milky = np.clip(rng.uniform(-0.5, 0.9) + 0.25 * clouds, 0.0, 1.0)
    flaws = veins(rng, side, int(rng.integers(2, 6)), 0.06) * rng.uniform(0.0, 0.8)
    lines = strata(rng, relief.local()[..., 2] * rng.uniform(8, 16), 1.0) * (relief.face < 6)
    shells = np.zeros((side, side), dtype=np.float32)
    lean = None
    if habit == "lump":
        near, _, _ = cells(rng, side, int(rng.integers(2, 5)))
        shells = 2.2 * np.square(near) * side / 40 + 0.15 * np.sin(near * rng.uniform(18, 40))
        lean, _ = grains(rng, side, int(rng.integers(4, 14)), rng.uniform(0.05, 0.3))
    tone = tones(rng, relief, rng.uniform(0.1, 0.45)) * (1.0 + 0.06 * clouds) + 0.4 * flaws
    bump = 0.25 * lines + 0.12 * noise(rng, side, 6, 3) + 0.4 * flaws + shells
    return Specimen(
        relief,
        Material(
            color=(tint * tone[..., None]).astype(np.float32),
            bump=bump,
            lean=lean,
            gloss=rng.uniform(1.0, 4.0),
            polish=rng.uniform(20, 120),
            clarity=(0.75 * (1.0 - milky)).astype(np.float32),
        ),
    )


def pyrite(rng: np.random.Generator, side: int) -> Specimen:
    """Brass metal: striated cubes alone, grown together, set in slate, or as a granular crust."""
    habit = rng.choice(["cluster", "slate", "crust", "single"], p=[0.33, 0.2, 0.32, 0.15])
    relief = empty_relief(rng, side, 0.006)
    if habit == "cluster":
        for _ in range(int(rng.integers(6, 30))):
            center = (*rng.normal(0, 0.3, size=2), rng.normal(0, 0.15))
            relief.add_facets(box(rng), any_turn(rng), center, rng.uniform(0.08, 0.26))
    elif habit == "slate":
        add_lump(rng, relief, rng.uniform(0.7, 0.95))
        crust(rng, relief, int(rng.integers(3, 14)), rng.uniform(0.08, 0.25), box, any_turn)
    elif habit == "crust":
        relief = rock(rng, side, 0.02)
        crust(rng, relief, int(rng.integers(90, 200)), rng.uniform(0.03, 0.09), box, any_turn)
    else:
        center = (*rng.uniform(-0.1, 0.1, size=2), 0.0)
        relief.add_facets(box(rng), any_turn(rng), center, rng.uniform(0.28, 0.45))
    stripe = np.take_along_axis(relief.local(), ((relief.face // 2 + 1) % 3)[..., None], axis=-1)[..., 0]
    lines = strata(rng, (stripe + 2.0) * rng.uniform(6, 18), 1.5)
    grain = noise(rng, side, 20, 4, 0.8)
    pale = rng.beta(1.2, 1.5) + 0.1 * noise(rng, side, 3, 2)
    brass = blend((0.62, 0.5, 0.26), (0.5, 0.47, 0.4), pale)
    tarnish = np.clip(rng.uniform(-1.0, 0.7) + 0.35 * noise(rng, side, 3, 3), 0.0, 0.85)
    film = lookup(_PEACOCK, 0.4 + 0.3 * noise(rng, side, 2, 3))
    color = blend(brass, film, tarnish) * (tones(rng, relief, 0.25) + 0.08 * lines)[..., None]
    metal = np.ones((side, side), dtype=np.float32)
    if habit == "slate":
        slate = relief.piece < 1
        metal[slate] = 0.0
        color[slate] = (rng.uniform(0.06, 0.25) * (1.0 + 0.25 * grain[..., None]) * (1.0, 0.97, 0.93))[slate]
    return Specimen(
        relief,
        Material(
            color=color,
            bump=(rng.uniform(0.1, 0.6) * lines + 0.1 * grain).astype(np.float32),
            metal=metal,
            gloss=0.4,
            polish=rng.uniform(15, 60),
        ),
    )


def bornite(rng: np.random.Generator, side: int) -> Specimen:
    """Peacock ore: granular bronze metal under a film of blue, violet, teal and gold."""
    relief = pebbles(rng, side) if rng.random() < 0.25 else rock(rng, side, rng.uniform(0.015, 0.05))
    lean, facet = grains(rng, side, int(rng.integers(7, 26)), rng.uniform(0.1, 0.35))
    grain = noise(rng, side, 14, 5, 0.75)
    bronze = blend((0.36, 0.22, 0.12), (0.36, 0.33, 0.26), rng.random() + 0.2 * grain)
    thickness = rng.normal(0.45, 0.16) + rng.uniform(0.06, 0.25) * noise(rng, side, 3, 4) + 0.06 * facet
    film = lookup(_PEACOCK, thickness + 0.05 * grain) * rng.uniform(0.6, 1.3)
    tarnish = rng.normal(0.6, 0.42) + 0.35 * noise(rng, side, 3, 4) + 0.1 * facet
    color = blend(bronze, film, tarnish) * (1.0 + 0.15 * grain)[..., None]
    return Specimen(
        relief,
        Material(
            color=np.clip(color, 0.01, None),
            bump=rng.uniform(0.2, 0.7) * grain,
            lean=lean,
            metal=np.clip(0.8 + 0.3 * noise(rng, side, 3, 3), 0.2, 1.0),
            gloss=0.6,
            polish=rng.uniform(8, 40),
        ),
    )


def _green_copper(
    rng: np.random.Generator, relief: Relief, color: Field, bump: Field, host: Field
) -> Specimen:
    """Finish a copper mineral: rusty or black host rock where `host` is above 0, polish by chance."""
    side = relief.side
    grain = noise(rng, side, 16, 4, 0.75)
    rust = blend((0.2, 0.1, 0.05), (0.05, 0.04, 0.035), rng.random() + 0.3 * grain)
    share = np.clip(0.5 + 3.0 * host, 0.0, 1.0).astype(np.float32)
    mixed = blend(color, rust, share) * (1.0 + 0.08 * grain)[..., None]
    polished = rng.random() < 0.4
    return Specimen(
        relief,
        Material(
            color=np.clip(mixed, 0.005, None).astype(np.float32),
            bump=(bump + (0.02 if polished else 0.35) * grain).astype(np.float32),
            gloss=rng.uniform(0.6, 1.2) if polished else rng.uniform(0.1, 0.4),
            polish=rng.uniform(60, 150) if polished else rng.uniform(8, 20),
        ),
    )


def malachite(rng: np.random.Generator, side: int) -> Specimen:
    """Green in concentric bands: tumbled, sliced, knobby or as a rough lump."""
    habit = rng.choice(["tumbled", "rock", "knobs"], p=[0.4, 0.36, 0.24])
    relief = {"tumbled": pebbles, "rock": rock, "knobs": knobs}[str(habit)](rng, side)
    shift = np.asarray(rng.uniform(-2, 2, size=(relief.pieces + 1, 3)), dtype=np.float32)[relief.piece]
    eyes = rng.uniform(-0.8, 0.8, size=(int(rng.integers(1, 4)), 3)).astype(np.float32)
    point = relief.local() * (1.0, 1.0, 0.6) + (shift if habit == "tumbled" else 0.0)
    rings = np.min([np.linalg.norm(point - eye, axis=-1) for eye in eyes], axis=0)
    wavy = rings * rng.uniform(5, 16) + rng.uniform(0.1, 0.8) * noise(rng, side, 3, 4)
    bands = strata(rng, wavy, rng.uniform(0.6, 2))
    contrast = rng.uniform(0.3, 0.65) if rng.random() < 0.7 else 0.05
    hue = rng.beta(1.1, 1.8) + 0.18 * noise(rng, side, 2, 4)
    light = blend((0.06, 0.42, 0.17), (0.1, 0.44, 0.5), hue)
    dark = blend((0.003, 0.07, 0.025), (0.01, 0.1, 0.12), hue)
    color = blend(dark, light, rng.uniform(0.3, 0.5) + contrast * bands + 0.1 * noise(rng, side, 4, 4))
    host = noise(rng, side, 3, 4) - (rng.uniform(0.8, 2.5) if habit != "tumbled" else 3.0)
    return _green_copper(rng, relief, color, 0.25 * bands * float(habit != "tumbled"), host)


def chrysocolla(rng: np.random.Generator, side: int) -> Specimen:
    """Blue to green, mottled, in knobs and crusts over rusty rock."""
    habit = rng.choice(["tumbled", "rock", "knobs"], p=[0.32, 0.36, 0.32])
    relief = {"tumbled": pebbles, "rock": rock, "knobs": knobs}[str(habit)](rng, side)
    hue = rng.beta(1.7, 1.3) + 0.22 * noise(rng, side, 2, 4)
    pale = np.clip(rng.uniform(-0.2, 0.5) + 0.25 * noise(rng, side, 5, 4), 0.0, 1.0)
    color = blend((0.03, 0.3, 0.15), (0.03, 0.27, 0.46), hue)
    color = blend(color, (0.35, 0.62, 0.6), pale)
    if rng.random() < 0.25:
        bands = strata(rng, 4 * np.linalg.norm(relief.local(), axis=-1) + noise(rng, side, 3, 4), 0.8)
        color = color * (1.0 + 0.2 * bands)[..., None]
    network = veins(rng, side, int(rng.integers(2, 6)), 0.12) * rng.uniform(0, 2) - 1.0
    host = np.maximum(network, noise(rng, side, 3, 5) - rng.uniform(0.6, 2.2))
    return _green_copper(rng, relief, color, 0.1 * noise(rng, side, 8, 4), host.astype(np.float32))


SPECIMENS: Mapping[str, Callable[[np.random.Generator, int], Specimen]] = {
    "biotite": biotite,
    "bornite": bornite,
    "chrysocolla": chrysocolla,
    "malachite": malachite,
    "muscovite": muscovite,
    "pyrite": pyrite,
    "quartz": quartz,
}
