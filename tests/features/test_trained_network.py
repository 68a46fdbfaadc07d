from __future__ import annotations

import pytest

from ensemble_minerals.config.networks import NetworkConfig
from ensemble_minerals.features.trained_network import image_side


@pytest.mark.parametrize(
    ("changes", "side"),
    [
        ({}, 115),
        ({"augment": {"crop": (0.5, 1.0)}}, 141),
        ({"augment": {"crop": (0.9, 1.0)}}, 115),
        ({"augment": {"crop": (0.0, 1.0)}}, 160),
        ({"views": ("squash", "detail_flip")}, 143),
        ({"views": ("detail",), "augment": {"crop": (0.4, 1.0)}}, 158),
        ({"size": (60, 200)}, 230),
    ],
)
def test_pictures_are_kept_large_enough_that_crops_need_not_be_enlarged(changes, side):
    network = NetworkConfig(**{"name": "net", "model": "test_efficientnet", "size": 100, **changes})
    assert image_side(network) == side
