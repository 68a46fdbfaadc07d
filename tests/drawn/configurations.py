"""Small configurations, and the problems of one that does not load."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ensemble_minerals.config.loading import build_config, load_config
from ensemble_minerals.config.schema import Config
from ensemble_minerals.errors import ConfigError

SMALL = """
backbones:
  - {name: a, model: resnet18, weights: random}
  - {name: b, model: resnet34, weights: random}
members:
  - {features: each, strategy: flat}
  - {features: all, strategy: one_vs_rest, head: mlp, sampler: smote}
"""


def problems_of(path: Path | str, overrides: Sequence[str] = ()) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    return caught.value.problems


def the_problem(path: Path | str, overrides: Sequence[str] = ()) -> str:
    problems = problems_of(path, overrides)
    assert len(problems) == 1, problems
    return problems[0]


def two_backbones(**changes: Any) -> Config:
    """Two small networks with random weights, a member on each and one on color and texture."""
    backbones = [
        {
            "name": name, "model": "test_efficientnet", "weights": "random", "size": 32,
            "views": ["squash", "center"], "layers": [1, 2],
        }
        for name in ("one", "two")
    ]  # fmt: skip
    members = [{"features": "each", "strategy": "flat"}, {"features": ["descriptor"], "strategy": "flat"}]
    return build_config(
        {
            "backbones": backbones,
            "members": members,
            "folds": {"n_splits": 3},
            "duplicates": {"near": False},  # to a network that knows nothing all look alike
            "engine": "torch",
            "precision": "float32",
            **changes,
        }
    )
