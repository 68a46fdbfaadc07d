"""Drawn photos of one thing and of different things: stones with a grain, pages of text, circles, banners."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Pixels = NDArray[np.uint8]
SIZE = (320, 240)


def grain(seed: int, size: tuple[int, int] = SIZE) -> Pixels:
    """A surface like that of no other seed: spots of several sizes."""
    rng = np.random.default_rng(seed)
    total = np.zeros((size[1], size[0], 3), np.float32)
    for cells, weight in ((6, 1.0), (16, 0.8), (40, 0.6), (90, 0.4)):
        spots = rng.integers(0, 256, (cells * size[1] // size[0], cells, 3), dtype=np.uint8)
        total += weight * np.asarray(
            Image.fromarray(spots).resize(size, Image.Resampling.BICUBIC), np.float32
        )
    return np.clip((total - total.mean()) * 0.9 + 128, 0, 255).astype(np.uint8)


def stone(
    seed: int, *, scale: float = 1.0, turn: float = 0.0, at: tuple[int, int] = (160, 120)
) -> Image.Image:
    """A round stone with a grain, on a transparent ground, laid at a place of a photo."""
    side = int(150 * scale)
    surface = Image.fromarray(grain(seed, (300, 300))).resize((side, side), Image.Resampling.LANCZOS)
    mask = Image.new("L", (side, side), 0)
    ImageDraw.Draw(mask).ellipse((0, 0, side - 1, side - 1), fill=255)
    surface.putalpha(mask)
    surface = surface.rotate(turn, Image.Resampling.BICUBIC)
    photo = Image.new("RGBA", SIZE)
    photo.paste(surface, (at[0] - side // 2, at[1] - side // 2))
    return photo


def scene(*things: Image.Image, ground: Pixels | int = 235) -> Pixels:
    """A photo of things on a ground: a shade of grey, or a surface."""
    if isinstance(ground, int):
        photo = Image.new("RGBA", SIZE, (ground, ground, ground - 10, 255))
    else:
        photo = Image.fromarray(ground).convert("RGBA")
    for thing in things:
        photo.alpha_composite(thing)
    return np.asarray(photo.convert("RGB"))


def page(seed: int) -> Pixels:
    """A page of text of its own, in the type of all others."""
    rng = np.random.default_rng(seed)
    photo = Image.new("RGB", (240, 320), (250, 250, 245))
    draw = ImageDraw.Draw(photo)
    for line in range(22):
        words = ["".join(rng.choice(list("abcdefghilmnoprstu"), rng.integers(2, 9))) for _ in range(6)]
        draw.text((12, 8 + 14 * line), " ".join(words)[:36], (25, 25, 30), ImageFont.load_default(11))
    return np.asarray(photo)


def digit(seed: int) -> Pixels:
    """A large digit by a shaky hand."""
    rng = np.random.default_rng(seed)
    photo = Image.new("RGB", (28, 28))
    draw = ImageDraw.Draw(photo)
    draw.text(
        rng.uniform(4, 9, 2),
        str(seed % 10),
        (255, 255, 255),
        ImageFont.load_default(int(rng.integers(17, 22))),
    )
    return np.asarray(photo.rotate(rng.uniform(-12, 12), Image.Resampling.BICUBIC))


def circles(seed: int) -> Pixels:
    """Concentric rings, as in agates, about a place of its own."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    radius = np.hypot(x - rng.uniform(80, 240), y - rng.uniform(60, 180))
    widths = np.cumsum(rng.uniform(4, 14, 80))
    shades = rng.integers(40, 220, 81)
    return np.repeat(shades[np.searchsorted(widths, radius)][..., None], 3, axis=2).astype(np.uint8)


def with_banner(photo: Pixels, words: str = "stockphoto.example  IMAGE") -> Pixels:
    """A photo with a banner along its lower edge."""
    image = Image.fromarray(photo)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, image.height - 26, image.width, image.height), (20, 20, 30))
    draw.text((6, image.height - 24), words, (250, 250, 250), ImageFont.load_default(19))
    return np.asarray(image)


def with_mark(photo: Pixels, words: str = "ROCKSTOCK No 7 of 9") -> Pixels:
    """A photo with an opaque mark across its middle."""
    image = Image.fromarray(photo)
    draw = ImageDraw.Draw(image)
    draw.rectangle((40, 90, 280, 150), (225, 225, 225))
    draw.text((50, 95), words, (30, 30, 30), ImageFont.load_default(22))
    draw.text((50, 122), "www.rockstock.example", (30, 30, 30), ImageFont.load_default(18))
    return np.asarray(image)
