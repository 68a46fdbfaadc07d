from __future__ import annotations

from collections.abc import Iterator
from hashlib import shake_128

import numpy as np
import pytest
import torch
from torch import nn

from ensemble_minerals.errors import ConfigError, WeightsError
from ensemble_minerals.networks.models.taps import TappedNetwork
from ensemble_minerals.networks.models.weights import (
    LoadedNetwork,
    Preprocessing,
    WeightsSource,
    load_network,
)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Tiny networks gain nothing from several threads and wait long for them on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pixels(size: int, n: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (n, size, size, 3), dtype=torch.uint8, generator=generator)


def normalized(loaded: LoadedNetwork, images: torch.Tensor) -> torch.Tensor:
    x = images.permute(0, 3, 1, 2).float() / 255
    return (x - torch.tensor(loaded.mean).view(3, 1, 1)) / torch.tensor(loaded.std).view(3, 1, 1)


@pytest.mark.parametrize("model", ["test_resnet", "test_efficientnet", "test_convnext", "test_mambaout"])
@torch.inference_mode()
def test_stages_of_a_cnn_are_pooled_to_mean_and_deviation(model: str) -> None:
    loaded = load_network(model, "random", size=96)
    tapped = TappedNetwork(loaded)
    vectors = tapped(pixels(96))
    assert vectors.shape == (2, tapped.n_features)
    assert vectors.dtype == torch.float32
    last = loaded.network.forward_features(normalized(loaded, pixels(96)))
    space = (1, 2) if getattr(loaded.network, "output_fmt", "NCHW") == "NHWC" else (2, 3)
    torch.testing.assert_close(vectors[:, tapped.embedding], last.mean(space), rtol=1e-4, atol=1e-5)
    name, columns = list(tapped.layers.items())[-1]
    deviation = vectors[:, tapped.embedding.stop : columns.stop]
    torch.testing.assert_close(deviation, last.std(space, unbiased=False), rtol=1e-3, atol=1e-4)
    assert (name == "final") == (model == "test_efficientnet")


@torch.inference_mode()
def test_blocks_of_a_vit_give_class_token_and_patches() -> None:
    loaded = load_network("test_vit", "random", size=96)
    tapped = TappedNetwork(loaded)
    assert list(tapped.layers) == ["block2", "block3"]  # of six: from a third to three quarters
    seen = {}
    hook = loaded.network.blocks[3].register_forward_hook(lambda *call: seen.update(tokens=call[2]))
    vectors = tapped(pixels(96))
    hook.remove()
    class_token, patches = seen["tokens"][:, 0], seen["tokens"][:, 1:]
    expected = torch.cat([class_token, patches.mean(1), patches.std(1, unbiased=False)], 1)
    torch.testing.assert_close(vectors[:, tapped.layers["block3"]], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(vectors[:, tapped.embedding], patches.mean(1), rtol=1e-4, atol=1e-5)


def test_a_vit_without_class_token_gives_patches_only() -> None:
    network = load_network("test_vit3", "random", size=96)
    width = network.network.embed_dim
    assert getattr(network.network, "cls_token", None) is None
    assert TappedNetwork(network, [-1]).n_features == 2 * width


@torch.inference_mode()
def test_layers_are_chosen_by_number_from_either_end() -> None:
    loaded = load_network("test_efficientnet", "random", size=64)
    every, some = TappedNetwork(loaded), TappedNetwork(loaded, [-1, 2])
    assert list(some.layers) == ["stage2", "final"]
    a, b = every(pixels(64)), some(pixels(64))
    for name, columns in some.layers.items():
        torch.testing.assert_close(b[:, columns], a[:, every.layers[name]])
    inner = TappedNetwork(loaded, [1])
    torch.testing.assert_close(inner(pixels(64)), a[:, every.layers["stage1"]])


@pytest.mark.parametrize("layers", [[99], [-99], []])
def test_a_layer_that_is_not_there_lists_those_that_are(layers: list[int]) -> None:
    with pytest.raises(ConfigError, match=r"test_resnet: it has 0 \(stage0\), 1 \(stage1\)"):
        TappedNetwork(load_network("test_resnet", "random", size=64), layers)


@torch.inference_mode()
def test_blue_first_weights_see_blue_first() -> None:
    caffe = Preprocessing((103.939, 116.779, 123.68), (1.0, 2.0, 4.0), "bgr", 255.0)
    loaded = load_network("test_resnet", "random", size=64, preprocessing=caffe)
    images = pixels(64)
    x = images.flip(-1).permute(0, 3, 1, 2).float()
    x = (x - torch.tensor(caffe.mean).view(3, 1, 1)) / torch.tensor(caffe.std).view(3, 1, 1)
    expected = loaded.network.forward_features(x).mean((2, 3))
    tapped = TappedNetwork(loaded)
    torch.testing.assert_close(tapped(images)[:, tapped.embedding], expected, rtol=1e-4, atol=1e-4)


def test_a_network_that_hides_its_layers_is_named() -> None:
    closed = LoadedNetwork(
        nn.Identity(),
        "closed_net",
        WeightsSource("random"),
        "",
        64,
        Preprocessing((0.0,) * 3, (1.0,) * 3),
        "",
        1.0,
    )
    with pytest.raises(WeightsError, match=r"'closed_net'.*forward_intermediates"):
        TappedNetwork(closed)


def test_the_final_map_alone_can_be_asked_for() -> None:
    loaded = load_network("test_efficientnet", "random", size=64)
    every, last = TappedNetwork(loaded), TappedNetwork(loaded, [-1])
    assert list(last.layers) == ["final"]
    torch.testing.assert_close(last(pixels(64)), every(pixels(64))[:, every.layers["final"]])


@pytest.mark.parametrize("model", ["test_efficientnet", "test_vit"])
@torch.inference_mode()
def test_covariances_of_signed_sums_of_channels_follow_the_other_statistics(model: str) -> None:
    loaded = load_network(model, "random", size=64)
    plain, tapped = TappedNetwork(loaded, [-1]), TappedNetwork(loaded, [-1], covariances=3)
    assert tapped.n_features == plain.n_features + 6
    assert tapped.embedding == plain.embedding
    vectors, ((output, _),) = tapped(pixels(64)), tapped.taps(pixels(64))
    torch.testing.assert_close(vectors[:, :-6], plain(pixels(64)))
    channels = output.flatten(2) if output.ndim == 4 else output.transpose(1, 2)
    found = vectors[:, -6:].sign() * vectors[:, -6:] ** 2
    covariances = torch.stack([torch.cov(each, correction=0) for each in channels])
    bits = np.unpackbits(np.frombuffer(shake_128(b"signs").digest(channels.shape[1]), np.uint8))
    signs = torch.from_numpy(1 - 2 * bits[: 3 * channels.shape[1]].reshape(3, -1).astype(np.float32))
    expected = signs @ covariances @ signs.T / channels.shape[1]
    rows, columns = np.triu_indices(3)
    torch.testing.assert_close(found, expected[:, rows, columns], rtol=1e-3, atol=1e-5)
