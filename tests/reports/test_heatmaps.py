from __future__ import annotations

import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from ensemble_minerals.reports.heatmaps import (
    Heat,
    VoteRow,
    as_address,
    draw_features,
    draw_panel,
    overlay,
    thumbnail,
)

GREY = np.full((60, 90, 3), 128, np.uint8)


def picture(file):
    with Image.open(file) as opened:
        return np.asarray(opened.convert("RGB"))


def lightness(pixels):
    return pixels.astype(float).sum(axis=2)


@pytest.mark.parametrize("shape", [(60, 90), (7, 7), (224, 150)])
def test_an_overlay_has_the_shape_of_the_photo(shape):
    drawn = overlay(GREY, np.random.default_rng(0).random(shape))
    assert drawn.shape == GREY.shape
    assert drawn.dtype == np.uint8


def test_bright_is_where_the_heat_is():
    heat = np.zeros((6, 9))
    heat[:3, 6:] = 1.0
    light = lightness(overlay(GREY, heat))
    assert light[:25, 65:].min() > light[35:].max() + 100
    assert light[:25, 65:].min() > light[:, :50].max() + 100


def test_the_photo_shows_through_where_nothing_speaks():
    photo = np.zeros((40, 40, 3), np.uint8)
    photo[:, 20:] = 255
    light = lightness(overlay(photo, np.zeros((4, 4))))
    assert light[:, 20:].mean() > light[:, :20].mean() + 400


def test_heat_beyond_its_range_is_cut():
    np.testing.assert_array_equal(overlay(GREY, np.full((2, 2), 7.0)), overlay(GREY, np.ones((2, 2))))
    np.testing.assert_array_equal(overlay(GREY, np.full((2, 2), -7.0)), overlay(GREY, np.zeros((2, 2))))


def test_an_address_holds_the_picture():
    head, _, data = as_address(thumbnail(GREY, 30)).partition(",")
    assert head == "data:image/jpeg;base64"
    assert Image.open(BytesIO(base64.b64decode(data))).size == (30, 20)


def test_small_pictures_are_not_enlarged():
    assert thumbnail(GREY, 500).shape == GREY.shape


@pytest.mark.parametrize("n_heats", [1, 3, 7])
def test_a_panel_grows_with_what_it_shows(tmp_path, n_heats):
    rng = np.random.default_rng(0)
    heats = [Heat("photo", None)] + [Heat(f"net{k}", rng.random((6, 9))) for k in range(n_heats - 1)]
    votes = [VoteRow("ensemble", (0.7, 0.2, 0.1), strong=True), VoteRow("a member", (0.05, 0.05, 0.9))]
    file = draw_panel(
        tmp_path / "panel.png", GREY, heats, ("a", "b", "c"), votes, title="one.jpg: a", target=0
    )
    few = picture(file)
    assert few.std() > 0
    more = [*votes, *votes, *votes]
    file = draw_panel(tmp_path / "more.png", GREY, heats, ("a", "b", "c"), more, title="one.jpg: a", target=0)
    assert len(picture(file)) > len(few)


def test_a_panel_may_hold_odd_shapes_and_names(tmp_path):
    tall = np.zeros((400, 20, 3), np.uint8)
    names = tuple(f"a very long name of class {k} $x_1$" for k in range(12))
    votes = [VoteRow("m" * 80, tuple(np.full(12, 1 / 12)))]
    file = draw_panel(
        tmp_path / "p.png", tall, [Heat("photo", None)], names, votes, title="$odd_{name}$.jpg", target=11
    )
    assert max(picture(file).shape) < 4000


def test_maps_of_channels_stand_side_by_side(tmp_path):
    constant, ramp = np.zeros((3, 5, 8)), np.linspace(0, 1, 2 * 16).reshape(2, 4, 4)
    file = draw_features(tmp_path / "f.png", [("early", constant), ("late", ramp)], title="channels")
    drawn = picture(file)
    assert drawn.shape[1] > drawn.shape[0]
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 20
