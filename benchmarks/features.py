"""Frozen features of the configured backbones, against a plain timm and DataLoader loop that gives the same layers.

The plain loop is what the issue calls so: for each backbone a DataLoader that opens each photo with Pillow,
resizes every view, and a network in float32 on batches of 32, followed by mean and deviation of every stage.
Also the share of our time that is spent outside the passes (decoding, drawing views, describing, storing), and a pass
against one of OpenVINO's own benchmark_app on the same network, with the same threads and precision.

    python benchmarks/features.py DATA [--config default] [--set precision=int8] [--photos 96] [--runs 5]
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
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
from ensemble_minerals.config.schema import Config
from ensemble_minerals.data.decoding import decoded, photo_digest
from ensemble_minerals.data.image_cache import decode_side
from ensemble_minerals.data.views import PILLOW_TRANSFORM, draw_views
from ensemble_minerals.experiment.quantization import CALIBRATED_ON
from ensemble_minerals.features.backbone import BackboneExtractor
from ensemble_minerals.features.extraction import extract_features
from ensemble_minerals.features.metadata import NETWORK
from ensemble_minerals.features.quantization import COMPARED, Calibration
from ensemble_minerals.features.quantized_backbone import QuantizedBackbone
from ensemble_minerals.features.registry import build_extractors
from ensemble_minerals.features.store import FeatureStore
from ensemble_minerals.system.cpu import cores
from ensemble_minerals.system.runtime import DEFAULT_LIMITS

BATCH = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--config", default="default")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--photos", type=int, default=96)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    config = load_config(options.config, options.set)
    photos = timing.photos_of(options.data, options.photos)
    ids = [photo_digest(path) for path in photos]
    names = [backbone.name for backbone in config.backbones]
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        built = _built(config, cache, options.data)
        extractors = [built[name] for name in names]
        with_descriptor = [*extractors, built["descriptor"]]
        networks = [_plain_network(backbone) for backbone in config.backbones]
        computed: dict[str, Any] = {}
        shares: dict[str, list[float]] = {"ours": [], "whole": [], "passes": []}

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
        drawn = {name: _drawn(built[name], photos) for name in names}

        def passes() -> None:
            """The passes alone, of views that are there."""
            for name, views in drawn.items():
                started = time.perf_counter()
                built[name].open().run(views, len(views))
                pass_times[name].append(1000 * (time.perf_counter() - started) / len(views))

        pass_times: dict[str, list[float]] = {name: [] for name in names}
        own_times: dict[str, list[float]] = {name: [] for name in names}
        times: dict[str, list[float]] = {"ours": [], "whole": [], "plain": [], "passes": []}
        works: dict[str, Callable[[], object]] = {
            "ours": ours,
            "whole": stored,
            "passes": passes,
            "plain": plain,
        }
        for _ in range(options.runs):
            for name, once in timing.alternate(works, 1).items():
                times[name] += once
            for name in ("ours", "whole"):
                inside = sum(computed[name].seconds[backbone] for backbone in names)
                shares[name].append(1 - inside / times[name][-1])
            shares["passes"].append(1 - times["passes"][-1] / times["whole"][-1])
            for name in names:
                own_times[name].append(_own_milliseconds(built[name]))
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
            ("share of our time outside the backbones", f"{statistics.median(shares['ours']):.1%}"),
            ("the same with descriptor and store", f"{statistics.median(shares['whole']):.1%}"),
            ("the same with drawing views, over passes alone", f"{statistics.median(shares['passes']):.1%}"),
            *(
                (
                    f"a pass of {name}, ours over benchmark_app's",
                    f"{timing.ratio(pass_times[name], own_times[name]):.2f} "
                    f"({statistics.median(pass_times[name]):.2f} against "
                    f"{statistics.median(own_times[name]):.2f} ms)",
                )
                for name in names
                if engines[name].startswith("openvino")
            ),
            ("cosine of the features, least source", f"{min(agreement.values()):.4f}"),
        ],
    )


def _built(config: Config, cache: Path, data: Path) -> dict[str, Any]:
    """The backbones in the configuration's precision, and the descriptor, by name."""
    names = [*(backbone.name for backbone in config.backbones), "descriptor"]
    built: dict[str, Any] = {**build_extractors(config, names, cache_dir=cache)}
    if config.precision == "int8":
        calibration = _calibration(data)
        for name, each in built.items():
            if isinstance(each, BackboneExtractor):
                built[name] = QuantizedBackbone(each, calibration)
    return built


def _calibration(data: Path) -> Calibration:
    """What a fit would quantize on: photos in the order of their digests."""
    by_digest = {photo_digest(path): path for path in timing.photos_of(data)}
    first = dict(sorted(by_digest.items())[: CALIBRATED_ON + COMPARED])
    return Calibration.of(first, DEFAULT_LIMITS)


def _drawn(backbone: Any, photos: Sequence[Path]) -> list[NDArray[np.uint8]]:
    """All views of all photos, as the backbone takes them."""
    drawn = []
    for path in photos:
        with decoded(path, at_least=decode_side(backbone.side, finely=True)) as photo:
            drawn += list(draw_views(photo.pixels, backbone.views, int(backbone.metadata["size"])))
    return drawn


def _own_milliseconds(backbone: Any) -> float:
    """Milliseconds of a pass of the same converted network in OpenVINO's benchmark_app."""
    precision = backbone.metadata["precision"]
    arguments = ["-m", backbone.kept / NETWORK]
    arguments += ["-hint", "none", "-nstreams", cores(), "-nthreads", cores(), "-t", 3]
    arguments += ["-infer_precision", "bf16" if precision == "bfloat16" else "f32"]
    script = (
        "import sys; sys.modules['openvino_telemetry'] = None\n"
        "from openvino.tools.benchmark.main import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    found = re.search(r"Throughput:\s+([\d.]+) FPS", done.stdout)
    if found is None:
        sys.exit(f"benchmark_app failed:\n{done.stdout}{done.stderr}")
    return 1000 / float(found.group(1))


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
        self.draw = partial(draw_views, names=views, size=side, transform=PILLOW_TRANSFORM)

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
