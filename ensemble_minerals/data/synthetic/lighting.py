"""Light on a relief: lamps, materials and shading."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ensemble_minerals.data.synthetic.solids import Relief
from ensemble_minerals.data.synthetic.textures import Field


@dataclass(frozen=True)
class Material:
    """How a surface reflects light. A field has the shape (side, side); a number applies to all pixels.

    Attributes:
        color: Body color in linear light (side, side, 3).
        bump: Fine relief in pixels.
        lean: Slope of the surface to the right and down, as of crystal grains (side, side, 2).
        metal: 0 for a stone, 1 for a metal. Reflections of a metal have the body color.
        gloss: Strength of a stone's mirror-like reflection; 1 is glass.
        polish: Sharpness of the reflected lamps (exponent; 10 dull, 200 polished).
        clarity: Share of the light that passes through from behind.
    """

    color: Field
    bump: Field
    lean: Field | None = None
    metal: Field | float = 0.0
    gloss: Field | float = 0.3
    polish: float = 30.0
    clarity: Field | float = 0.0


@dataclass(frozen=True)
class Light:
    """Lamps, and the ambient light of the room.

    Attributes:
        directions: Unit vectors to the lamps (n, 3).
        powers: Strength of each lamp (n,).
        ambient: Light from all directions.
    """

    directions: Field
    powers: Field
    ambient: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Light:
        """Draw one to three lamps above and in front of the specimen."""
        count = int(rng.integers(1, 4))
        angle = rng.uniform(-np.pi, 0.0, size=count)
        height = rng.uniform(0.35, 0.9, size=count)
        flat = np.sqrt(1.0 - height**2)
        directions = np.stack([flat * np.cos(angle), flat * np.sin(angle), height], axis=1)
        powers = rng.uniform(0.5, 1.0, size=count) / np.sqrt(count)
        return cls(directions.astype(np.float32), powers.astype(np.float32), float(rng.uniform(0.2, 0.5)))


def shade(relief: Relief, material: Material, light: Light, behind: Field) -> Field:
    """Shade a relief in front of a background.

    Diffuse light follows Lambert's law. Specular light reflects the lamps and a bright sky, with the Fresnel term of
    Schlick (1994). Crevices are darker the deeper they are below their surroundings.

    Args:
        relief: The shape.
        material: Its surface.
        light: The lamps.
        behind: Background in linear light (side, side, 3). It is also seen through clear material.

    Returns:
        Linear light (side, side, 3).
    """
    mask = relief.mask
    if not mask.any():
        return behind

    def at(values: Field | float) -> Field | float:
        return values[mask] if isinstance(values, np.ndarray) else values

    normal = relief.normals()
    normal[:, 1] -= np.gradient(material.bump, axis=0)[mask]
    normal[:, 0] -= np.gradient(material.bump, axis=1)[mask]
    if material.lean is not None:
        normal[:, :2] += material.lean[mask]
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    facing = np.clip(normal[:, 2], 0.0, 1.0)
    mirror = 2.0 * facing[:, None] * normal
    mirror[:, 2] -= 1.0

    ground = np.where(mask, relief.depth, -0.6)
    below = (ground - ndimage.uniform_filter(ground, size=max(3, relief.side // 16)))[mask]
    openness = np.clip(1.0 + 2.5 * np.minimum(below, 0.0), 0.15, 1.0)

    diffuse = np.full(len(normal), light.ambient, dtype=np.float32)
    sky = 0.5 - mirror[:, 1]
    lamps = light.ambient * np.clip(sky, 0.05, 1.0)
    for direction, power in zip(light.directions, light.powers, strict=True):
        diffuse += power * np.clip(normal @ direction, 0.0, 1.0)
        toward = np.clip(mirror @ direction, 0.0, 1.0)
        lamps += power * (6.0 * np.exp(material.polish * (toward - 1.0)) + 0.5 * np.square(np.square(toward)))
    diffuse *= openness
    lamps *= openness

    color = material.color[mask].astype(np.float32, copy=False)
    clarity, metal = (
        np.asarray(at(v), dtype=np.float32)[..., None] for v in (material.clarity, material.metal)
    )
    grazing = 1.0 - facing
    mirrored = at(material.gloss) * (0.05 + 0.95 * np.square(np.square(grazing)) * grazing) * lamps
    rows, columns = np.nonzero(mask)
    last = relief.side - 1
    rows = np.clip(rows + normal[:, 1] * 0.12 * relief.side, 0, last).astype(np.intp)
    columns = np.clip(columns + normal[:, 0] * 0.12 * relief.side, 0, last).astype(np.intp)
    through = behind[rows, columns] * (0.3 + 0.7 * color) * (0.4 + 0.6 * facing[:, None])
    stone = color * diffuse[:, None] * (1.0 - clarity) + through * clarity + mirrored[:, None]
    metallic = color * (0.2 * diffuse + 1.5 * lamps)[:, None]
    image = behind.copy()
    image[mask] = stone * (1.0 - metal) + metallic * metal
    return image
