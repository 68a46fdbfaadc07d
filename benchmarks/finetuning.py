"""An epoch of fine-tuning against a plain timm and DataLoader loop with the same photos, augmentation and batches.

    python benchmarks/finetuning.py DATA --photos 192 --runs 5

The plain loop decodes each photo in every epoch and trains in float32 on all cores. Ours trains folds at once, one a
core, as a fit does; its seconds an epoch are those of the clock over the epochs that finished in them.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import timm
import torch
from joblib import Parallel, delayed
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from ensemble_minerals.config.networks import NetworkConfig
from ensemble_minerals.data.image_cache import ImageCache
from ensemble_minerals.data.scanning import scan
from ensemble_minerals.features.trained_network import image_side
from ensemble_minerals.networks.models.weights import load_network
from ensemble_minerals.networks.training.estimator import FineTunedNetwork
from ensemble_minerals.system.cpu import cores

MODEL, WEIGHTS, SIZE, BATCH = "tf_efficientnet_lite0", "package:efficientnet_lite0", 224, 32
CROP = (0.4, 1.0)


class Photos(Dataset):
    """What one writes first: open, augment, return."""

    def __init__(self, files: list[Path], labels: np.ndarray) -> None:
        self.files, self.labels = files, labels
        self.transform = v2.Compose(
            [
                v2.PILToTensor(),
                v2.RandomResizedCrop(SIZE, scale=CROP, antialias=True),
                v2.RandomHorizontalFlip(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize([0.5] * 3, [0.5] * 3),
            ]
        )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, position: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.open(self.files[position]).convert("RGB")), int(self.labels[position])


def plain_epochs(files: list[Path], labels: np.ndarray, train: str, epochs: int) -> list[float]:
    """Seconds of each epoch of the plain loop."""
    torch.set_num_threads(cores())
    network = timm.create_model(MODEL, num_classes=int(labels.max()) + 1)
    network.load_state_dict(load_network(MODEL, WEIGHTS).network.state_dict(), strict=False)
    if train != "all":
        network.requires_grad_(False)
        for part in (network.blocks[5:], network.conv_head, network.bn2, network.classifier):
            part.requires_grad_(True)
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], 1e-4)
    loader = DataLoader(Photos(files, labels), BATCH, shuffle=True, num_workers=1, drop_last=True)
    seconds = []
    for _ in range(epochs):
        started = time.perf_counter()
        network.train()
        for images, targets in loader:
            loss = torch.nn.functional.cross_entropy(network(images), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        seconds.append(time.perf_counter() - started)
    return seconds


def our_config(train: str, prefix_views: int, epochs: int) -> NetworkConfig:
    """The same training as the plain loop's."""
    return NetworkConfig.model_validate(
        {
            "name": "lite0",
            "model": MODEL,
            "weights": WEIGHTS,
            "size": SIZE,
            "head": {"kind": "layers", "pooling": "avg", "dropout": 0.2},
            "phases": [{"train": train, "lr": 1e-4, "epochs": epochs, "keep": "last"}],
            "augment": {"crop": list(CROP), "horizontal_flip": True},
            "batch_size": BATCH,
            "validation_fraction": 0.0,
            "prefix_views": prefix_views,
        }
    )


def our_epochs(table: ImageCache, labels: np.ndarray, config: NetworkConfig) -> list[float]:
    """Seconds of each epoch of one fold, on one thread."""
    network = FineTunedNetwork(config, table, n_threads=1)
    network.fit(np.arange(len(labels)), labels)
    return [float(record["seconds"]) for record in network.history_]


def main() -> None:
    """Measure in turns, print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder of class folders")
    parser.add_argument("--photos", type=int, default=192, help="photos of an epoch")
    parser.add_argument("--runs", type=int, default=5, help="epochs that count, of each")
    chosen = parser.parse_args()
    manifest = scan(chosen.data, n_jobs=cores())
    rows = np.random.default_rng(0).permutation(manifest.usable)[: chosen.photos // BATCH * BATCH]
    files = [manifest.file(int(row)) for row in rows]
    labels = np.unique(manifest.label[rows], return_inverse=True)[1]
    print(
        f"{len(rows)} photos an epoch, {MODEL}, {SIZE} px, {cores()} cores, medians of {chosen.runs} epochs\n"
    )
    print("| layers that learn | plain loop, s | ours, s | plain over ours |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        table = ImageCache(
            files, side=image_side(our_config("all", 0, 1)), folder=Path(folder), limit_mb=1024
        )
        table.prepare(cores())
        for words, train, prefix_views in (
            ("all", "all", 0),
            ("the last 5 of 16 blocks", "last:5", 0),
            ("the last 5 of 16 blocks, 8 views kept", "last:5", 8),
        ):
            # One epoch more, the first, includes imports and first reads; with kept views the first eight do.
            warm = max(1, prefix_views)
            plain = plain_epochs(files, labels, train, chosen.runs + 1)[1:]
            folds = Parallel(n_jobs=cores())(
                delayed(our_epochs)(table, labels, our_config(train, prefix_views, chosen.runs + warm))
                for _ in range(cores())
            )
            ours = [seconds / cores() for fold in folds for seconds in fold[warm:]]
            before, now = statistics.median(plain), statistics.median(ours)
            print(f"| {words} | {before:.1f} | {now:.1f} | {before / now:.1f} |", flush=True)


if __name__ == "__main__":
    main()
