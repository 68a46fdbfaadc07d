from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from ensemble_minerals.config.networks import LayersHeadConfig
from ensemble_minerals.errors import ConfigError
from ensemble_minerals.networks.models.multi_head import MultiHeadNetwork, build_network, set_dense
from ensemble_minerals.networks.models.taps import TappedNetwork
from ensemble_minerals.networks.models.weights import load_network

pytestmark = pytest.mark.usefixtures("one_thread")


def built(config, n_outcomes=(3, 2, 4)):
    torch.manual_seed(0)
    return build_network(config, n_outcomes)[0].eval()


@pytest.mark.parametrize("pooling", ["own", "avg", "max", "avgmax", "stats", "flatten", "taps"])
@pytest.mark.parametrize("model", ["test_efficientnet", "test_vit"])
def test_every_head_answers_all_subproblems_and_learns(network_config, model, pooling):
    head = {"kind": "own"} if pooling == "own" else {"kind": "layers", "pooling": pooling}
    size = 32 if model == "test_efficientnet" else 160
    network = built(network_config(model=model, size=size, head=head))
    logits = network(torch.rand(2, 3, size, size))
    assert logits.shape == (2, 3 + 1 + 4)
    logits.sum().backward()
    got = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert got >= {name for name in network.head_names() if "running" not in name}
    assert any(name.startswith("body.") and network.depth(name) == 1 for name in got)


def test_pooling_is_what_its_name_says(network_config):
    images = torch.rand(2, 3, 32, 32)
    pooled, seen = {}, None
    for pooling in ("avg", "max", "avgmax", "stats", "flatten"):
        network = built(network_config(head={"kind": "layers", "pooling": pooling}))
        with torch.no_grad():
            seen = network.body.forward_features(network.normalize(images))
            pooled[pooling] = network.pool(images)
    mean, most, std = seen.mean((2, 3)), seen.amax((2, 3)), seen.flatten(2).std(2, correction=0)
    torch.testing.assert_close(pooled["avg"], mean)
    torch.testing.assert_close(pooled["max"], most)
    torch.testing.assert_close(pooled["avgmax"], torch.cat([mean, most], 1))
    torch.testing.assert_close(
        pooled["stats"], torch.cat([mean, std.clamp_min(1e-5)], 1), atol=1e-5, rtol=1e-4
    )
    torch.testing.assert_close(pooled["flatten"], seen.flatten(1))


def test_patches_are_pooled_without_the_class_token(network_config):
    network = built(network_config(model="test_vit", size=160, head={"kind": "layers"}))
    images = torch.rand(1, 3, 160, 160)
    with torch.no_grad():
        tokens = network.body.forward_features(network.normalize(images))
        torch.testing.assert_close(network.pool(images), tokens[:, 1:].mean(1))


def test_taps_are_those_of_frozen_features(network_config):
    network = built(network_config(head={"kind": "layers", "pooling": "taps"}))
    pixels = torch.randint(256, (2, 32, 32, 3), dtype=torch.uint8)
    frozen = TappedNetwork(load_network("test_efficientnet", "random", size=32))
    with torch.no_grad():
        torch.testing.assert_close(network.pool(pixels.permute(0, 3, 1, 2) / 255), frozen(pixels))
    assert all(parameter.requires_grad for parameter in network.body.parameters())
    twin = copy.deepcopy(network)
    with torch.no_grad():
        twin.body.conv_stem.weight.zero_()
        assert not torch.equal(twin.pool(pixels.permute(0, 3, 1, 2) / 255), frozen(pixels))


def test_layers_of_a_head_stand_in_order(network_config):
    head = LayersHeadConfig(batch_norm=True, hidden=(8, 6), dropout=(0.1, 0.2, 0.3))
    network = built(network_config(head=head), (3,))
    kinds = [type(layer) for layer in network.heads[0]]
    block = [nn.BatchNorm1d, nn.Dropout, nn.Linear]
    assert kinds == [*block, nn.ReLU, *block, nn.ReLU, *block]
    assert [layer.p for layer in network.heads[0] if isinstance(layer, nn.Dropout)] == [0.1, 0.2, 0.3]
    assert [layer.out_features for layer in network.heads[0] if isinstance(layer, nn.Linear)] == [8, 6, 3]


def test_a_last_layer_can_start_from_zero(network_config):
    network = built(network_config(head=LayersHeadConfig(init="zero", hidden=(8,))), (3, 2))
    with torch.no_grad():
        assert not network(torch.rand(2, 3, 32, 32)).any()
    assert all(head[1].weight.any() for head in network.heads)


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ({"hidden": (8,), "dropout": (0.1,)}, "1 shares for 2 dense layers"),
        ({"hidden": (8,), "init": "probe"}, "probe goes with one dense layer"),
    ],
)
def test_heads_that_do_not_fit_together(network_config, head, words):
    with pytest.raises(ConfigError, match=words):
        built(network_config(head=LayersHeadConfig.model_construct(**head)))


@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_dense_layer_is_set_through_batch_normalization(network_config, batch_norm):
    network = built(network_config(head=LayersHeadConfig(batch_norm=batch_norm, dropout=0.0)), (3,))
    rng = np.random.default_rng(0)
    rows = rng.normal(3, 2, (20, network.pool(torch.rand(1, 3, 32, 32)).shape[1]))
    weight, bias = rng.normal(size=(3, rows.shape[1])), rng.normal(size=3)
    set_dense(network.heads[0], weight, bias, rows)
    with torch.no_grad():
        answers = network.heads[0](torch.tensor(rows).float()).numpy()
    np.testing.assert_allclose(answers, rows @ weight.T + bias, atol=2e-3)


@pytest.mark.parametrize("kind", ["own", "layers"])
@pytest.mark.parametrize("n_last", [0, 2])
def test_a_split_network_answers_alike_and_shares_names(network_config, kind, n_last):
    network = built(network_config(head={"kind": kind}))
    images = torch.rand(2, 3, 32, 32)
    prefix, suffix = network.split(n_last)
    with torch.no_grad():
        torch.testing.assert_close(suffix(prefix(images)), network(images))
    own = network.state_dict()
    assert all(own[name].data_ptr() == tensor.data_ptr() for name, tensor in suffix.state_dict().items())
    assert suffix.state_dict().keys() >= network.head_names()


@pytest.mark.parametrize("n_last", [0, 1, 2, 4])
def test_a_head_on_taps_of_every_stage_is_split_too(network_config, n_last):
    network = built(network_config(head={"kind": "layers", "pooling": "taps", "batch_norm": True}))
    images = torch.rand(2, 3, 32, 32)
    prefix, suffix = network.split(n_last)
    looked = []
    handle = network.body.conv_stem.register_forward_hook(lambda *_: looked.append("stem"))
    with torch.no_grad():
        torch.testing.assert_close(suffix(prefix(images)), network(images))
        assert len(looked) == 2
        inner = prefix(images)
        suffix(inner)
    handle.remove()
    assert len(looked) == 3
    own = network.state_dict()
    assert all(own[name].data_ptr() == tensor.data_ptr() for name, tensor in suffix.state_dict().items())
    assert suffix.state_dict().keys() >= network.head_names()


def test_gradients_of_a_split_head_on_taps_are_those_of_the_whole(network_config):
    network = built(network_config(head={"kind": "layers", "pooling": "taps", "dropout": 0.0}))
    images, name = torch.rand(2, 3, 32, 32), "body.blocks.4.0.conv_pw.weight"
    learned = dict(network.named_parameters())[name]
    prefix, suffix = network.split(1)
    network(images).square().sum().backward()
    whole = learned.grad.clone()
    learned.grad = None
    suffix(prefix(images).detach()).square().sum().backward()
    torch.testing.assert_close(dict(suffix.named_parameters())[name].grad, whole)
    assert whole.abs().max() > 0


def test_a_transformer_with_a_head_on_taps_cannot_be_cut(network_config):
    network = built(network_config(model="test_vit", size=160, head={"kind": "layers", "pooling": "taps"}))
    with pytest.raises(ConfigError, match="head on taps, cannot be split before its last 1 blocks"):
        network.split(1)


@pytest.mark.parametrize("pooling", ["own", "avg", "stats", "taps"])
def test_all_of_a_network_goes_to_a_device(network_config, pooling):
    """Nothing of it stays behind, as torch's device without memory would tell."""
    head = {"kind": "own"} if pooling == "own" else {"kind": "layers", "pooling": pooling}
    network = built(network_config(head=head)).to("meta")
    assert network(torch.rand(2, 3, 32, 32, device="meta")).device.type == "meta"


def test_inputs_need_not_be_square(network_config):
    network = built(network_config(size=(48, 32), head={"kind": "layers", "pooling": "flatten"}))
    assert network.size == (48, 32)
    assert network(torch.rand(1, 3, 48, 32)).shape == (1, 8)
    own = built(network_config(model="cnn_model_1", size=None, head={"kind": "own"}), (3,))
    assert own.size == (400, 321)
    assert sum(parameter.numel() for parameter in own.parameters()) == 779_253


def test_vgg_does_not_drag_along_dense_layers_that_nothing_uses():
    loaded = load_network("vgg11", "random", size=32)
    network = MultiHeadNetwork(loaded, LayersHeadConfig(), [3], (32, 32))
    assert sum(p.numel() for p in network.parameters()) < 10_000_000
    assert network(torch.rand(2, 3, 32, 32)).shape == (2, 3)
