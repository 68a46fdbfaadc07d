"""Class-activation maps are bright where a score comes from, and lie where it was seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ensemble_minerals.networks.attribution.activation import (
    DetachedIdentity,
    ForwardPass,
    class_activation,
    frozen_forward_pass,
    on_photo,
    patch_grid,
)
from ensemble_minerals.networks.models.taps import TappedNetwork
from ensemble_minerals.networks.models.weights import load_network

WHOLE = np.array([[0.0, 0.0, 1.0, 1.0]])
STRAIGHT = np.array([False])

pytestmark = pytest.mark.usefixtures("one_thread")


class Cross(nn.Module):
    """Red channel for class 0, blue for class 1, averaged over space."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 2, 4, 4, bias=False)
        self.head = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.body.weight.zero_()
            self.body.weight[0, 0] = self.body.weight[1, 2] = 1 / 16
            self.head.weight.copy_(torch.eye(2))

    def forward(self, images):
        return self.head(self.body(images).mean((2, 3)))


def passed_through(network, images, boxes=WHOLE, mirrored=STRAIGHT):
    return ForwardPass(network, (images,), network.body, ("body",), boxes, mirrored)


@pytest.fixture
def image():
    """Red in the upper right quarter, blue in the lower left."""
    image = torch.zeros(1, 3, 32, 32)
    image[0, 0, :16, 16:] = 1.0
    image[0, 2, 16:, :16] = 0.5
    return image


@pytest.mark.parametrize(("target", "quarter"), [(0, (0, 1)), (1, (1, 0))])
def test_only_the_quarter_that_matters_is_bright(image, target, quarter):
    passed = passed_through(Cross(), image)
    activation = class_activation(passed, lambda views: views, target)
    drawn = on_photo(passed, list(activation.layers.values()), (48, 48))
    quarters = drawn.reshape(2, 24, 2, 24).sum(axis=(1, 3))
    assert np.unravel_index(quarters.argmax(), (2, 2)) == quarter
    assert quarters[quarter] > 0.9 * drawn.sum() > 0


def test_places_add_up_to_the_score(image):
    passed = passed_through(Cross(), image)
    activation = class_activation(passed, lambda views: views, 0)
    assert activation.score == pytest.approx(0.25)
    assert activation.channels["body"].shape == (1, 2, 8, 8)
    assert activation.layers["body"].sum() == pytest.approx(0.25)
    assert on_photo(passed, list(activation.layers.values()), (40, 30)).sum() == pytest.approx(0.25, rel=1e-3)
    fine = on_photo(passed, list(activation.layers.values()), (40, 30), grid=4)
    assert fine.sum() == pytest.approx(0.25, rel=1e-3)


def test_a_place_that_speaks_against_is_negative(image):
    network = Cross()
    with torch.no_grad():
        network.head.weight.copy_(torch.tensor([[1.0, -1.0], [0.0, 1.0]]))
    passed = passed_through(network, image)
    drawn = on_photo(passed, list(class_activation(passed, lambda views: views, 0).layers.values()), (32, 32))
    assert drawn[:12, 20:].min() > 0 > drawn[20:, :12].max()


def test_views_come_back_to_their_place(image):
    """A mirrored view of the whole and a straight one of its right half show the same red quarter."""
    half = nn.functional.interpolate(image[:, :, :, 16:], (32, 32))
    views = torch.cat([image.flip(3), half])
    boxes = np.array([[0, 0, 1, 1], [0.5, 0, 1, 1]])
    passed = passed_through(Cross(), views, boxes, np.array([True, False]))
    activation = class_activation(passed, lambda views: views.mean(0, keepdim=True), 0)
    drawn = on_photo(passed, list(activation.layers.values()), (32, 32))
    assert drawn[:14, 18:].min() > 0
    assert np.abs(drawn[18:]).max() < 1e-6
    assert np.abs(drawn[:, :14]).max() < 1e-6
    assert drawn.sum() == pytest.approx(activation.score, rel=1e-2)


def test_what_a_view_shows_beyond_the_photo_is_left_out(image):
    boxes = np.array([[0.0, -0.5, 1.0, 1.5]])  # padded above and below: the photo is the middle half
    passed = passed_through(Cross(), image, boxes)
    drawn = on_photo(passed, list(class_activation(passed, lambda views: views, 0).layers.values()), (20, 40))
    assert drawn[:8, 22:].min() > 0
    assert np.abs(drawn[12:]).max() < 1e-6
    assert 0.4 < drawn.sum() / 0.25 < 0.6  # half of the red quarter lies above the photo


def test_several_layers_are_explained_at_once():
    maps = (torch.rand(2, 3, 4, 4), torch.rand(2, 5, 2, 2))

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.stop = DetachedIdentity()

        def forward(self, *given):
            return torch.cat([each.mean((2, 3)) for each in self.stop(*given)], 1)

    two = Two()
    passed = ForwardPass(two, maps, two.stop, ("early", "late"), np.repeat(WHOLE, 2, 0), np.zeros(2, bool))
    weight = torch.randn(8, 3)
    activation = class_activation(passed, lambda views: views.mean(0, keepdim=True) @ weight, 2)
    assert sum(each.sum() for each in activation.layers.values()) == pytest.approx(activation.score, abs=1e-5)
    assert set(passed.maps()) == {"early", "late"}
    np.testing.assert_array_equal(passed.maps()["late"], maps[1])


@pytest.mark.parametrize("model", ["test_efficientnet", "test_vit"])
def test_a_tapped_network_gives_the_same_features_through_its_maps(model):
    torch.manual_seed(0)
    network = TappedNetwork(load_network(model, "random", size=64), covariances=4)
    views = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    passed = frozen_forward_pass(network, views, np.repeat(WHOLE, 2, 0), np.array([False, True]))
    with torch.no_grad():
        expected = network(torch.from_numpy(views)).numpy()
    np.testing.assert_allclose(passed.features(), expected, rtol=1e-4, atol=1e-5)
    assert passed.names == tuple(network.layers)
    assert all(each.ndim == 4 and len(each) == 2 for each in passed.maps().values())
    weight = torch.randn(network.n_features, 4, dtype=torch.float64) / 30
    activation = class_activation(passed, lambda views: views.double().mean(0, keepdim=True) @ weight, 1)
    assert activation.score == pytest.approx(float(expected.mean(0) @ weight.numpy()[:, 1]), abs=1e-4)
    drawn = on_photo(passed, list(activation.layers.values()), (30, 50))
    assert drawn.shape == (30, 50)
    assert np.isfinite(drawn).all()
    assert np.abs(drawn).max() > 0


def test_patches_become_a_grid_row_by_row():
    patches = torch.arange(12.0).reshape(1, 4, 3)
    grid = patch_grid(patches)
    assert grid.shape == (1, 3, 2, 2)
    np.testing.assert_array_equal(grid[0, 0], [[0, 3], [6, 9]])
    assert patch_grid(torch.zeros(2, 12, 5), aspect=96 / 128).shape == (2, 5, 3, 4)
