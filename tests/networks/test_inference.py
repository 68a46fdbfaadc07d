from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from drawn.states import state

from ensemble_minerals.errors import BundleError
from ensemble_minerals.networks.inference import NetworkPredictor

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def images(photos):
    return [photos.image(row) for row in range(5)]


@pytest.mark.parametrize(
    ("head", "change", "shared"),
    [
        ({"kind": "layers"}, ("body.blocks.3", "body.blocks.4", "body.conv_head", "body.bn2"), True),
        ({"kind": "layers"}, ("nothing",), True),
        ({"kind": "own"}, ("body.blocks.4",), True),
        ({"kind": "own"}, ("nothing",), True),
        ({"kind": "layers", "pooling": "taps"}, ("nothing",), True),
        ({"kind": "layers", "pooling": "taps"}, ("body.blocks.4",), True),
        ({"kind": "layers"}, ("body.bn1",), False),
    ],
)
def test_states_answer_together_as_each_alone(network_config, images, head, change, shared):
    config = network_config(head=head, views=("squash", "center_flip"))
    states = [state(config, change, 1), state(config, change, 2, (2, 4))]
    both = NetworkPredictor(states, "random")
    assert (both.shared is not None) == shared
    logits = both.logits(images)
    assert logits.shape == (5, 2, 3 + 1 + 4)
    assert (both.n_views, both.n_outputs) == (2, 8)
    alone = [NetworkPredictor([each], "random").logits(images) for each in states]
    np.testing.assert_allclose(logits, np.concatenate(alone, axis=2), atol=1e-5)
    assert np.ptp(logits[:, 0] - logits[:, 1]) > 0


@pytest.mark.parametrize("pooling", ["avg", "taps"])
@pytest.mark.parametrize("change", ["nothing", "body.blocks.3"])
def test_networks_that_are_cut_alike_keep_their_own_tensors(network_config, images, pooling, change):
    config = network_config(head={"kind": "layers", "pooling": pooling, "batch_norm": True})
    states = [state(config, (change, "body.blocks.4"), seed) for seed in range(3)]
    logits = NetworkPredictor(states, "random").logits(images)
    alone = [NetworkPredictor([each], "random").logits(images) for each in states]
    np.testing.assert_allclose(logits, np.concatenate(alone, axis=2), atol=1e-5)
    assert np.abs(alone[1] - alone[0]).max() > 0.1


def test_what_states_share_is_run_once(network_config, images):
    config = network_config()
    predictor = NetworkPredictor([state(config, ("body.blocks.4",), seed) for seed in (1, 2, 3)], "random")
    calls = []
    for module in [predictor.shared, *predictor.suffixes]:
        for name, part in module.named_modules():
            if name.endswith(("conv_stem", "conv_head")) and isinstance(part, torch.nn.Conv2d):
                part.register_forward_hook(lambda *_, name=name: calls.append(name.rpartition(".")[2]))
    predictor.logits(images[:1])
    assert sorted(calls) == ["conv_head"] * 3 + ["conv_stem"]


def test_logits_are_the_networks_own_plus_the_shift(network_config, images):
    config = network_config(resize="pad")
    chosen = state(config, ("body.bn2",), 4)
    predictor = NetworkPredictor([chosen], "random")
    logits = predictor.logits(images)
    network = chosen.build("random")
    white = np.full((32, 32, 3), 255, np.uint8)
    np.testing.assert_allclose(
        predictor.logits([white])[0, 0],
        network(torch.ones(1, 3, 32, 32))[0].numpy() + np.array([4.0, 5.0, 6.0]),
        atol=1e-5,
    )
    assert logits.shape == (5, 1, 3)
    assert predictor.logits([]).shape == (0, 1, 3)


def test_states_of_different_networks_are_refused(network_config):
    config = network_config()
    first, second = state(config, (), 1), state(config, (), 2)
    other = replace(second, metadata={**second.metadata, "views": ["center"]})
    with pytest.raises(BundleError, match="disagree on views"):
        NetworkPredictor([first, other], "random")
    with pytest.raises(ValueError, match="no states"):
        NetworkPredictor([], "random")


def test_a_precision_that_was_settled_differently_is_no_difference(network_config, images):
    config = network_config()
    first, second = state(config, (), 1), state(config, (), 2)
    other = replace(second, metadata={**second.metadata, "precision": "bfloat16"})
    assert NetworkPredictor([first, other], "random").precision == "float32"
    low = NetworkPredictor([other], "random")
    high = NetworkPredictor([second], "random").logits(images)
    assert low.precision == "bfloat16"
    assert 0 < np.abs(low.logits(images) - high).max() < 0.2


def test_the_number_of_threads_is_left_as_it_was(network_config, images):
    before = torch.get_num_threads()
    NetworkPredictor([state(network_config(), (), 1)], "random", n_threads=2).logits(images)
    assert torch.get_num_threads() == before
