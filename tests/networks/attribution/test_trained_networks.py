"""From their maps, fine-tuned networks give the same logits as from the photo; maps are bright at the evidence."""

from __future__ import annotations

import numpy as np
import pytest
from drawn.states import state

from ensemble_minerals.networks.attribution.activation import class_activation, on_photo
from ensemble_minerals.networks.attribution.trained_networks import trained_forward_pass
from ensemble_minerals.networks.inference import NetworkPredictor

pytestmark = pytest.mark.usefixtures("one_thread")

VIT = {"model": "test_vit", "size": 64}


@pytest.fixture(scope="module")
def image(photos):
    return photos.image(1)


def contributions(passed, target=1):
    activation = class_activation(passed, lambda views: views.mean(0, keepdim=True), target)
    return activation, on_photo(passed, list(activation.layers.values()), (20, 24))


@pytest.mark.parametrize(
    ("changes", "changed", "n_states", "names"),
    [
        ({"head": {"kind": "layers"}}, "body.blocks.4", 1, ("map",)),
        ({"head": {"kind": "layers"}}, "body.blocks.4", 2, ("state0-map", "state1-map")),
        ({"head": {"kind": "layers"}}, "nothing", 2, ("map",)),
        ({"head": {"kind": "own"}}, "body.blocks.4", 2, ("state0-map", "state1-map")),
        ({"head": {"kind": "own"}}, "nothing", 2, ("map",)),
        ({"head": {"kind": "layers", "pooling": "taps"}}, "nothing", 2, None),
        ({"head": {"kind": "layers", "pooling": "taps"}}, "body.blocks.4", 1, None),
        ({"head": {"kind": "layers", "pooling": "taps"}}, "body.blocks.4", 2, None),
        ({**VIT, "head": {"kind": "layers"}}, "body.blocks.5", 2, ("state0-map", "state1-map")),
        ({**VIT, "head": {"kind": "own"}}, "body.blocks.5", 2, ("state0-map", "state1-map")),
        ({**VIT, "head": {"kind": "own"}}, "nothing", 1, ("map",)),
    ],
)
def test_opened_networks_answer_as_closed_ones(network_config, image, changes, changed, n_states, names):
    config = network_config(**changes, views=("squash", "center_flip"))
    predictor = NetworkPredictor([state(config, changed, seed) for seed in range(n_states)], "random")
    passed = trained_forward_pass(predictor, "random", image)
    np.testing.assert_allclose(passed.features(), predictor.logits([image])[0], atol=1e-4)
    assert names is None or passed.names == names
    activation, drawn = contributions(passed)
    assert activation.score == pytest.approx(passed.features().mean(0)[1], abs=1e-4)
    assert np.abs(drawn).max() > 0
    assert np.ptp(drawn) > 0
    assert set(passed.maps()) == set(passed.names)


@pytest.mark.parametrize("resize", ["squash", "pad"])
def test_views_of_any_shape_come_back_to_their_place(network_config, resize):
    """A network that feels brightness alone finds the bright corner, whatever view it saw it in."""
    config = network_config(
        size=(32, 64), views=("squash", "center_flip", "detail"), resize=resize, head={"kind": "layers"}
    )
    predictor = NetworkPredictor([state(config, "nothing", 0)], "random")
    image = np.zeros((60, 80, 3), np.uint8)
    image[18:30, 48:60] = 255
    passed = trained_forward_pass(predictor, "random", image)
    boxes = passed.boxes
    width = boxes[:, 2] - boxes[:, 0]
    height = boxes[:, 3] - boxes[:, 1]
    assert width == pytest.approx([1.0 if resize == "squash" else 1.5, 1.0, 0.7])
    assert height == pytest.approx([1.0, 2 / 3, 0.7 * 2 / 3])
    np.testing.assert_allclose(boxes[:, :2] + boxes[:, 2:], 1.0)
    assert passed.mirrored.tolist() == [False, True, False]


def test_the_quarter_that_matters_is_bright(network_config):
    config = network_config(size=128, views=("squash", "squash_flip"), head={"kind": "layers"})
    predictor = NetworkPredictor([state(config, "nothing", 0)], "random")
    image = np.full((40, 40, 3), 90, np.uint8)
    image[:20, 20:] = np.random.default_rng(0).integers(0, 256, (20, 20, 3))
    passed = trained_forward_pass(predictor, "random", image)
    passed.inputs[0][:, :, :, :] = 0.0  # a map of the trained network, of which only one corner is awake
    side = passed.inputs[0].shape[2] // 2
    passed.inputs[0][0, :, :side, -side:] = 1.0
    passed.inputs[0][1, :, :side, :side] = 1.0  # mirrored
    activation = class_activation(passed, lambda views: views.mean(0, keepdim=True), 0)
    sign = np.sign(activation.layers["map"].sum())
    drawn = sign * on_photo(passed, list(activation.layers.values()), (40, 40))
    quarters = drawn.reshape(2, 20, 2, 20).sum(axis=(1, 3))
    assert np.unravel_index(quarters.argmax(), (2, 2)) == (0, 1)
