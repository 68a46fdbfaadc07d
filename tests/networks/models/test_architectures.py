"""From-scratch networks: the published ones to the last parameter, and timm's conventions."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from ensemble_minerals.errors import WeightsError
from ensemble_minerals.networks.models import architectures
from ensemble_minerals.networks.models.taps import TappedNetwork
from ensemble_minerals.networks.models.weights import load_network

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = {"cnn_model_1": 64, "cnn_model_2": 96, "cnn_model_2_1": 96, "cnn_seven": 64}


def trained(network):
    return sum(parameter.numel() for parameter in network.parameters())


def statistics(network):
    return sum(b.numel() for name, b in network.named_buffers() if not name.endswith("num_batches_tracked"))


@pytest.fixture(params=architectures.MODELS)
def name(request):
    return request.param


def test_registered_with_timm(name):
    assert timm.is_model(name)
    assert timm.list_models("cnn_*") == sorted(architectures.MODELS)
    assert not timm.is_model_pretrained(name)


@pytest.mark.parametrize(
    ("name", "parameters", "running"),
    [("cnn_model_1", 779_253, 96), ("cnn_model_2", 1_016_131, 0), ("cnn_model_2_1", 1_016_131, 0)],
)
def test_published_numbers_of_parameters(name, parameters, running):
    network = timm.create_model(name, num_classes=3)
    assert trained(network) == parameters
    assert statistics(network) == running


def test_the_design_for_seven_is_as_large_as_said():
    network = timm.create_model("cnn_seven", num_classes=7)
    assert trained(network) == 1_491_047
    assert f"{trained(network):,}" in architectures.cnn_seven.__doc__


@pytest.mark.parametrize(
    ("name", "maps", "flat"),
    [
        ("cnn_model_1", (12, 12, 10), 1440),
        ("cnn_model_2", (256, 7, 7), 12_544),
        ("cnn_model_2_1", (256, 7, 7), 12_544),
        ("cnn_seven", (256, 5, 5), 256),
    ],
)
def test_the_arithmetic_of_the_write_ups(name, maps, flat):
    network = timm.create_model(name, num_classes=3).eval()
    size = network.pretrained_cfg["input_size"]
    with torch.inference_mode():
        actual = network.forward_features(torch.rand(1, *size))
        pooled = network.global_pool(actual)
    assert actual.shape == (1, *maps)
    assert pooled.shape == (1, flat)
    if name != "cnn_seven":  # nothing is averaged at the network's own size
        torch.testing.assert_close(pooled, actual.flatten(1), rtol=0, atol=0)


def test_the_layers_of_the_first_stand_in_the_published_order():
    network = timm.create_model("cnn_model_1", num_classes=3)
    kinds = [[type(layer).__name__ for layer in block] for block in network.blocks]
    assert kinds == [["Conv2d", "ReLU", "BatchNorm2d", "MaxPool2d"]] * 5
    assert [block.conv.out_channels for block in network.blocks] == [12, 6, 12, 6, 12]
    dense = [layer.out_features for layer in network.modules() if isinstance(layer, nn.Linear)]
    assert dense == [500, 100, 50, 10, 3]


def test_only_the_last_differs_by_dropout():
    rates = {name: timm.create_model(name, num_classes=3).head_drop.p for name in architectures.MODELS}
    assert rates == {"cnn_model_1": 0.0, "cnn_model_2": 0.0, "cnn_model_2_1": 0.5, "cnn_seven": 0.4}
    assert timm.create_model("cnn_model_2", num_classes=3, drop_rate=0.25).head_drop.p == 0.25


def test_a_start_that_neither_fades_nor_explodes():
    """Logits of a fresh network tell images apart, also behind four hidden layers."""
    for name in architectures.MODELS:
        torch.manual_seed(0)
        network = timm.create_model(name, num_classes=3, drop_rate=0.0)
        x = torch.rand(8, 3, SMALL[name], SMALL[name]) * torch.linspace(0.2, 1, 8).view(8, 1, 1, 1)
        spread = network(x).std(0).mean().item()
        assert 1e-3 < spread < 10, name


def test_timms_conventions(name):
    network = timm.create_model(name, num_classes=4, in_chans=1).eval()
    x = torch.rand(2, 1, SMALL[name], SMALL[name])
    with torch.inference_mode():
        maps = network.forward_features(x)
        assert maps.shape[1] == network.num_features == network.feature_info[-1]["num_chs"]
        hidden = network.forward_head(maps, pre_logits=True)
        assert hidden.shape == (2, network.head_hidden_size)
        assert network.get_classifier().in_features == network.head_hidden_size
        torch.testing.assert_close(network(x), network.get_classifier()(hidden))
        network.reset_classifier(6)
        assert network(x).shape == (2, 6)
        assert network.num_classes == 6
        network.reset_classifier(0)
        torch.testing.assert_close(network(x), hidden)
    cfg = network.pretrained_cfg
    assert isinstance(network.get_submodule(cfg["classifier"]), nn.Identity)
    assert (cfg["mean"], cfg["std"]) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    for number, info in enumerate(network.feature_info):
        assert network.get_submodule(info["module"]) is network.blocks[number]


def test_another_pooling_only_where_there_is_one():
    seven = timm.create_model("cnn_seven", num_classes=0, global_pool="max").eval()
    x = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(seven(x), seven.forward_features(x).amax((2, 3)))
        seven.reset_classifier(0, "")
        assert seven(x).shape == (2, 256, 2, 2)
    with pytest.raises(ValueError, match="flattens its map"):
        timm.create_model("cnn_model_1").reset_classifier(3, "avg")


def test_any_size_down_to_the_least(name):
    network = timm.create_model(name, num_classes=3).eval()
    least = network.pretrained_cfg["min_input_size"][-1]
    with torch.inference_mode():
        assert network(torch.rand(1, 3, least, least + 7)).shape == (1, 3)
        with pytest.raises(RuntimeError):
            network(torch.rand(1, 3, least // 2 - 8, least // 2 - 8))


def test_maps_after_chosen_blocks(name):
    network = timm.create_model(name, num_classes=3).eval()
    x = torch.rand(1, 3, SMALL[name], SMALL[name])
    with torch.inference_mode():
        last, maps = network.forward_intermediates(x)
        assert [each.shape[1] for each in maps] == [info["num_chs"] for info in network.feature_info]
        torch.testing.assert_close(last, network.forward_features(x))
        for asked, numbers in (([0, 3], [0, 3]), (2, [3, 4]), ([-1], [4])):
            some = network.forward_intermediates(x, asked, stop_early=True, intermediates_only=True)
            for number, each in zip(numbers, some, strict=True):
                torch.testing.assert_close(each, maps[number])
    with pytest.raises(ValueError, match="NHWC"):
        network.forward_intermediates(x, output_fmt="NHWC")


def test_stopping_early_runs_no_further():
    network = timm.create_model("cnn_seven", num_classes=0).eval()
    network.blocks[2].register_forward_hook(lambda *_: pytest.fail("it ran"))
    network.forward_intermediates(torch.rand(1, 3, 64, 64), [0, 1], stop_early=True, intermediates_only=True)


def test_loaded_like_any_other(name):
    loaded = load_network(name, "random", num_classes=3)
    assert (loaded.mean, loaded.std) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    assert not loaded.network.training
    assert loaded.digest == load_network(name, "random", num_classes=3).digest
    with pytest.raises(WeightsError, match=r"has no pretrained weights; write weights: random"):
        load_network(name, "hub")


def test_weights_go_round_through_a_file(tmp_path):
    from safetensors.torch import save_file

    network = timm.create_model("cnn_model_1", num_classes=3)
    save_file(network.state_dict(), tmp_path / "mine.safetensors")
    loaded = load_network("cnn_model_1", str(tmp_path / "mine.safetensors"), num_classes=3)
    for key, value in network.state_dict().items():
        torch.testing.assert_close(loaded.network.state_dict()[key], value)


def test_serves_as_a_source_of_features():
    tapped = TappedNetwork(load_network("cnn_seven", "random", size=64))
    assert list(tapped.layers) == [f"stage{number}" for number in range(5)]
    assert tapped(torch.zeros(1, 64, 64, 3, dtype=torch.uint8)).shape == (1, 2 * (32 + 48 + 96 + 160 + 256))


def test_near_names_are_offered():
    with pytest.raises(WeightsError, match="cnn_model_2"):
        load_network("cnn_modell_2", "random")
