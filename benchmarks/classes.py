"""What many classes cost: members and meta-learner over the feature stage, at 7 and at 68 classes of drawn photos.

Photos are drawn by code: each class has colors and a texture of its own, and from 20 to 60 photos. The feature stage
starts from an empty cache unless one is given.

    python benchmarks/classes.py [--classes 7 68] [--config default] [--folder DIR] [--cache DIR]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import photos
import timing
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from ensemble_minerals.config.loading import load_config
from ensemble_minerals.experiment.cost_model import member_seconds
from ensemble_minerals.system.cpu import cores

SIDE = 288


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classes", type=int, nargs="+", default=[7, 68])
    parser.add_argument("--config", default="default")
    parser.add_argument("--folder", type=Path, default=None, help="Where the photos are drawn, and kept.")
    parser.add_argument("--cache", type=Path, default=None)
    options = parser.parse_args()
    config = load_config(options.config)
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for n_classes in options.classes:
            data = draw((options.folder or Path(temporary)) / f"classes-{n_classes}", n_classes)
            cache = options.cache or Path(temporary) / f"cache-{n_classes}"
            started = time.perf_counter()
            prepared = photos.prepared(data, config, cache, Path(temporary))
            features = time.perf_counter() - started
            dataset, ensemble = prepared.dataset, photos.ensemble(config, prepared)
            estimated = sum(member_seconds(config, dataset.manifest, dataset.extractors, cores()).values())
            started = time.perf_counter()
            ensemble.fit(prepared.row_data(), dataset.labels, dataset.groups, dataset.folds)
            whole = time.perf_counter() - started
            members = ensemble.cross_fit_seconds_
            y = np.searchsorted(ensemble.classes_, dataset.labels)
            proba = ensemble.oof_proba_[np.arange(len(y)), y]
            name = f"{n_classes} classes, {len(y)} photos"
            rows += [
                (f"{name}: scan and features", f"{features:.1f} s"),
                (f"{name}: members", f"{members:.1f} s"),
                (f"{name}: what was estimated for members, over it", f"{estimated / members:.2f}"),
                (f"{name}: meta-learner ({ensemble.meta_.chosen_})", f"{whole - members:.1f} s"),
                (f"**{name}: members and meta-learner over features**", f"{whole / features:.2f}"),
                (f"{name}: out-of-fold log-loss", f"{-np.log(np.clip(proba, 1e-15, None)).mean():.4f}"),
            ]
    timing.table("what classes cost", rows)


def draw(folder: Path, n_classes: int) -> Path:
    """Draw 20 to 60 photos a class, 34 on average."""
    done = folder / ".done"
    if done.exists():
        return folder
    timing.note(f"drawing {n_classes} classes")
    for number in range(n_classes):
        style = np.random.default_rng(number)
        target = folder / f"class-{number:03}"
        target.mkdir(parents=True, exist_ok=True)
        for photo in range(20 + int(40 * style.beta(0.8, 1.5))):
            image = _photo(np.random.default_rng(number), np.random.default_rng([number, photo]))
            image.save(target / f"{photo:03}.jpg", quality=88)
    done.touch()
    return folder


def _photo(style: np.random.Generator, rng: np.random.Generator) -> Image.Image:
    """A stone of the class's colors and texture on some background, under some light."""
    colors = style.uniform(30, 220, (3, 3))
    cells, stretch, n_crystals = style.integers(3, 40), style.uniform(0.2, 1.0), int(style.integers(0, 40))
    grain = _noise(rng, int(cells), max(2, int(cells * stretch)))[..., None]
    fine = _noise(rng, 90, 90)[..., None]
    stone = colors[0] * grain + colors[1] * (1 - grain) + style.uniform(5, 40) * (fine - 0.5)
    image = Image.fromarray(np.clip(stone + rng.normal(0, 18, 3), 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for _ in range(n_crystals):
        x, y = rng.uniform(0, SIDE, 2)
        size, turn = rng.uniform(6, 26), rng.uniform(0, 6.3)
        angles = turn + np.linspace(0, 2 * np.pi, int(style.integers(3, 8)), endpoint=False)
        corners = [(x + size * np.cos(a), y + size * stretch * np.sin(a)) for a in angles]
        pen.polygon(corners, fill=tuple(int(c) for c in np.clip(colors[2] + rng.normal(0, 20, 3), 0, 255)))
    background = Image.new("RGB", (SIDE, SIDE), tuple(rng.integers(0, 256, 3).tolist()))
    mask = Image.new("L", (SIDE, SIDE), 0)
    left, top = rng.uniform(0, 70, 2)
    right, bottom = SIDE - rng.uniform(0, 70, 2)
    ImageDraw.Draw(mask).ellipse((left, top, right, bottom), fill=255)
    image = Image.composite(
        image.rotate(rng.uniform(0, 360)), background, mask.filter(ImageFilter.GaussianBlur(3))
    )
    return ImageEnhance.Brightness(image).enhance(rng.uniform(0.6, 1.25))


def _noise(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:  # type: ignore[type-arg]
    noise = Image.fromarray(rng.uniform(0, 1, (rows, columns)).astype(np.float32))
    return np.clip(np.asarray(noise.resize((SIDE, SIDE), Image.Resampling.BICUBIC)), 0, 1)


if __name__ == "__main__":
    main()
