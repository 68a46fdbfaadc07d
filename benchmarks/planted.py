"""Changed copies of real photos, planted among the photos they come from: for benchmarks of finding them again.

One base photo of each known object, and one changed copy of each, drawn from a seed that is the photo's own digest.
`same_object_pairs.csv` lists pairs of photos by digest that were looked at by eye: the second photo of a true pair is
no base. A common scene counts as the same, a common watermark does not.
"""

from __future__ import annotations

import csv
from bisect import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import timing
from PIL import Image, ImageDraw, ImageEnhance, ImageFont, ImageOps

from ensemble_minerals.data.decoding import photo_digest
from ensemble_minerals.errors import ImageError

LOOKED_AT = Path(__file__).parent / "same_object_pairs.csv"
_MARKS = (
    "STOCK PHOTO",
    "www.minerals.example",
    "(c) all rights reserved",
)  # few, as real ones: unrelated photos share them

Draw = np.random.Generator


def crop(photo: Image.Image, rng: Draw) -> Image.Image:
    """Half of the area, anywhere."""
    wide = rng.uniform(0.6, 0.83)
    width, height = round(photo.width * wide), round(photo.height * 0.5 / wide)
    left, top = rng.integers(photo.width - width + 1), rng.integers(photo.height - height + 1)
    return photo.crop((int(left), int(top), int(left) + width, int(top) + height))


def frame(photo: Image.Image, rng: Draw) -> Image.Image:
    """A border of one color, 5 to 20 % of the photo's sides, not the same on all sides."""
    left, top, right, bottom = rng.uniform(0.05, 0.2, 4) * (2 * photo.size)
    return ImageOps.expand(photo, (int(left), int(top), int(right), int(bottom)), fill=_color(rng))


def mirror(photo: Image.Image, rng: Draw) -> Image.Image:
    """Left for right."""
    return ImageOps.mirror(photo)


def rotate(photo: Image.Image, rng: Draw) -> Image.Image:
    """5 to 30 degrees to either side; the corners are of one color."""
    angle = rng.uniform(5, 30) * rng.choice([-1, 1])
    return photo.rotate(angle, Image.Resampling.BICUBIC, expand=bool(rng.integers(2)), fillcolor=_color(rng))


def quarter(photo: Image.Image, rng: Draw) -> Image.Image:
    """A quarter of each side."""
    size = max(8, round(photo.width / 4)), max(8, round(photo.height / 4))
    return photo.resize(size, Image.Resampling.LANCZOS)


def compress(photo: Image.Image, rng: Draw) -> Image.Image:
    """As it is: `plant` saves it as a JPEG of quality 30."""
    return photo


def brightness(photo: Image.Image, rng: Draw) -> Image.Image:
    """Half as bright to 1.8 times as bright."""
    return ImageEnhance.Brightness(photo).enhance(_factor(rng))


def contrast(photo: Image.Image, rng: Draw) -> Image.Image:
    """Half of the contrast to 1.8 times the contrast."""
    return ImageEnhance.Contrast(photo).enhance(_factor(rng))


def white_balance(photo: Image.Image, rng: Draw) -> Image.Image:
    """Another light: red and blue change by up to a third."""
    gains = np.exp(rng.uniform(0.15, 0.3, 2) * rng.choice([-1, 1], 2))
    pixels = np.asarray(photo) * np.array([gains[0], 1.0, gains[1]])
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def watermark(photo: Image.Image, rng: Draw) -> Image.Image:
    """A text in white, half transparent: across the middle, or all over."""
    layer = Image.new("L", photo.size)
    pen, text = ImageDraw.Draw(layer), _MARKS[rng.integers(len(_MARKS))]
    font = ImageFont.load_default(max(10, round(min(photo.size) / rng.uniform(8, 16))))
    places = (
        [(0.5, 0.5)] if rng.integers(2) else [(x, y) for y in (0.1, 0.35, 0.6, 0.85) for x in (0.25, 0.75)]
    )
    for x, y in places:
        pen.text((x * photo.width, y * photo.height), text, fill=140, font=font, anchor="mm")
    return Image.composite(Image.new("RGB", photo.size, "white"), photo, layer)


def collage(photo: Image.Image, other: Image.Image, rng: Draw) -> Image.Image:
    """Two photos at one height, side by side, or one above the other at one width."""
    axis = int(rng.integers(2))
    side = min(photo.size[1 - axis], other.size[1 - axis])
    parts = [
        part.resize([max(1, round(s * side / part.size[1 - axis])) for s in part.size])
        for part in (photo, other)
    ]
    gap = int(rng.integers(8))
    size = [side, side]
    size[axis] = parts[0].size[axis] + gap + parts[1].size[axis]
    whole = Image.new("RGB", (size[0], size[1]), _color(rng))
    whole.paste(parts[0], (0, 0))
    whole.paste(parts[1], (parts[0].width + gap, 0) if axis == 0 else (0, parts[0].height + gap))
    return whole


CHANGES: dict[str, Callable[..., Image.Image]] = {
    "crop to half the area": crop,
    "frame": frame,
    "mirror image": mirror,
    "rotation up to 30 degrees": rotate,
    "scale to a quarter": quarter,
    "JPEG 30": compress,
    "brightness": brightness,
    "contrast": contrast,
    "white balance": white_balance,
    "watermark": watermark,
    "collage of two": collage,
}


@dataclass(frozen=True)
class Planted:
    """Photos of a planted set.

    Attributes:
        files: The photos: bases, then their changed copies.
        bases: Digests of the base photos that each photo shows: one, or two in a collage.
        change: Name of each photo's change, empty for a base.
    """

    files: list[Path]
    bases: list[frozenset[str]]
    change: list[str]

    def add(self, file: Path, shown: Sequence[str], change: str) -> None:
        """Add a photo."""
        self.files.append(file)
        self.bases.append(frozenset(shown))
        self.change.append(change)

    def wanted(self) -> dict[tuple[int, int], str]:
        """Pairs of a base and a changed copy of it, as positions, with the change."""
        base = {next(iter(one)): at for at, one in enumerate(self.bases) if not self.change[at]}
        return {
            (base[digest], at): change
            for at, change in enumerate(self.change)
            if change
            for digest in self.bases[at]
        }

    def is_true(self, pair: tuple[int, int], looked_at: dict[frozenset[str], bool]) -> bool | None:
        """Whether two photos show the same object; None where nobody has looked."""
        first, second = self.bases[pair[0]], self.bases[pair[1]]
        if first & second:
            return True
        answers = [looked_at.get(frozenset((a, b))) for a in first for b in second]
        return True if True in answers else None if None in answers else False


def looked_at() -> dict[frozenset[str], bool]:
    """Pairs of digests that were looked at by eye, and whether they show the same object."""
    with LOOKED_AT.open(encoding="utf-8", newline="") as file:
        return {
            frozenset((row["first"], row["second"])): row["same"] == "yes" for row in csv.DictReader(file)
        }


def plant(folders: Sequence[Path], target: Path, limit: int | None = None) -> Planted:
    """Draw a planted set from folders of photos, in class folders; other photos in `target` are deleted.

    Args:
        folders: Of photos, in class folders or deeper.
        target: Where the set is written.
        limit: So many bases of each folder, spread evenly; None for all.
    """
    photos = {}
    for folder in folders:
        for path in timing.photos_of(folder, limit):
            try:
                photos.setdefault(photo_digest(path), path)
            except ImageError:
                continue
    photos = {digest: photos[digest] for digest in sorted(photos.keys() - _seen_before())}
    digests = list(photos)
    bases, copies = Planted([], [], []), Planted([], [], [])
    for digest, path in photos.items():
        rng = np.random.default_rng(int(digest[:16], 16))
        change = list(CHANGES)[rng.integers(len(CHANGES))]
        shown = [digest]
        if change == "collage of two":
            others = [one for one in digests if one != digest]
            shown.append(others[bisect(others, rng.bytes(16).hex()) % len(others)])  # stays if others leave
        place = target / path.parent.name
        bases.add(place / f"{digest[:12]}{path.suffix}", shown[:1], "")
        copies.add(place / f"{digest[:12]} {change}.jpg", shown, change)
        place.mkdir(parents=True, exist_ok=True)
        bases.files[-1].write_bytes(path.read_bytes())
        drawn = CHANGES[change](*(_opened(photos[one]) for one in shown), rng)
        drawn.save(copies.files[-1], quality=30 if change == "JPEG 30" else 92)
    for stale in set(timing.photos_of(target)) - set(bases.files) - set(copies.files):
        stale.unlink()
    return Planted(*(getattr(bases, f.name) + getattr(copies, f.name) for f in fields(Planted)))


def _seen_before() -> set[str]:
    """Digests of photos that show the object of another photo, of a smaller digest."""
    objects: list[set[str]] = []
    for pair in (pair for pair, same in looked_at().items() if same):
        joined = [one for one in objects if one & pair]
        objects = [one for one in objects if not one & pair] + [set(pair).union(*joined)]
    return {digest for one in objects for digest in one - {min(one)}}


def _opened(path: Path) -> Image.Image:
    with Image.open(path) as photo:
        return ImageOps.exif_transpose(photo).convert("RGB")


def _color(rng: Draw) -> Any:
    return ["white", "black", tuple(rng.integers(0, 256, 3).tolist())][rng.integers(3)]


def _factor(rng: Draw) -> float:
    return float(rng.uniform(0.5, 0.75) if rng.integers(2) else rng.uniform(1.3, 1.8))
