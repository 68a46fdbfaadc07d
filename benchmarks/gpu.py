"""What a graphics card brings, in under five minutes: features, agreement with the processor, folds, memory.

Draws its own photos, uses the torch that it finds, and random weights (time does not depend on them). On a machine
that has torch but no package index, bring the other packages along:

    python benchmarks/gpu.py --pack wheels      # where PyPI can be reached: 150 MB, without torch
    python benchmarks/gpu.py --wheels wheels    # on the machine with the card

Without a card the same runs on the processor, small, so that the script itself stays tested.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PACKAGES = {
    "timm": "timm", "safetensors": "safetensors", "huggingface_hub": "huggingface-hub", "skorch": "skorch",
    "sklearn": "scikit-learn", "scipy": "scipy", "joblib": "joblib", "threadpoolctl": "threadpoolctl",
    "pydantic": "pydantic", "pydantic_core": "pydantic-core", "annotated_types": "annotated-types",
    "typing_inspection": "typing-inspection", "yaml": "pyyaml", "PIL": "pillow", "pi_heif": "pi-heif",
    "imagehash": "imagehash", "pywt": "pywavelets", "tqdm": "tqdm", "tabulate": "tabulate",
    "platformdirs": "platformdirs", "numpy": "numpy", "cv2": "opencv-python-headless",
}  # fmt: skip
"""What the package and its networks import, beside torch and torchvision: module and distribution."""

PEAKS = {
    "H200": 989e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "4090": 165e12,
    "A10": 125e12,
}
"""Dense bfloat16 operations a second that NVIDIA states, by a part of the card's name."""

MODELS = {"vit-b14": "vit_base_patch14_dinov2", "convnext-b": "convnext_base"}
SIZE = 224


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pack", type=Path, help="download what --wheels needs into this folder, and stop")
    parser.add_argument("--wheels", type=Path, help="folder of wheels for packages that are not installed")
    parser.add_argument("--photos", type=int, default=2048, help="photos of a pass; 8 on a processor")
    parser.add_argument("--models", nargs="+", default=list(MODELS.values()))
    options = parser.parse_args()
    if options.pack is not None:
        pack(options.pack)
        return
    with tempfile.TemporaryDirectory() as folder:
        if options.wheels is not None:
            unpack(options.wheels, Path(folder) / "packages")
        measure(Path(folder), options.photos, options.models)


def pack(folder: Path) -> None:
    """Download the wheels of `PACKAGES`, in the versions that were tested."""
    constraints = Path(__file__).resolve().parents[1] / "constraints.txt"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    subprocess.run([*command, "--constraint", constraints, "--dest", folder, *PACKAGES.values()], check=True)


def unpack(wheels: Path, folder: Path) -> None:
    """Make what is missing here importable; a wheel is a zip file."""
    for module, distribution in PACKAGES.items():
        if find_spec(module) is None:
            (wheel,) = wheels.glob(f"{distribution.replace('-', '[_-]')}-*.whl", case_sensitive=False)
            zipfile.ZipFile(wheel).extractall(folder)
    sys.path.insert(0, str(folder))


def measure(folder: Path, n_photos: int, models: list[str]) -> None:
    """Measure and print all figures."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    import timing
    import torch

    cards = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    n_photos = n_photos if cards else min(n_photos, 8)
    files = draw(folder / "photos", min(n_photos, 256))
    rows = [
        ("torch", torch.__version__),
        ("cards", ", ".join(map(torch.cuda.get_device_name, cards)) or "none"),
    ]
    rows += feeding(files)
    for model in models:
        rows += features(model, [files[n % len(files)] for n in range(n_photos)], on_card=bool(cards))
    rows += folds(files, folder, cards)
    if cards:
        rows.append(("**more than the memory**", full_memory()))
    timing.table("a graphics card" if cards else "the same on the processor", rows)


def draw(folder: Path, count: int) -> list[Path]:
    """Photos of 640 x 480 pixels with shading and grain."""
    import numpy as np
    from PIL import Image

    folder.mkdir()
    rng = np.random.default_rng(0)
    files = []
    for number in range(count):
        small = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8))
        files.append(folder / f"{number:04}.jpg")
        small.resize((640, 480), Image.Resampling.BICUBIC).save(files[-1], quality=90)
    return files


def features(model: str, files: list[Path], *, on_card: bool) -> list[tuple[str, str]]:
    """The whole path of features (decoding, views, passes) and bare passes, in images a second; agreement; memory."""
    import numpy as np
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from ensemble_minerals.features.backbone import BackboneExtractor
    from ensemble_minerals.features.engine_agreement import agreement
    from ensemble_minerals.features.extraction import extract_features
    from ensemble_minerals.networks.models.taps import TappedNetwork
    from ensemble_minerals.networks.models.weights import load_network
    from ensemble_minerals.system.cpu import cores

    extractor = BackboneExtractor(
        "net",
        model,
        "random",
        size=SIZE,
        views=("squash", "squash_flip"),
        engine="torch",
        precision="bfloat16",
    )
    engine, device = extractor.open(), "cuda" if on_card else "cpu"
    pixels = [np.random.default_rng(n).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8) for n in range(64)]
    passes = 64 * (8 if on_card else 0) + 2
    engine.run(pixels[:2], 2)  # the first is slow
    bare = passes / _seconds(lambda: engine.run((pixels[n % 64] for n in range(passes)), passes))
    extract_features(files[:4], [""] * 4, [extractor], n_threads=cores())
    whole = (
        2
        * len(files)
        / _seconds(lambda: extract_features(files, [""] * len(files), [extractor], n_threads=cores()))
    )
    network = TappedNetwork(load_network(model, "random", size=SIZE))
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.from_numpy(pixels[0][None]))
    images = pixels[: 16 if on_card else 2]
    with torch.inference_mode():
        expected = np.concatenate([network(torch.from_numpy(one[None])).numpy() for one in images])
    agreed = agreement(expected, engine.run(images, len(images)), extractor.layers)
    rows = [
        (f"{model}: whole path, images a second", f"{whole:.0f}"),
        (f"{model}: bare passes, images a second", f"{bare:.0f}"),
        (f"**{model}: whole path over bare passes**", f"{whole / bare:.2f}"),
        (f"{model}: agreement with float32 on the processor, least layer", f"{min(agreed.values()):.4f}"),
    ]
    if on_card:
        peak = next((value for name, value in PEAKS.items() if name in torch.cuda.get_device_name()), None)
        share = "unknown" if peak is None else f"{counter.get_total_flops() * bare / peak:.0%}"
        rows += [
            (f"**{model}: share of the card's bfloat16 peak**", share),
            (f"{model}: memory", f"{torch.cuda.max_memory_allocated(device) / 1e9:.1f} GB"),
        ]
    return rows


def feeding(files: list[Path]) -> list[tuple[str, str]]:
    """Decoding and two views of each photo by threads, as the package does it, and by processes that send nothing."""
    from joblib import Parallel, delayed

    from ensemble_minerals.system.cpu import cores

    rows = []
    for name, backend in (("threads", "threading"), ("processes", "loky")):
        with Parallel(cores(), backend=backend, batch_size=4) as workers:
            workers(delayed(_draw)(file) for file in files)  # starts them
            photos = 4 * len(files) / _seconds(lambda: workers(delayed(_draw)(file) for file in 4 * files))
        rows.append((f"decoding and two views by {name}, images a second", f"{2 * photos:.0f}"))
    return rows


def _draw(file: Path) -> None:
    from ensemble_minerals.data.decoding import decoded
    from ensemble_minerals.data.views import draw_views

    with decoded(file, at_least=384) as photo:
        list(draw_views(photo.pixels, ("squash", "squash_flip"), SIZE))


def folds(files: list[Path], folder: Path, cards: list[str]) -> list[tuple[str, str]]:
    """A fine-tuned fold on one card, and one on each card at once."""
    import numpy as np
    from joblib import Parallel, delayed

    from ensemble_minerals.data.image_cache import ImageCache
    from ensemble_minerals.system.cpu import cores

    images = ImageCache(files, side=SIZE, folder=folder, limit_mb=1024)
    images.prepare(cores())
    labels = np.arange(len(files)) % 4
    devices = cards or ["cpu"]
    one = _seconds(lambda: _train(images, labels, devices[0]))
    rows = [("a fine-tuned fold, photos a second", f"{2 * len(files) / one:.0f}")]
    if len(cards) > 1:
        together = _seconds(
            lambda: Parallel(len(cards))(delayed(_train)(images, labels, device) for device in cards)
        )
        rows.append(
            (f"**{len(cards)} folds on as many cards, over one**", f"{len(cards) * one / together:.1f}")
        )
    return rows


def _train(images: Any, labels: Any, device: str) -> None:
    import numpy as np

    from ensemble_minerals.config.networks import NetworkConfig
    from ensemble_minerals.networks.training.estimator import FineTunedNetwork

    config = NetworkConfig.model_validate(
        {
            "name": "net", "model": "resnet18", "weights": "random", "size": SIZE if device != "cpu" else 32,
            "phases": [{"epochs": 2, "keep": "last"}], "validation_fraction": 0.0,
        }
    )  # fmt: skip
    FineTunedNetwork(config, images, device=device).fit(np.arange(len(labels)), labels)


def full_memory() -> str:
    """What the user reads when the card's memory is used up."""
    import torch

    from ensemble_minerals.errors import card_error

    try:
        torch.empty(1 << 50, device="cuda")
    except RuntimeError as error:
        return card_error(error) or f"no sentence for {error!r}"
    return "the card took a petabyte"


def _seconds(work: Any) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
