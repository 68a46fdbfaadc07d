from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ensemble_minerals.errors import BundleError, WeightsError
from ensemble_minerals.networks.models.multi_head import build_network
from ensemble_minerals.networks.models.state import NetworkState
from ensemble_minerals.networks.models.weights import load_network
from ensemble_minerals.networks.training.callbacks import copy_tensors

pytestmark = pytest.mark.usefixtures("one_thread")
HEADS = (
    {"kind": "own"},
    {"kind": "layers", "pooling": "stats", "hidden": (5,), "dropout": (0.1, 0.2), "batch_norm": True},
)


def trained(config, n_outcomes=(3, 2), change=("body.blocks.4.0.bn1.running_mean",)):
    torch.manual_seed(1)
    network, loaded = build_network(config, n_outcomes)
    start = copy_tensors(network, network.state_dict())
    with torch.no_grad():
        for name in change:
            network.state_dict()[name].add_(0.5)
    subproblems = [(f"decision {number}", count) for number, count in enumerate(n_outcomes)]
    shift = np.linspace(-1, 1, sum(1 if count == 2 else count for count in n_outcomes))
    state = NetworkState.of(
        network,
        network.state_dict(),
        start=start,
        config=config,
        loaded=loaded,
        subproblems=subproblems,
        shift=shift,
        precision="float32",
    )
    return network.eval(), state


@pytest.mark.parametrize("head", HEADS)
def test_a_saved_state_answers_alike(tmp_path, network_config, head):
    network, state = trained(network_config(head=head))
    state.save(tmp_path / "a.safetensors")
    loaded = NetworkState.load(tmp_path / "a.safetensors")
    assert loaded.metadata == state.metadata
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(loaded.build("random")(images), network(images), rtol=0, atol=0)
    assert (loaded.n_outcomes, loaded.n_outputs, loaded.size) == ((3, 2), 4, (32, 32))


def test_only_what_differs_is_kept(network_config):
    network, state = trained(network_config(head=HEADS[0]))
    assert set(state.tensors) == {"body.blocks.4.0.bn1.running_mean"} | network.head_names()
    everything = trained(network_config(head=HEADS[1]), change=())[1]
    assert all(name.startswith("heads.") for name in everything.tensors)


def test_equal_states_are_equal_bytes(tmp_path, network_config):
    for name in ("a", "b"):
        trained(network_config())[1].save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_other_starting_weights_are_refused_and_the_same_in_another_file_are_not(tmp_path, network_config):
    tensors = load_network("test_efficientnet", "random").network.state_dict()
    with torch.no_grad():
        tensors = {
            name: value + 0.01 if value.is_floating_point() else value for name, value in tensors.items()
        }
    save_file(tensors, tmp_path / "start.safetensors")
    network, state = trained(network_config(weights=str(tmp_path / "start.safetensors")))
    torch.save(tensors, tmp_path / "again.pth")
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(
            state.build(str(tmp_path / "again.pth"))(images), network(images), rtol=0, atol=0
        )
    tensors["conv_stem.weight"] = tensors["conv_stem.weight"] + 1
    save_file(tensors, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="not those that training started from"):
        state.build(str(tmp_path / "other.safetensors"))
    with pytest.raises(WeightsError, match="no weights file"):
        state.build(str(tmp_path / "gone.safetensors"))


def test_a_network_that_is_all_trained_needs_no_starting_weights(tmp_path, network_config):
    config = network_config()
    names = [name for name, value in build_network(config, (2,))[0].state_dict().items() if value.ndim]
    network, state = trained(config, (2,), names)
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(state.build("gone.safetensors")(images), network(images))


def test_damage_is_said(tmp_path, network_config):
    _, state = trained(network_config())
    path = tmp_path / "a.safetensors"
    with pytest.raises(BundleError, match="cannot be read"):
        NetworkState.load(path)
    state.save(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(BundleError, match="cannot be read"):
        NetworkState.load(path)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(BundleError, match="cannot be read"):
        NetworkState.load(path)
    replace(state, metadata={"model": "test_efficientnet"}).save(path)
    with pytest.raises(BundleError, match="digest: is needed but missing"):
        NetworkState.load(path)
    with pytest.raises(
        BundleError, match=r"'body\.nothing' is float32 of shape \(1,\); it has no such tensor"
    ):
        replace(state, tensors={**state.tensors, "body.nothing": torch.zeros(1)}).build("random")
    with pytest.raises(BundleError, match="does not fit"):
        replace(state, tensors={**state.tensors, "body.bn1.weight": torch.zeros(1)}).build("random")
