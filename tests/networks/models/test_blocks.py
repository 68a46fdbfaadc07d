from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from ensemble_minerals.errors import ConfigError
from ensemble_minerals.networks.models import architectures
from ensemble_minerals.networks.models.blocks import blocks_of, split_body

pytestmark = pytest.mark.usefixtures("one_thread")


def body(model, **options):
    torch.manual_seed(0)
    return timm.create_model(model, num_classes=0, **options).eval()


@pytest.mark.parametrize(
    ("model", "n", "first", "last"),
    [
        ("tf_efficientnet_lite0", 16, "blocks.0.0.conv_dw.weight", "conv_head.weight"),
        ("vgg11", 7, "features.3.weight", "features.18.weight"),
        ("resnet10t", 4, "layer1.0.conv1.weight", "layer4.0.conv1.weight"),
        ("test_vit", 6, "blocks.0.norm1.weight", "norm.weight"),
        ("test_convnext", 9, "stages.0.blocks.0.gamma", "stages.3.blocks.1.gamma"),
        (architectures.MODELS[0], 5, "blocks.0.conv.weight", "pre_logits.0.weight"),
    ],
)
def test_blocks_are_counted_from_the_stem(model, n, first, last):
    blocks = blocks_of(body(model))
    assert blocks.n == n
    assert (blocks.depth[first], blocks.depth[last]) == (1, n)


def test_statistics_lie_where_their_weights_do():
    blocks = blocks_of(body("test_efficientnet"))
    pairs = [name for name in blocks.depth if name.endswith("running_mean")]
    assert pairs
    assert all(blocks.depth[name] == blocks.depth[name.replace("running_mean", "weight")] for name in pairs)
    assert blocks.depth["conv_stem.weight"] == blocks.depth["bn1.running_mean"] == 0


@pytest.mark.parametrize(
    ("model", "size"),
    [
        ("test_efficientnet", 32),
        ("test_vit", 160),
        ("test_resnet", 32),
        ("test_convnext", 32),
        ("vgg11", 32),
        (architectures.MODELS[3], 64),
    ],
)
@pytest.mark.parametrize("n_last", [1, 3])
def test_prefix_and_suffix_are_the_whole_network(model, size, n_last):
    network = body(model)
    example = torch.rand(1, 3, size, size)
    prefix, suffix = split_body(network, n_last, example)
    blocks = blocks_of(network)
    for part, early in ((prefix, True), (suffix, False)):
        held = {id(each) for module in part.modules() for each in module.parameters(recurse=False)}
        inside = [name for name, each in network.named_parameters() if id(each) in held and "." in name]
        used = [name for name in inside if not name.startswith(("head", "pre_logits"))]
        assert used
        assert all((blocks.depth[name] <= blocks.n - n_last) == early for name in used)
    images = torch.rand(2, 3, size, size)
    with torch.no_grad():
        torch.testing.assert_close(
            suffix.forward_features(prefix.forward_features(images)), network.forward_features(images)
        )


def test_impossible_cuts_are_said():
    with pytest.raises(ConfigError, match="has 5 blocks"):
        split_body(body("test_efficientnet"), 6, torch.rand(1, 3, 32, 32))

    class Skipping(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1))

        def forward_features(self, x):
            return x + self.blocks(x)

    with pytest.raises(ConfigError, match="set prefix_views to 0"):
        split_body(Skipping(), 1, torch.rand(1, 3, 8, 8))
