"""One photo from a cold start, process included: `ensemble-minerals predict` against plain PyTorch and timm.

The plain program imports torch and timm, builds the bundle's backbones, reads their weights, and passes the same
views of the photo through each; it has no members. Also how long ``--help`` takes, and the bare interpreter.

    python benchmarks/cold_start.py BUNDLE PHOTO [--cache DIR] [--runs 7]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import timing

PLAIN = """
import sys
import torch, timm
from PIL import Image
import numpy as np
photo, backbones = sys.argv[1], [entry.split(",") for entry in sys.argv[2:]]
image = Image.open(photo).convert("RGB")
for model, file, side, views in backbones:
    network = timm.create_model(model, num_classes=0).eval()
    if file:
        weights = torch.load(file, weights_only=True, map_location="cpu")
    pixels = np.asarray(image.resize((int(side), int(side)), Image.BICUBIC), dtype=np.float32) / 127.5 - 1
    batch = torch.from_numpy(pixels).permute(2, 0, 1)[None].repeat(int(views), 1, 1, 1)
    with torch.inference_mode():
        network(batch)
"""

IMPORTS = "import typer, rich.console, typer.rich_utils"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--cache", type=Path, default=None)
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    ours = [sys.executable, "-m", "ensemble_minerals"]
    cache = [] if options.cache is None else ["--cache", options.cache]
    works = {
        "predict": [*ours, "predict", options.bundle, options.photo, *cache],
        "plain": [sys.executable, "-c", PLAIN, options.photo, *_backbones(options.bundle)],
        "help": [*ours, "--help"],
        "typer": [sys.executable, "-c", IMPORTS],
        "python": [sys.executable, "-c", "pass"],
    }
    for arguments in works.values():  # byte code is written, files are in memory: for both sides
        timing.command(arguments)
    times = timing.alternate(
        {name: lambda arguments=arguments: timing.command(arguments) for name, arguments in works.items()},
        options.runs,
    )
    timing.table(
        "from a cold start",
        [
            ("`predict`, one photo", timing.spread(times["predict"])),
            ("plain torch and timm, the same backbones and views", timing.spread(times["plain"])),
            ("**plain over `predict`**", f"{timing.ratio(times['plain'], times['predict']):.1f}"),
            ("`--help`", timing.spread(times["help"], 3)),
            ("typer and rich alone", timing.spread(times["typer"], 3)),
            ("the bare interpreter", timing.spread(times["python"], 3)),
        ],
    )


def _backbones(bundle: Path) -> list[str]:
    """Model, weights file, side and number of views of each backbone, as arguments."""
    from ensemble_minerals.bundle.bundle import read_bundle
    from ensemble_minerals.networks.models.weights import parse

    read = read_bundle(bundle)
    arguments = []
    for backbone in read.config.backbones:
        file = parse(backbone.weights).local_file(None)
        side = read.extractors[backbone.name]["facts"]["size"]
        arguments.append(f"{backbone.model},{file or ''},{side},{len(backbone.views)}")
    return arguments


if __name__ == "__main__":
    main()
