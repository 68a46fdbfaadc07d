"""Runs the command line, and draws photos for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from typer.testing import CliRunner, Result

from ensemble_minerals.cli.app import app

COLORS = {"azurite": (40, 60, 170), "malachite": (30, 140, 80), "pyrite": (190, 160, 70)}
CONFIG = """
members:
  - {features: [descriptor], strategy: flat}
  - {features: [descriptor], strategy: one_vs_rest, sampler: random}
folds: {n_splits: 2}
"""


def draw_photo(path: Path, mineral: str, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, *COLORS[mineral]])
    cells = np.clip(rng.normal(COLORS[mineral], 40, (6, 8, 3)), 0, 255).astype(np.uint8)
    Image.fromarray(cells).resize((72, 56), Image.Resampling.BICUBIC).save(path)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])
