"""Photos for networks, and the smallest network that learns them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ensemble_minerals.config.networks import NetworkConfig
from ensemble_minerals.data.image_cache import ImageCache

COLORS = ((200, 70, 60), (60, 170, 80), (70, 90, 200))
SIDE = 32


class SpiedCache(ImageCache):
    """Records which rows are read."""

    rows_read = ()

    def image(self, row):
        self.rows_read = (*self.rows_read, row)
        return super().image(row)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """36 photos of three colors in turn; shared by the tests, except for `rows_read`."""
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    paths = []
    for number in range(36):
        cells = rng.normal(COLORS[number % 3], 40, (5, 6, 3))
        image = Image.fromarray(np.clip(cells, 0, 255).astype(np.uint8))
        paths.append(folder / f"{number}.png")
        image.resize((48, 40), Image.Resampling.BICUBIC).save(paths[-1])
    table = SpiedCache(paths, side=SIDE, folder=None, limit_mb=8)
    table.prepare()
    return table


@pytest.fixture(scope="session")
def network_config():
    """Make a configuration: test_efficientnet at 32 px, random weights, a step of training."""

    def make(*phases, **changes):
        given = {
            "name": "tiny",
            "model": "test_efficientnet",
            "weights": "random",
            "size": SIDE,
            "precision": "float32",
            "batch_size": 8,
            "phases": tuple({"epochs": 1, **phase} for phase in phases or ({},)),
        }
        return NetworkConfig.model_validate(given | changes)

    return make
