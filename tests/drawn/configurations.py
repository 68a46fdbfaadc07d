"""A small configuration, and the problems of one that does not load."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from ensemble_minerals.config.loading import load_config
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
