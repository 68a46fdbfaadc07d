from __future__ import annotations

import pytest
import torch

from ensemble_minerals.config.networks import PhaseConfig
from ensemble_minerals.errors import ConfigError
from ensemble_minerals.networks.models.multi_head import build_network
from ensemble_minerals.networks.training.freezing import (
    changing_names,
    freeze,
    parameter_groups,
    trained_names,
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def network(network_config):
    torch.manual_seed(0)
    return build_network(network_config(head={"kind": "layers", "batch_norm": True}), (3,))[0]


def step(network):
    """One step of plain gradient descent in training mode; names of the tensors that moved."""
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    network.train()
    network(torch.rand(6, 3, 32, 32))[:, 0].square().sum().backward()
    optimizer.step()
    after = network.state_dict()
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("train", ["head", "last:2", "all", ("blocks.1", "bn2")])
def test_only_what_a_phase_trains_moves_statistics_included(network, train):
    freeze(network, train)
    moved = step(network)
    frozen = [name for name, parameter in network.named_parameters() if not parameter.requires_grad]
    assert all(network.get_parameter(name).grad is None for name in frozen)
    assert moved <= changing_names(network)
    expected = {
        "head": set(),
        "last:2": {"blocks.4.0.bn1.running_mean", "blocks.3.0.bn1.running_var", "conv_head.weight"},
        "all": {"conv_stem.weight", "bn1.running_mean", "blocks.2.0.bn1.running_mean"},
        ("blocks.1", "bn2"): {"blocks.1.0.bn1.running_mean", "bn2.running_mean"},
    }[train]
    assert {"heads.0.0.running_mean", "heads.0.2.weight"} <= moved
    assert {f"body.{name}" for name in expected} <= moved
    still = {
        "head": "bn2.running_mean",
        "last:2": "blocks.2.0.bn1.running_mean",
        ("blocks.1", "bn2"): "blocks.2.0.bn1.running_mean",
    }
    if train in still:
        assert f"body.{still[train]}" not in moved


def test_layers_wake_up_again(network):
    freeze(network, "head")
    step(network)
    freeze(network, "all")
    assert "body.bn1.running_mean" in step(network)


def test_frozen_layers_stay_in_evaluation_mode(network):
    freeze(network, "last:1")
    network.train()
    assert not network.body.bn1.training
    assert network.body.bn2.training
    assert network.heads[0][1].training
    assert not network.eval().body.bn2.training


def test_the_head_of_a_network_of_its_own(network_config):
    own = build_network(network_config(head={"kind": "own"}), (3,))[0]
    assert trained_names(own, "head") == {"body.classifier.weight", "body.classifier.bias"}


@pytest.mark.parametrize(
    ("train", "words"),
    [("last:6", "more than the 5 blocks"), (("block.1",), r"no layer 'block\.1'; it has blocks\.1")],
)
def test_what_is_not_there_is_said(network, train, words):
    with pytest.raises(ConfigError, match=words):
        freeze(network, train)


def test_rates_fall_with_the_way_from_the_head(network):
    freeze(network, "all")
    phase = PhaseConfig(lr=0.1, body_lr=0.01, layer_decay=0.5, weight_decay=0.3)
    groups = parameter_groups(network, phase)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    settings = {
        names[id(parameter)]: (group["lr"], group["weight_decay"])
        for group in groups
        for parameter in group["params"]
    }
    assert settings.keys() == dict(network.named_parameters()).keys()
    assert sum(len(group["params"]) for group in groups) == len(settings)
    assert settings["heads.0.2.weight"] == (0.1, 0.3)
    assert settings["heads.0.2.bias"] == (0.1, 0.0)
    assert settings["body.conv_head.weight"] == settings["body.blocks.4.0.conv_pw.weight"] == (0.01, 0.3)
    assert settings["body.blocks.3.0.conv_pw.weight"] == (0.005, 0.3)
    assert settings["body.conv_stem.weight"] == (0.01 * 0.5**5, 0.3)
    assert settings["body.bn1.weight"] == (0.01 * 0.5**5, 0.0)
    assert groups[-1]["lr"] == 0.1


def test_one_rate_is_one_pair_of_groups_a_part(network):
    freeze(network, "last:1")
    groups = parameter_groups(network, PhaseConfig(lr=0.1))
    assert [group["lr"] for group in groups] == [0.1] * 4
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    assert sum(len(group["params"]) for group in groups) == len(learning)
