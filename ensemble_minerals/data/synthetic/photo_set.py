"""The demonstration set: images of seven minerals, drawn by code, with the flaws of a real folder of photos.

No photo is shipped or copied: every image is computed from random numbers. The set shows that the program works, and
how. A score on it says nothing about minerals.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ensemble_minerals.data.own_outputs import SYNTHETIC_MARKER
from ensemble_minerals.data.synthetic.camera import background, photograph
from ensemble_minerals.data.synthetic.specimens import MINERALS, draw_specimen
from ensemble_minerals.errors import DataError
from ensemble_minerals.system.atomic import atomic_folder

DEMONSTRATION_COUNTS: Mapping[str, int] = {
    "biotite": 22,
    "bornite": 54,
    "chrysocolla": 52,
    "malachite": 74,
    "muscovite": 25,
    "pyrite": 31,
    "quartz": 44,
}
"""Files of each class at scale 1, near duplicates and broken files included."""

SYNTHETIC_NOTICE = """\
SYNTHETIC DEMONSTRATION SET

Every image in this folder was drawn by the program ensemble-minerals from random numbers. None is a photo.
Figures measured here show that the program works; they say nothing about real minerals.

On purpose, some images are near duplicates of others (mirrored, rescaled or recompressed), one image has two
labels, and two files are broken.
"""

_FEWEST = 6  # files of a class
_SMALLEST_SIDE = 64
_DUPLICATE_SHARE = 0.04
_CONFLICT = ("chrysocolla", "malachite")
_ALTERATIONS = ("mirrored", "rescaled", "recompressed")


@dataclass(frozen=True)
class DemonstrationSet:
    """The files that were drawn, and their flaws. Paths are relative to the root, with forward slashes.

    Attributes:
        root: Folder with a sub-folder for each class, and a notice that all is synthetic.
        n_files: Number of files in the class folders, broken ones included.
        counts: Number of files of each class; they add up to `n_files`.
        planted_duplicates: Pairs of near duplicates of the same class, the original first.
        conflict: Two files with the same image and two labels.
        broken: Files that are no readable images.
    """

    root: Path
    n_files: int
    counts: Mapping[str, int]
    planted_duplicates: tuple[tuple[str, str], ...]
    conflict: tuple[str, str]
    broken: tuple[str, ...]


def draw_photo(mineral: str, rng: np.random.Generator, side: int = 224) -> NDArray[np.uint8]:
    """Draw one image of a mineral.

    Args:
        mineral: One of the seven names in `DEMONSTRATION_COUNTS`.
        rng: Random generator; the same state gives the same image.
        side: Longer side in pixels, at least 64.

    Returns:
        Pixels (height, width, 3), RGB; the shorter side is at least three quarters of the longer one.

    Raises:
        DataError: If the mineral is unknown, or the side too small.
    """
    if mineral not in MINERALS:
        raise DataError(f"There is no drawing of {mineral!r}; choose one of {', '.join(MINERALS)}.")
    if side < _SMALLEST_SIDE:
        raise DataError(f"A drawing of side {side} px is too small; the least is {_SMALLEST_SIDE} px.")
    return photograph(rng, draw_specimen(rng, MINERALS[mineral], background(rng, side)))


def draw_demonstration_set(
    root: Path, *, seed: int = 0, scale: float = 1.0, side: int = 224
) -> DemonstrationSet:
    """Draw the demonstration set into a folder, which appears complete or not at all.

    The same seed, scale and side give the same files, with the same versions of the libraries. A smaller scale gives
    the first images of each class of a larger scale.

    Args:
        root: Folder to create. It may exist if it is empty; a drawn set is replaced.
        seed: Seed, not negative.
        scale: Factor on `DEMONSTRATION_COUNTS`; no class gets fewer than 6 files.
        side: Longer side of the images in pixels, at least 64.

    Returns:
        The files and their flaws.

    Raises:
        DataError: If the folder holds something else, or an argument is out of range.
    """
    drawn = (root / SYNTHETIC_MARKER).is_file()
    if root.exists() and not drawn and (not root.is_dir() or any(root.iterdir())):
        raise DataError(f"{root} is not an empty folder; name a new one for the demonstration set.")
    if seed < 0 or not scale > 0:
        raise DataError(f"The seed must not be negative and the scale above 0; found {seed} and {scale}.")
    with atomic_folder(root, durable=False) as draft:
        (draft / SYNTHETIC_MARKER).touch()
        return _draw_into(draft, root, seed=seed, scale=scale, side=side)


def _draw_into(folder: Path, root: Path, *, seed: int, scale: float, side: int) -> DemonstrationSet:
    """Draw all files into `folder`, which will become `root`."""
    counts = {mineral: max(_FEWEST, round(scale * count)) for mineral, count in DEMONSTRATION_COUNTS.items()}
    largest = max(counts, key=lambda mineral: counts[mineral])
    originals: dict[str, str] = {}
    duplicates: list[tuple[str, str]] = []
    broken: list[str] = []
    for index, (mineral, count) in enumerate(counts.items()):
        (folder / mineral).mkdir()
        n_duplicates = max(round(_DUPLICATE_SHARE * count), int(mineral == largest))
        n_drawn = count - n_duplicates - int(mineral in _BROKEN) - int(mineral == _CONFLICT[1])
        names = []
        for number in range(n_drawn):
            rng = np.random.default_rng([seed, index, number])
            suffix, quality = "png" if rng.random() < 0.06 else "jpg", int(rng.integers(70, 96))
            names.append(f"{mineral}/{number + 1:03d}.{suffix}")
            _save(Image.fromarray(draw_photo(mineral, rng, side)), folder / names[-1], quality)
        originals[mineral] = names[0]
        for number in range(n_duplicates):
            rng = np.random.default_rng([seed, index, n_drawn + number])
            original = names[(number + 1) * n_drawn // (n_duplicates + 1)]
            duplicates.append((original, f"{mineral}/{n_drawn + number + 1:03d}.jpg"))
            alteration = _ALTERATIONS[len(duplicates) % len(_ALTERATIONS)]
            _save_near_duplicate(rng, folder / original, folder / duplicates[-1][1], alteration)
        if mineral in _BROKEN:
            broken.append(f"{mineral}/{count:03d}.jpg")
            (folder / broken[-1]).write_bytes(_BROKEN[mineral](draw_photo(mineral, rng, side)))
    first, second = _CONFLICT
    conflict = (originals[first], f"{second}/{counts[second]:03d}{Path(originals[first]).suffix}")
    shutil.copyfile(folder / conflict[0], folder / conflict[1])
    (folder / "README.txt").write_text(SYNTHETIC_NOTICE, encoding="utf-8")
    return DemonstrationSet(root, sum(counts.values()), counts, tuple(duplicates), conflict, tuple(broken))


def _save(image: Image.Image, path: Path, quality: int) -> None:
    """Save in the format of the suffix; `quality` is that of JPEG."""
    if path.suffix == ".png":
        image.save(path, "PNG")
    else:
        image.save(path, "JPEG", quality=quality)


def _save_near_duplicate(rng: np.random.Generator, original: Path, path: Path, alteration: str) -> None:
    """Save an image again: mirrored, scaled, or strongly compressed."""
    with Image.open(original) as source:
        image = source.convert("RGB")
    quality = int(rng.integers(75, 90))
    if alteration == "mirrored":
        image = ImageOps.mirror(image)
    elif alteration == "rescaled":
        image = ImageOps.scale(image, rng.uniform(0.6, 0.85), Image.Resampling.LANCZOS)
    else:
        quality = int(rng.integers(25, 40))
    _save(image, path, quality)


def _truncated(pixels: NDArray[np.uint8]) -> bytes:
    """A JPEG file that ends in the middle of the image."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()[: 2 * buffer.tell() // 5]


_BROKEN: Mapping[str, Callable[[NDArray[np.uint8]], bytes]] = {
    "quartz": _truncated,
    "bornite": lambda _: b"This is a note, not a photo.\n",
}
