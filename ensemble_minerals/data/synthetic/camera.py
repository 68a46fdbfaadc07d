"""What stands around a drawn specimen, and the camera: background, exposure, noise, blur, watermark, crop."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from ensemble_minerals.data.synthetic.specimens import Field, blend, noise

_BANNERS = ("rocks & crystals", "stock photo", "mineral shop", "specimen 0417", "SAMPLE", "geo archive")


def background(rng: np.random.Generator, side: int) -> Field:
    """A background: white, black, a studio's gradient, or something out of focus; linear light (side, side, 3)."""
    kind = rng.choice(["white", "black", "studio", "busy"], p=[0.36, 0.18, 0.24, 0.22])
    if kind == "white":
        return np.full((side, side, 3), rng.uniform(0.75, 1.0), dtype=np.float32)
    if kind == "black":
        return np.full((side, side, 3), rng.uniform(0.002, 0.02), dtype=np.float32)
    tint = rng.uniform(0.1, 0.6) * np.ones(3) + rng.uniform(-0.1, 0.1, 3)
    if kind == "studio":
        ramp = np.linspace(0.0, 1.0, side)[:, None] + 0.02 * noise(rng, side, 2)
        return blend((tint * rng.uniform(0.1, 0.6), tint), ramp)
    return blend(
        (tint * 0.3, rng.uniform(0.1, 0.8, 3), tint), 0.5 + 0.4 * noise(rng, side, int(rng.integers(2, 30)))
    )


def photograph(rng: np.random.Generator, scene: Field) -> NDArray[np.uint8]:
    """Take a photo of a scene in linear light (side, side, 3): some are cropped, blurred or watermarked.

    Returns:
        Pixels (height, width, 3), RGB; the longer side is `side`, the shorter one at least three quarters of it.
    """
    side = len(scene)
    warm = rng.normal(0.0, 0.07)
    balance = np.exp(np.array([warm, rng.normal(0.0, 0.035), -warm]) + rng.normal(-0.05, 0.3))
    scene = scene * balance * (0.4 if rng.random() < 0.14 else 1.0)
    grey = scene.mean(axis=-1, keepdims=True)
    scene = np.clip(grey + (scene - grey) * np.exp(rng.normal(0.0, 0.18)), 0.0, None)
    values = (1.0 - np.exp(-1.6 * scene)) ** (1.0 / rng.uniform(1.9, 2.4))
    values += rng.uniform(0.002, 0.025) * rng.standard_normal((side, side, 1))
    image = Image.fromarray((np.clip(values, 0.0, 1.0) * 255).astype(np.uint8))
    if rng.random() < 0.2:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 1.8)))
    if rng.random() < 0.12:
        pen, top = ImageDraw.Draw(image), round(side * rng.uniform(0.9, 0.94))
        pen.rectangle((0, top, side, side), fill=(int(rng.choice([0, 30, 60])),) * 3)
        pen.text((6, top + 1), str(rng.choice(_BANNERS)), fill="white")
    pixels = np.asarray(image)
    if rng.random() < 0.4:
        kept = round(side * rng.uniform(0.75, 0.95))
        start = (side - kept) // 2
        pixels = pixels[start : start + kept] if rng.random() < 0.7 else pixels[:, start : start + kept]
    return np.ascontiguousarray(pixels)
