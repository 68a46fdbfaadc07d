from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from ensemble_minerals.data.decoding import decode
from ensemble_minerals.data.views import PILLOW_TRANSFORM, TRANSFORM, VIEWS, draw_views
from ensemble_minerals.networks.graphs.photo_views import PhotoViews
from ensemble_minerals.networks.models.transforms import EvalTransform

pytestmark = pytest.mark.usefixtures("one_thread")


def drawn(height, width, seed=0):
    """A photo of soft patches, as photos are: neighbors are alike."""
    rng = np.random.default_rng([seed, height, width])
    cells = rng.integers(0, 256, (max(2, height // 12), max(2, width // 12), 3), dtype=np.uint8)
    return np.array(Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC))


def views_of(photo, names, height, width, transform=PILLOW_TRANSFORM):
    return (
        PhotoViews(names, height, width, transform=transform)(torch.from_numpy(photo)[None])[0]
        .permute(0, 2, 3, 1)
        .numpy()
    )


@pytest.mark.parametrize("shape", [(40, 52), (31, 30), (24, 24), (25, 61), (90, 44)])
def test_views_are_those_of_pillow_but_for_its_rounding(shape):
    photo = drawn(*shape)
    actual = views_of(photo, VIEWS, 24, 24)
    expected = np.stack(list(draw_views(photo, VIEWS, 24, PILLOW_TRANSFORM)))
    if max(shape) < 2 * 24:  # larger photos Pillow first averages down
        assert np.abs(actual - expected).max() < 1.6
    assert np.abs(actual - expected).mean() < 0.7


@pytest.mark.parametrize("shape", [(13, 17), (31, 30), (24, 24), (25, 61), (90, 44), (401, 290), (1, 40)])
def test_views_are_those_of_opencv_but_for_its_rounding(shape):
    photo = drawn(*shape)
    actual = views_of(photo, VIEWS, 24, 24, TRANSFORM)
    expected = np.stack(list(draw_views(photo, VIEWS, 24)))
    assert (
        np.abs(actual - expected).max() < 2.6
    )  # 0.5 after averaging, half as much again, and IPP's own rounding
    assert np.abs(actual - expected).mean() < 0.4


def test_an_enlarged_photo_is_interpolated_and_not_blurred():
    photo = drawn(13, 17)
    actual = views_of(photo, ["squash"], 24, 24)
    assert np.abs(actual - np.stack(list(draw_views(photo, ["squash"], 24, PILLOW_TRANSFORM)))).max() < 1.6


@pytest.mark.parametrize("resize", ["squash", "pad"])
def test_inputs_of_any_shape_show_what_the_transform_of_networks_shows(resize):
    photo, names = drawn(40, 50), ("squash", "center", "detail_flip", "top_right")
    mine = [name.replace("squash", resize) for name in names]
    actual = views_of(photo, mine, 20, 36)
    expected = EvalTransform(names, (20, 36), resize)(photo).permute(0, 2, 3, 1).numpy() * 255
    assert np.abs(actual - expected).max() < 1.6


def test_padding_is_white_and_around_the_middle():
    photo = np.zeros((10, 40, 3), dtype=np.uint8)
    actual = views_of(photo, ["pad"], 20, 20)[0]
    assert (actual[:7] == 255).all()
    assert (actual[13:] == 255).all()
    assert np.abs(actual[8:12]).max() < 1e-3


def test_views_stand_in_the_order_of_their_names_and_photos_apart():
    photos = torch.from_numpy(np.stack([drawn(20, 30, seed) for seed in range(3)]))
    actual = PhotoViews(("squash_flip", "squash"), 16, 16)(photos)
    assert actual.shape == (3, 2, 3, 16, 16)
    assert torch.equal(actual[:, 0], actual[:, 1].flip(-1))
    alone = PhotoViews(("squash",), 16, 16)(photos[1:2])
    torch.testing.assert_close(alone[0, 0], actual[1, 1])


@pytest.mark.parametrize(
    ("shape", "factor"),
    [
        ((47, 60), 1),
        ((49, 60), 2),
        ((91, 210), 2),
        ((95, 210), 4),
        ((97, 131), 4),
        ((200, 193), 8),
        ((390, 500), 16),
    ],
)
def test_a_large_photo_is_first_averaged_as_a_jpeg_is_read(shape, factor):
    """At 1/2, 1/4 or 1/8, and what is left of it twice too large is averaged once more."""
    photo = drawn(*shape)
    height, width = (-(-side // factor) for side in shape)
    small = np.zeros((height, width, 3), np.float32)
    for row in range(height):
        for column in range(width):
            cell = photo[row * factor : (row + 1) * factor, column * factor : (column + 1) * factor]
            small[row, column] = cell.mean((0, 1))
    names = ("squash", "detail", "pad")
    actual = PhotoViews(names, 16, 20, side=24)(torch.from_numpy(photo)[None])
    expected = PhotoViews(names, 16, 20)(torch.from_numpy(small)[None])
    torch.testing.assert_close(actual, expected, atol=1e-2, rtol=0)


def test_a_graph_given_the_whole_photo_sees_what_predict_sees():
    photo = drawn(410, 530)
    grain = np.random.default_rng(0).normal(0, 25, (*photo.shape[:2], 1))
    file = BytesIO()
    Image.fromarray(np.clip(photo + grain, 0, 255).astype(np.uint8)).save(
        file, "JPEG", quality=95, subsampling=0
    )
    whole, read = (
        torch.from_numpy(decode(file.getvalue(), at_least=side).pixels)[None] for side in (None, 96)
    )
    assert read.shape[1:3] == (103, 133)
    expected = PhotoViews(["center"], 80, 80)(read)
    with_side, without = (PhotoViews(["center"], 80, 80, side=side)(whole) for side in (96, None))
    apart, apart_without = ((found - expected).abs().mean() for found in (with_side, without))
    assert apart < 0.6 < 2 * apart < apart_without
