"""A small folder of photos with the oddities of a real one, for the tests of scan and manifest."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ensemble_minerals.data.manifest import Manifest

COLUMNS = [field.name for field in fields(Manifest) if field.name not in ("root", "warnings")]


def image(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 256, (12 + seed, 20, 3), dtype=np.uint8)
    Image.fromarray(values).save(path, "PNG")


@pytest.fixture
def data(tmp_path) -> Path:
    """Two classes, odd names, a copy, a broken file and one that is no image."""
    root = tmp_path / "photos"
    for seed, name in enumerate(["a 1.png", "b%20.png", "deep/ünïcode", "ж.jpg"]):
        image(root / "quartz" / name, seed)
    for seed, name in enumerate(["1.png", "2.png"], start=4):
        image(root / "biotite" / name, seed)
    (root / "biotite" / "copy.png").write_bytes((root / "biotite" / "1.png").read_bytes())
    (root / "biotite" / "cut.png").write_bytes((root / "biotite" / "1.png").read_bytes()[:300])
    (root / "quartz" / "notes.txt").write_text("found in 1987")
    return root


def assert_same(one: Manifest, other: Manifest) -> None:
    for name in COLUMNS:
        left, right = getattr(one, name), getattr(other, name)
        assert left.dtype == right.dtype, name
        assert left.tolist() == right.tolist(), name
