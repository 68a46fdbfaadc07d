"""What other collectors do to photos: figures of held-out photos as they are, and with changes that are drawn here.

A fifth of the row groups is held out; the ensemble of each configuration is fitted on the rest, and answers the
photos held out as they are, in warm and in dim light, compressed, with a banner, and before a wider background.

    python benchmarks/robustness.py DATA --config default --config mine.yaml [--photos 150] [--cache DIR]
"""

from __future__ import annotations

import argparse
import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import photos
import timing
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ensemble_minerals.config.loading import load_config
from ensemble_minerals.config.schema import Config
from ensemble_minerals.data.decoding import decode
from ensemble_minerals.evaluation.metrics import summary
from ensemble_minerals.features.extraction import extract_features
from ensemble_minerals.features.pooling import pool_views, pooling_of
from ensemble_minerals.members.rows import RowData
from ensemble_minerals.system.cpu import cores


def warm(image: Image.Image) -> Image.Image:
    """In the light of a lamp."""
    return Image.fromarray(np.clip(np.asarray(image) * [1.15, 1.0, 0.75], 0, 255).astype(np.uint8))


def dim(image: Image.Image) -> Image.Image:
    """Two thirds of the light, and less contrast in the shade."""
    return Image.fromarray((255 * (np.asarray(image) / 255) ** 1.6).astype(np.uint8))


def compressed(image: Image.Image) -> Image.Image:
    """Half as large, and a JPEG of quality 20."""
    data = io.BytesIO()
    image.resize((max(1, image.width // 2), max(1, image.height // 2))).save(data, "JPEG", quality=20)
    return Image.open(data).convert("RGB")


def banner(image: Image.Image) -> Image.Image:
    """A white strip with black words below."""
    strip = max(12, image.height // 7)
    whole = Image.new("RGB", (image.width, image.height + strip), "white")
    whole.paste(image)
    ImageDraw.Draw(whole).text((strip // 4, image.height + strip // 5), "Collection No. 1234", "black")
    return whole


def background(image: Image.Image) -> Image.Image:
    """On a table, from farther away."""
    whole = Image.new("RGB", (image.width * 4 // 3, image.height * 4 // 3), (112, 88, 66))
    whole.paste(image, (image.width // 6, image.height // 6))
    return whole


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "as they are": lambda image: image,
    "warm light": warm,
    "dim light": dim,
    "compressed": compressed,
    "banner": banner,
    "background": background,
}


def answered(
    config: Config, data: Path, cache: Path, work: Path, limit: int
) -> dict[str, tuple[float, float]]:
    """Accuracy and log-loss of the photos held out, by change."""
    prepared = photos.prepared(data, config, cache, work)
    dataset, rows = prepared.dataset, prepared.row_data()
    known = dataset.folds != dataset.folds.min()
    ensemble = photos.ensemble(config, prepared)
    ensemble.fit(rows.take(known), dataset.labels[known], dataset.groups[known], dataset.folds[known])
    held_out = np.flatnonzero(~known)
    held_out = held_out[:: max(1, len(held_out) // limit)]
    y = np.searchsorted(np.array(dataset.classes), dataset.labels[held_out])
    figures = {}
    for name, change in CHANGES.items():
        files = []
        for position, row in enumerate(dataset.rows[held_out]):
            files.append(work / f"{name}.{position}.png")
            pixels: NDArray[np.uint8] = decode(dataset.manifest.file(row)).pixels
            change(Image.fromarray(pixels)).save(files[-1], compress_level=1)
        extractors = list(dataset.extractors.values())
        views = extract_features(files, [""] * len(files), extractors, n_threads=cores()).features
        blocks = {name: pool_views(each, pooling_of(config, name)) for name, each in views.items()}
        proba = ensemble.predict_proba(RowData(blocks))
        scores = summary(y, proba, dataset.classes)
        figures[name] = scores["accuracy"], scores["log_loss"]
        timing.note(f"{name}: {figures[name][0]:.3f} / {figures[name][1]:.3f}")
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--config", action="append", required=True)
    parser.add_argument(
        "--photos", type=int, default=150, help="Held-out photos to change, at most about so many."
    )
    parser.add_argument("--cache", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = {}
        for number, name in enumerate(options.config):
            work = Path(folder) / str(number)
            work.mkdir()
            figures[name] = answered(
                load_config(name), options.data, options.cache or Path(folder) / "cache", work, options.photos
            )
    timing.table(
        f"accuracy / log-loss of photos held out, {', '.join(options.config)}",
        [
            (change, "; ".join("{:.3f} / {:.3f}".format(*figures[name][change]) for name in options.config))
            for change in CHANGES
        ],
    )


if __name__ == "__main__":
    main()
