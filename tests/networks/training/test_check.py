from __future__ import annotations

import pytest
import torch

from ensemble_minerals.errors import ConfigError, WeightsError
from ensemble_minerals.networks.training import check
from ensemble_minerals.networks.training.check import check_network

pytestmark = pytest.mark.usefixtures("one_thread")
TAPS = {"kind": "layers", "pooling": "taps"}


@pytest.mark.parametrize("phase", [{"train": "head"}, {"train": "last:1"}, {"train": "all"}])
@pytest.mark.parametrize("prefix_views", [0, 2])
def test_a_network_that_can_be_trained_passes_and_random_numbers_stay(network_config, phase, prefix_views):
    state = torch.get_rng_state()
    check_network(network_config(phase, prefix_views=prefix_views))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("phase", "changes", "words"),
    [
        ({"train": "last:9"}, {}, "more than the 5 blocks"),
        ({"train": ["no_such_layer"]}, {}, "no layer 'no_such_layer'"),
        ({}, {"head": {"kind": "layers", "hidden": [8], "dropout": [0.1]}}, "1 shares for 2 dense layers"),
        ({"train": "head"}, {"prefix_views": 1, "cutmix": 1.0}, "set cutmix or prefix_views to 0"),
        (
            {"train": "last:1"},
            {"prefix_views": 1, "model": "test_vit", "size": 160, "head": TAPS},
            "set prefix_views to 0",
        ),
    ],
)
def test_a_network_that_cannot_be_trained_is_refused(network_config, phase, changes, words):
    with pytest.raises(ConfigError, match=words):
        check_network(network_config(phase, **changes))


def test_an_unknown_model_is_refused(network_config):
    with pytest.raises(WeightsError, match="knows no model 'test_efficientnett'"):
        check_network(network_config(model="test_efficientnett"))


def test_tensorboard_that_is_not_there_is_said_before_training(network_config, monkeypatch):
    monkeypatch.setattr(check.importlib.util, "find_spec", lambda name: None)
    check.check_network(network_config())
    with pytest.raises(ConfigError, match=r"'tiny': tensorboard .*ensemble-minerals\[tensorboard\]"):
        check.check_network(network_config(tensorboard="events"))
