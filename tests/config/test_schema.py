"""The configuration as an object: frozen, checked, written and read back."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from drawn.configurations import SMALL
from pydantic import ValidationError

from ensemble_minerals.config.extractors import BackboneConfig
from ensemble_minerals.config.files import SHIPPED
from ensemble_minerals.config.loading import load_config
from ensemble_minerals.config.members import (
    MemberConfig,
)
from ensemble_minerals.config.schema import Config
from ensemble_minerals.errors import ConfigError

Write = Callable[[str], Path]


def test_direct_construction_is_checked_too() -> None:
    member = MemberConfig(features=("nowhere",), strategy="flat")
    with pytest.raises(ConfigError, match="no feature extractor is called 'nowhere'"):
        Config(members=(member,))
    with pytest.raises(ValidationError):
        BackboneConfig(name="a", model="b", size="224")  # type: ignore[arg-type]  # the mistake under test


def test_frozen() -> None:
    config = load_config("fast")
    with pytest.raises(ValidationError, match="frozen"):
        config.seed = 1
    with pytest.raises(ValidationError, match="frozen"):
        config.members[0].strategy = "flat"
    assert isinstance(config.members, tuple)
    assert isinstance(config.backbones[0].views, tuple)


def test_survives_pickling() -> None:
    config = load_config("fast", ["taxonomy={a: {b: [x, y]}}"])
    assert pickle.loads(pickle.dumps(config)) == config


@pytest.mark.parametrize("name", SHIPPED)
def test_round_trip(name: str, write: Write) -> None:
    config = load_config(name)
    text = config.to_yaml()
    assert load_config(write(text)) == config
    assert sum(line.startswith("- {name:") for line in text.splitlines()) == len(config.backbones) + len(
        config.members
    )


def test_round_trip_of_awkward_values(write: Write) -> None:
    config = load_config(
        write(SMALL),
        [
            "classes=[no, '1e3', '7', 'null', ' x ', 'a: b', \"line\\nbreak\", é]",
            "taxonomy={yes: ['no'], '3': {deep: '7'}}",
            "members.0.features=[a, descriptor]",
            "members.1.head={kind: mlp, hidden: [], learning_rate: 1e-7}",
            "backbones.0.preprocessing={order: bgr, scale: 255, mean: [103.939, 116.779, 123.68]}",
            "backbones.0.layers=[-2, -1]",
        ],
    )
    assert config.classes == ("no", "1e3", "7", "null", " x ", "a: b", "line\nbreak", "é")
    assert config.taxonomy == {"yes": ["no"], "3": {"deep": ["7"]}}
    again = load_config(write(config.to_yaml()))
    assert again == config
    assert again.to_yaml() == config.to_yaml()
    assert yaml.safe_load(config.to_yaml())["classes"] == list(config.classes)
