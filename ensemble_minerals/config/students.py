"""How a student is trained, unless the user says otherwise."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from ensemble_minerals.config.messages import schema_problems
from ensemble_minerals.config.networks import NetworkConfig
from ensemble_minerals.config.overrides import apply_override
from ensemble_minerals.errors import ConfigError

SIZE = 224
"""Side of a student's input in pixels."""

RECIPE: Mapping[str, Any] = {
    # Minerals are color and texture, which the maps of all stages keep and the last one alone forgets.
    "head": {"pooling": "taps", "batch_norm": True, "dropout": 0.3, "init": "zero"},
    "phases": [
        {
            "train": "all",
            "optimizer": "adamw",
            "lr": 1e-3,
            "layer_decay": 0.85,
            "weight_decay": 0.02,
            "schedule": "one_cycle",
            "epochs": 12,
            "keep": "last",
        }
    ],
    "mixup": 0.2,
    "average_last": 3,
    # Only where the first layers rest: each photo goes through them in so many views, once.
    "prefix_views": 12,
    # Epochs under one cycle leave nothing to stop early: all rows are trained on.
    "validation_fraction": 0.0,
    "augment": {
        "crop": [0.4, 1.0],
        "horizontal_flip": True,
        "vertical_flip": True,
        "brightness": 0.2,
        "contrast": 0.2,
        "saturation": 0.2,
        "hue": 0.03,
    },
    # Half of what an answer rests on is the photo's middle at its full sharpness: fine texture.
    "views": ["squash", "detail"],
}
"""Settings of `NetworkConfig`."""


def student_config(
    model: str,
    *,
    weights: str = "hub",
    size: int | None = SIZE,
    epochs: int | None = None,
    overrides: Sequence[str] = (),
) -> NetworkConfig:
    """Say how a student is trained.

    Args:
        model: Any timm model name.
        weights: Where training starts: ``hub``, ``random``, ``package:NAME``, or the path of a weights file.
        size: Side of the square input in pixels; None takes the weights' own.
        epochs: Of the last phase; None leaves the recipe's.
        overrides: Values to set, ``path=value`` with YAML values, such as ``phases.0.train=last:4``; later ones win.

    Raises:
        ConfigError: With every problem found.
    """
    data: dict[str, Any] = copy.deepcopy(dict(RECIPE))
    data |= {"name": "student", "model": model, "weights": weights, "size": size}
    problems = []
    for override in overrides:
        try:
            apply_override(data, override)
        except ValueError as error:
            problems.append(str(error))
    if epochs is not None and isinstance(data["phases"], list) and isinstance(data["phases"][-1], dict):
        data["phases"][-1]["epochs"] = epochs
    try:
        config = NetworkConfig.model_validate(data)
    except ValidationError as error:
        raise ConfigError(
            [*problems, *schema_problems(error, NetworkConfig, data)], "the student's settings"
        ) from error
    if problems:
        raise ConfigError(problems, "the student's settings")
    return config
