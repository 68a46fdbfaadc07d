"""Frozen features of the configured backbones, against a plain timm and DataLoader loop that gives the same layers.

The plain loop is what the issue calls so: for each backbone a DataLoader that opens each photo with Pillow,
resizes every view, and a network in float32 on batches of 32, followed by mean and deviation of every stage.
Also the share of our time that is spent outside the backbones (decoding, resizing, describing, storing).

    python benchmarks/features.py DATA [--config default] [--photos 96] [--runs 5]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import timing
from numpy.typing import NDArray
from PIL import Image

from ensemble_minerals.config.extractors import BackboneConfig
from ensemble_minerals.config.loading import load_config
from ensemble_minerals.data.decoding import photo_digest
from ensemble_minerals.data.views import draw_views
from ensemble_minerals.features.extraction import extract_features
from ensemble_minerals.features.registry import build_extractors
from ensemble_minerals.features.store import FeatureStore
from ensemble_minerals.system.cpu import cores

BATCH = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--config", default="default")
    parser.add_argument("--photos", type=int, default=96)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    config = load_config(options.config)
    photos = timing.photos_of(options.data, options.photos)
    ids = [photo_digest(path) for path in photos]
    names = [backbone.name for backbone in config.backbones]
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        extractors = list(build_extractors(config, names, cache_dir=cache).values())
        with_descriptor = list(build_extractors(config, [*names, "descriptor"], cache_dir=cache).values())
        networks = [_plain_network(backbone) for backbone in config.backbones]
        computed: dict[str, Any] = {}
        shares: list[float] = []
        whole_shares: list[float] = []

        def ours() -> None:
            computed["ours"] = extract_features(photos, [""] * len(photos), extractors, n_threads=cores())

        def stored() -> None:
            """The whole stage as a fit runs it: descriptor beside the backbones, contents checked, all kept."""
            with (
                tempfile.TemporaryDirectory() as elsewhere,
                FeatureStore(Path(elsewhere) / "f.sqlite") as store,
            ):
                computed["whole"] = extract_features(
                    photos, ids, with_descriptor, store=store, n_threads=cores(), check_contents=True
                )

        def plain() -> None:
            computed["plain"] = {
                backbone.name: _plain_features(network, backbone.views, photos)
                for backbone, network in zip(config.backbones, networks, strict=True)
            }

        extract_features(photos[:4], [""] * 4, with_descriptor, n_threads=1)  # converts and compiles
        times: dict[str, list[float]] = {"ours": [], "whole": [], "plain": []}
        works: dict[str, Callable[[], object]] = {"ours": ours, "whole": stored, "plain": plain}
        for _ in range(options.runs):
            for name, once in timing.alternate(works, 1).items():
                times[name] += once
            shares.append(1 - sum(computed["ours"].seconds.values()) / times["ours"][-1])
            inside = sum(computed["whole"].seconds[name] for name in names)
            whole_shares.append(1 - inside / times["whole"][-1])
        agreement = {
            name: _cosine(computed["ours"].features[name], computed["plain"][name])
            for name in computed["plain"]
        }
    each = 1000 / len(photos)
    engines = {s.name: f"{s.metadata['engine']} {s.metadata['precision']}" for s in extractors}
    timing.table(
        f"frozen features, {len(photos)} photos, {options.config}",
        [
            ("engine", ", ".join(f"{name}: {engine}" for name, engine in engines.items())),
            ("ours, milliseconds a photo", timing.spread([t * each for t in times["ours"]], 1, "")),
            ("plain timm and DataLoader", timing.spread([t * each for t in times["plain"]], 1, "")),
            ("**plain over ours**", f"{timing.ratio(times['plain'], times['ours']):.1f}"),
            ("share of our time outside the backbones", f"{statistics.median(shares):.1%}"),
            ("the same with descriptor and store", f"{statistics.median(whole_shares):.1%}"),
            ("cosine of the features, least source", f"{min(agreement.values()):.4f}"),
        ],
    )


def _plain_network(backbone: BackboneConfig) -> Any:
    """The network with its weights and the statistics of its layers, in PyTorch and float32."""
    from ensemble_minerals.networks.models.taps import TappedNetwork
    from ensemble_minerals.networks.models.weights import load_network

    return TappedNetwork(load_network(backbone.model, backbone.weights, size=backbone.size), backbone.layers)


def _plain_features(network: Any, views: Sequence[str], photos: Sequence[Path]) -> NDArray[np.float32]:
    """Features of shape (n, n_views, n_features), photo by photo from the disk."""
    import torch
    from torch.utils.data import DataLoader

    torch.set_num_threads(cores())
    # A DataLoader takes anything with a length that can be indexed.
    pixels: Any = _Pixels(photos, views, network.size)
    loader: Any = DataLoader(pixels, batch_size=BATCH // len(views) or 1, num_workers=cores())
    rows = []
    with torch.inference_mode():
        for batch in loader:
            flat = batch.flatten(0, 1)
            rows.append(network(flat).unflatten(0, batch.shape[:2]).numpy())
    return np.concatenate(rows)


class _Pixels:
    """Views of photos as (n_views, side, side, 3)."""

    def __init__(self, photos: Sequence[Path], views: Sequence[str], side: int) -> None:
        self.photos = photos
        self.draw = partial(draw_views, names=views, size=side)

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, position: int) -> NDArray[np.uint8]:
        with Image.open(self.photos[position]) as image:
            photo = np.asarray(image.convert("RGB"))
        return np.stack(list(self.draw(photo)))


def _cosine(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    a, b = one.astype(np.float64).ravel(), other.astype(np.float64).ravel()
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


if __name__ == "__main__":
    main()
