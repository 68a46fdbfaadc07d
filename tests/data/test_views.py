from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ensemble_minerals.data.views import (
    BASES,
    PILLOW_TRANSFORM,
    TRANSFORM,
    TRANSFORMS,
    VIEWS,
    check_views,
    draw_views,
    needed_side,
    view_box,
)
from ensemble_minerals.errors import ConfigError


@pytest.fixture
def photo() -> NDArray[np.uint8]:
    """200 wide, 100 high; red grows to the right, green downwards; a blue frame 10 px wide."""
    pixels = np.zeros((100, 200, 3), np.uint8)
    pixels[..., 0] = np.arange(200)[None]
    pixels[..., 1] = np.arange(100)[:, None] * 2
    pixels[:10, :, 2] = pixels[-10:, :, 2] = pixels[:, :10, 2] = pixels[:, -10:, 2] = 255
    return pixels


View: TypeAlias = Callable[[NDArray[np.uint8], str], NDArray[np.uint8]]


@pytest.fixture(params=TRANSFORMS)
def view(request: pytest.FixtureRequest) -> View:
    def draw(photo: NDArray[np.uint8], name: str, size: int = 50) -> NDArray[np.uint8]:
        (drawn,) = draw_views(photo, [name], size, request.param)
        assert drawn.shape == (size, size, 3)
        assert drawn.dtype == np.uint8
        assert drawn.flags.c_contiguous
        return drawn

    return draw


def red_span(drawn: NDArray[np.uint8]) -> tuple[int, int]:
    row = drawn[len(drawn) // 2, :, 0].astype(int)
    return int(row[0]), int(row[-1])


def test_squash_holds_the_whole_image(view: View, photo: NDArray[np.uint8]) -> None:
    drawn = view(photo, "squash")
    assert red_span(drawn) == (pytest.approx(2, abs=2), pytest.approx(198, abs=2))
    assert (drawn[[0, -1], :, 2] > 200).all()


def test_center_is_the_middle_square_of_the_shorter_side(view: View, photo: NDArray[np.uint8]) -> None:
    drawn = view(photo, "center")
    assert red_span(drawn) == (pytest.approx(50, abs=2), pytest.approx(149, abs=2))
    assert (drawn[[0, -1], 10:-10, 2] > 200).all()  # full height
    assert (drawn[10:-10, [0, -1], 2] == 0).all()


def test_detail_is_the_middle_of_that(view: View, photo: NDArray[np.uint8]) -> None:
    drawn = view(photo, "detail")
    assert red_span(drawn) == (pytest.approx(65, abs=2), pytest.approx(134, abs=2))
    assert (drawn[..., 2] == 0).all()


def test_corners_lie_off_the_middle_and_leave_out_the_border(view: View, photo: NDArray[np.uint8]) -> None:
    drawn = view(photo, "top_right")  # 50 px of the middle 100 from left 95, top 5
    assert red_span(drawn) == (pytest.approx(95, abs=1), pytest.approx(144, abs=1))
    assert drawn[0, 25, 1] == pytest.approx(10, abs=2)
    assert drawn[-1, 25, 1] == pytest.approx(108, abs=2)
    boxes = np.array(
        [view_box(name, 200, 100) for name in ("top_left", "top_right", "bottom_left", "bottom_right")]
    )
    np.testing.assert_allclose(boxes[:, :2], [[55, 5], [95, 5], [55, 45], [95, 45]])
    np.testing.assert_allclose(boxes[:, 2:] - boxes[:, :2], 50)


def test_pad_keeps_the_shape_on_white(view: View, photo: NDArray[np.uint8]) -> None:
    drawn = view(photo, "pad")
    assert (drawn[:12] == 255).all()
    assert (drawn[-12:] == 255).all()
    assert red_span(drawn) == (pytest.approx(2, abs=3), pytest.approx(198, abs=3))
    upright = view(np.ascontiguousarray(photo.transpose(1, 0, 2)), "pad")
    assert (upright[:, :12] == 255).all()
    assert view(photo[:1], "pad").shape == (50, 50, 3)


@pytest.mark.parametrize("base", BASES)
def test_a_flip_is_the_mirror_image(view: View, photo: NDArray[np.uint8], base: str) -> None:
    np.testing.assert_array_equal(view(photo, f"{base}_flip"), view(photo, base)[:, ::-1])


def test_views_come_in_the_order_asked_for(photo: NDArray[np.uint8]) -> None:
    names = ["detail", "squash_flip", "squash"]
    for drawn, name in zip(draw_views(photo, names, 50), names, strict=True):
        np.testing.assert_array_equal(drawn, next(draw_views(photo, [name], 50)))


@pytest.mark.parametrize("shape", [(90, 70), (210, 333), (64, 64), (1, 1), (1, 300)])
def test_both_transforms_show_the_same(shape: tuple[int, int]) -> None:
    """But for half a pixel at the edges, and how soft what is reduced becomes."""
    coarse = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    photo = np.asarray(Image.fromarray(coarse).resize(shape[::-1], Image.Resampling.BICUBIC))
    new, former = (
        np.stack(list(draw_views(photo, VIEWS, 48, transform))).astype(int)
        for transform in (TRANSFORM, PILLOW_TRANSFORM)
    )
    assert np.abs(new - former).mean() < 2.5


def test_no_pixel_of_a_large_photo_is_skipped() -> None:
    photo = np.zeros((300, 400, 3), np.uint8)
    photo[:, ::2] = 255
    for name in BASES[:-1]:
        (drawn,) = draw_views(photo, [name], 40)
        assert abs(drawn.astype(int) - 128).max() < 40, name


def test_the_decoder_is_asked_for_enough() -> None:
    assert needed_side(["squash", "center"], 224) == 224
    assert needed_side(["squash", "detail"], 224) == 320
    assert needed_side(["detail_flip"], 100) == 143
    assert needed_side(["detail", "top_left"], 224) == 448


@pytest.mark.parametrize("names", [[], ["squash", "squash"], ["corner"]])
def test_views_are_checked(names: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"views: .* each once"):
        check_views(names)
    assert check_views(VIEWS) == VIEWS
