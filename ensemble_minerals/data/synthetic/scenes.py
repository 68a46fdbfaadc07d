"""Photos of drawn specimens: background, clutter, light, camera and watermark."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from scipy import ndimage

from ensemble_minerals.data.synthetic.lighting import Light, Material, shade
from ensemble_minerals.data.synthetic.solids import Relief, rotation
from ensemble_minerals.data.synthetic.specimens import Specimen
from ensemble_minerals.data.synthetic.textures import Field, blend, cells, noise, strata

_BANNERS = ("rocks & crystals", "stock photo", "mineral shop", "specimen 0417", "SAMPLE", "geo archive")
_SKIN = ((0.62, 0.38, 0.28), (0.5, 0.29, 0.2), (0.3, 0.16, 0.1), (0.7, 0.47, 0.38))


def _background(rng: np.random.Generator, side: int) -> Field:
    """A background: white, black, a studio gradient, or something busy; linear light (side, side, 3)."""
    kind = rng.choice(["white", "black", "studio", "busy"], p=[0.36, 0.18, 0.24, 0.22])
    if kind == "white":
        return np.full((side, side, 3), rng.uniform(0.75, 1.0), dtype=np.float32)
    if kind == "black":
        return np.full((side, side, 3), rng.uniform(0.002, 0.02), dtype=np.float32)
    tint = rng.uniform(0.05, 0.6, size=3) if rng.random() < 0.15 else rng.uniform(0.08, 0.6) * np.ones(3)
    if kind == "busy":
        return _busy_background(rng, side, tint)
    ramp = np.broadcast_to(np.linspace(0, 1, side, dtype=np.float32)[:, None], (side, side))
    return blend(tint * rng.uniform(0.1, 0.6), tint, ramp + 0.02 * noise(rng, side, 2, 2))


def _busy_background(rng: np.random.Generator, side: int, tint: NDArray[np.float64]) -> Field:
    """A background of gravel, wood, cloth, or something out of focus, usually in the color `tint` (3,)."""
    kind = rng.choice(["gravel", "wood", "cloth", "blur"], p=[0.28, 0.22, 0.22, 0.28])
    ramp = np.broadcast_to(np.linspace(0, 1, side, dtype=np.float32)[:, None], (side, side))
    if kind == "gravel":
        across = int(rng.integers(12, 30))
        _, border, owner = cells(rng, side, across)
        tone = rng.uniform(0.3, 1.2, size=(across + 2) ** 2).astype(np.float32)[owner]
        tone *= (1.0 - np.exp(-7.0 * border)) * (1.0 + 0.15 * noise(rng, side, 10, 4))
        stones: Field = np.clip(tint.astype(np.float32) * tone[..., None], 0.01, 1.0)
        return stones
    if kind == "wood":
        rings = strata(rng, ramp * rng.uniform(15, 40) + 0.6 * noise(rng, side, 2, 3), 0.7)
        fibers = rings if rng.random() < 0.5 else rings.T
        return blend((0.16, 0.08, 0.04), (0.45, 0.28, 0.15), 0.5 + 0.3 * fibers)
    if kind == "cloth":
        weave = np.sin(ramp * rng.uniform(180, 400)) * np.sin(ramp.T * rng.uniform(180, 400))
        return blend(tint * 0.4, tint, 0.5 + 0.3 * weave + 0.15 * noise(rng, side, 4, 5))
    share = 0.5 + 0.5 * noise(rng, side, 2, 2)
    return blend(tint * rng.uniform(0.1, 0.6), rng.uniform(0.5, 1.5, size=3) * tint, share)


def _hand(rng: np.random.Generator, scene: Field, light: Light, thumb: bool) -> Field:
    """The scene with fingers under the specimen, or a thumb over its rim (side, side, 3)."""
    side = len(scene)
    relief = Relief(side)
    angle = rng.uniform(-0.6, 0.6)
    for number in range(1 if thumb else 4):
        across = rng.uniform(-0.5, 0.5) if thumb else 0.36 * (number - 1.5)
        width = 0.17 * rng.uniform(0.9, 1.1)
        tip = np.asarray([across, 0.85 if thumb else rng.uniform(-0.35, -0.05)])
        for joint in range(2 if thumb else 4):
            x, y = tip + 0.36 * joint * np.asarray([-np.sin(angle), np.cos(angle)])
            width *= 1.04
            relief.add_ellipsoid((width, 0.45, width), rotation(0.0, 0.0, angle), (x, y, 0.0))
    skin = np.asarray(_SKIN[rng.integers(len(_SKIN))]) * (1.0 + 0.06 * noise(rng, side, 10, 4))[..., None]
    flesh = Material(
        color=skin.astype(np.float32), bump=0.1 * noise(rng, side, 20, 2), gloss=0.15, polish=10.0
    )
    return shade(relief, flesh, light, scene)


def _coin(rng: np.random.Generator, scene: Field, light: Light) -> Field:
    """The scene with a coin beside the specimen, for scale."""
    side = len(scene)
    relief = Relief(side)
    radius = rng.uniform(0.14, 0.22)
    center = (*(rng.choice([-1, 1], size=2) * rng.uniform(0.6, 0.8, size=2)), 0.0)
    relief.add_ellipsoid((radius, radius, 0.03), np.eye(3, dtype=np.float32), center)
    color = np.asarray(((0.6, 0.58, 0.55), (0.5, 0.28, 0.16), (0.6, 0.48, 0.25))[rng.integers(3)])
    rim = np.linalg.norm(relief.local()[..., :2], axis=-1)
    bump = 0.5 * noise(rng, side, 14, 3) * (rim < 0.8) + 1.5 * (rim > 0.86)
    metal = Material(color=np.ones((side, side, 3), dtype=np.float32) * color.astype(np.float32),
                     bump=bump.astype(np.float32), metal=1.0, polish=20.0)  # fmt: skip
    return shade(relief, metal, light, scene)


def _watermark(rng: np.random.Generator, image: Image.Image) -> Image.Image:
    """The image with the banner of a stock agency below, or pale words across it."""
    layer = Image.new("RGBA", image.size, (0, 0, 0, 0))
    pen = ImageDraw.Draw(layer)
    text = _BANNERS[rng.integers(len(_BANNERS))]
    width, height = image.size
    font = ImageFont.load_default()
    if rng.random() < 0.5:
        bar = int(height * rng.uniform(0.06, 0.1))
        shade_of_bar = int(rng.choice([0, 30, 235]))
        pen.rectangle((0, height - bar, width, height), fill=(shade_of_bar,) * 3 + (255,))
        pen.text((6, height - bar + 1), text, fill=(255 - shade_of_bar,) * 3 + (255,), font=font)
    else:
        for row in range(int(rng.integers(1, 4))):
            place = (rng.uniform(0.05, 0.5) * width, (0.2 + 0.27 * row) * height)
            pen.text(place, text, fill=(255, 255, 255, int(rng.integers(90, 200))), font=font)
        layer = layer.rotate(rng.uniform(-30, 30), Image.Resampling.BILINEAR)
    return Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB")


def _expose(rng: np.random.Generator, scene: Field) -> Field:
    """Apply white balance, exposure, saturation and tone curve of a camera: linear light becomes values from 0 to 1.

    The curve is the filmic fit of Narkowicz (2015), followed by a gamma of about 2.2.
    """
    warm = rng.normal(0.0, 0.07)
    balance = np.exp([warm, rng.normal(0.0, 0.035), -warm])
    dim = 0.4 if rng.random() < 0.14 else 1.0
    axis = np.linspace(-1, 1, len(scene), dtype=np.float32)
    fall = rng.normal(0.0, 0.12, size=2)
    even = 1.0 - rng.uniform(0.0, 0.12) * (axis[:, None] ** 2 + axis[None, :] ** 2)
    even += fall[0] * axis[:, None] + fall[1] * axis[None, :]
    gain = (balance * dim * np.exp(rng.normal(-0.05, 0.28))).astype(np.float32)
    scene = scene * (even.astype(np.float32)[..., None] * gain)
    grey = scene.mean(axis=-1, keepdims=True)
    scene = np.clip(grey + (scene - grey) * float(np.exp(rng.normal(0.0, 0.18))), 0.0, 4.0)
    light = np.square(np.linspace(0.0, 2.0, 4096))
    filmic = light * (2.51 * light + 0.03) / (light * (2.43 * light + 0.59) + 0.14)
    curve = np.clip(filmic, 0.0, 1.0) ** (1.0 / rng.uniform(1.9, 2.4))
    exposed: Field = curve.astype(np.float32)[(np.sqrt(scene) * (4095 / 2.0)).astype(np.intp)]
    return exposed


def photograph(rng: np.random.Generator, specimen: Specimen, size: int) -> NDArray[np.uint8]:
    """Photograph a specimen.

    Args:
        rng: Random generator for everything but the specimen.
        specimen: What to photograph, drawn at any side.
        size: Side of the photo in pixels.

    Returns:
        Pixels (size, size, 3), RGB.
    """
    relief, side = specimen.relief, specimen.relief.side
    light = Light.draw(rng)
    scene = _background(rng, side)
    clutter = rng.choice(["none", "hand", "coin", "thumb"], p=[0.74, 0.1, 0.09, 0.07])
    if clutter == "hand":
        scene = _hand(rng, scene, light, thumb=False)
    elif clutter == "coin":
        scene = _coin(rng, scene, light)
    if rng.random() < 0.75:
        fall = -light.directions[0, :2] * 0.07 * side
        shadow = ndimage.shift(relief.mask.astype(np.float32), (abs(fall[1]), fall[0]), order=0)
        shadow = ndimage.uniform_filter(ndimage.uniform_filter(shadow, side // 14), side // 14)
        scene = scene * (1.0 - rng.uniform(0.3, 0.75) * shadow)[..., None]
    scene = shade(relief, specimen.material, light, scene)
    if clutter == "thumb":
        scene = _hand(rng, scene, light, thumb=True)
    resized = [Image.fromarray(channel).resize((size, size), Image.Resampling.BILINEAR)
               for channel in np.ascontiguousarray(np.moveaxis(scene, -1, 0), dtype=np.float32)]  # fmt: skip
    scene = _expose(rng, np.stack([np.asarray(channel) for channel in resized], axis=-1))
    scene += rng.standard_normal((size, size, 1), dtype=np.float32) * rng.uniform(0.002, 0.025)
    image = Image.fromarray((np.clip(scene, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8))
    if rng.random() < 0.2:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 1.8)))
    if rng.random() < 0.12:
        image = _watermark(rng, image)
    return np.asarray(image)
