"""What counts as the same picture, as the same object, and as neither; on drawn scenes."""

from __future__ import annotations

from io import BytesIO
from itertools import combinations

import numpy as np
import pytest
from drawn.scenes import circles, digit, grain, page, scene, stone, with_banner, with_mark
from PIL import Image, ImageEnhance

from ensemble_minerals.data.same_object.keypoints import COARSE, find_keypoints
from ensemble_minerals.data.same_object.matching import Comparable, compare, may_match, similarities
from ensemble_minerals.data.same_object.overprints import is_overprint


def comparable(pixels) -> Comparable:
    return Comparable(find_keypoints(np.array(pixels)))


def compared(one, other):
    return compare(comparable(one), comparable(other))


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def framed(image: Image.Image) -> Image.Image:
    frame = Image.new("RGB", (400, 320), (90, 20, 20))
    frame.paste(image, (40, 40))
    return frame


def beside(image: Image.Image) -> Image.Image:
    both = Image.new("RGB", (640, 240))
    both.paste(image, (320, 0))
    both.paste(Image.fromarray(grain(77)), (0, 0))
    return both


CHANGES = {
    "cropped": lambda image: image.crop((40, 30, 270, 200)),
    "framed": framed,
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "turned": lambda image: image.rotate(25, Image.Resampling.BICUBIC),
    "a quarter": lambda image: image.resize((80, 60), Image.Resampling.LANCZOS),
    "compressed": lambda image: jpeg(image, 30),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.6),
    "in a collage": beside,
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_same_picture(change):
    photo = scene(stone(1, scale=1.3), stone(2, scale=0.5, at=(50, 190)), ground=grain(3) // 2 + 60)
    grade, evidence = compared(photo, CHANGES[change](Image.fromarray(photo)))
    assert grade == "same_picture"
    assert evidence.mirrored == (change == "mirrored")
    assert evidence.correlation > 0.85


@pytest.mark.parametrize("change", CHANGES)
def test_a_coarse_look_loses_no_pair_that_a_fine_one_finds(change):
    photo = scene(stone(1, scale=1.3), stone(2, scale=0.5, at=(50, 190)), ground=grain(3) // 2 + 60)
    changed = np.array(CHANGES[change](Image.fromarray(photo)))
    one, other = (Comparable(find_keypoints(pixels, COARSE)) for pixels in (photo, changed))
    assert may_match(one, other)
    assert may_match(other, one)


def test_a_coarse_look_is_enough_for_most_other_pairs():
    photos = [Comparable(find_keypoints(grain(seed), COARSE)) for seed in range(12)]
    assert sum(may_match(*pair) for pair in combinations(photos, 2)) <= 1


def test_products_with_a_photo_and_its_mirror_image_come_at_the_cost_of_one():
    one, other = comparable(grain(4)), comparable(scene(stone(5)))
    (plain, straight), (mirrored, turned) = similarities(one, other)
    np.testing.assert_allclose(straight, plain.vectors @ other.vectors.T, atol=1e-5)
    np.testing.assert_allclose(turned, mirrored.vectors @ other.vectors.T, atol=1e-5)
    assert plain is one
    assert mirrored is one.mirror_image


def test_points_are_where_they_are_in_both_photos_as_they_are():
    photo = grain(4)
    mirrored = compared(photo, photo[:, ::-1])[1].points
    np.testing.assert_allclose(mirrored[:, 2], 1 - mirrored[:, 0], atol=0.02)
    np.testing.assert_allclose(mirrored[:, 3], mirrored[:, 1], atol=0.02)
    cropped = compared(photo, photo[60:, 80:])[1].points
    np.testing.assert_allclose(cropped[:, 2] * 240 + 80, cropped[:, 0] * 320, atol=6)
    assert len(mirrored) <= 60


def test_one_stone_elsewhere_is_the_same_object_and_not_the_same_picture():
    one = scene(stone(5), ground=grain(6))
    other = scene(stone(5, scale=1.25, turn=70, at=(190, 130)), ground=grain(7))
    grade, evidence = compared(one, other)
    assert grade == "same_object"
    assert evidence.inliers >= 15
    assert evidence.second_share >= 0.08


def test_another_stone_in_the_same_scene_is_not_the_same_picture():
    ground = grain(8)
    grade, _ = compared(scene(stone(9), ground=ground), scene(stone(10), ground=ground))
    assert grade == "same_object"


def test_a_photo_too_plain_for_keypoints_is_still_the_same_picture():
    image = Image.fromarray(grain(11, (6, 5))).resize((300, 250), Image.Resampling.BICUBIC)
    for other in (image.resize((60, 50)), image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)):
        found = compared(image, other)
        assert found is not None
        assert found[0] == "same_picture"


def apart(draw, n: int = 8) -> list[tuple[int, int]]:
    """Pairs of drawings of a kind that are taken for the same, though none is."""
    photos = [comparable(draw(seed)) for seed in range(n)]
    return [
        pair for pair in combinations(range(n), 2) if compare(photos[pair[0]], photos[pair[1]]) is not None
    ]


@pytest.mark.parametrize(
    "draw",
    [
        grain,
        page,
        digit,
        circles,
        lambda seed: scene(stone(seed)),
        lambda seed: with_banner(scene(stone(seed), ground=30)),
        lambda seed: np.full((50, 60, 3), 30 * seed, np.uint8),
    ],
    ids=["grains", "pages of text", "digits", "rings", "stones on white", "stones above a banner", "plain"],
)
def test_like_things_are_not_the_same(draw):
    assert apart(draw) == []


def test_a_mark_that_unrelated_photos_bear_is_no_object():
    photos = [comparable(with_mark(grain(seed))) for seed in range(20, 25)]
    found = compare(photos[0], photos[1])
    if found is not None:
        assert found[0] == "same_object"
        assert is_overprint(photos[0], photos[1], found[1], photos[2:])
    stones = [comparable(scene(stone(5, turn=turn), ground=grain(30 + turn))) for turn in (0, 40)]
    assert not is_overprint(*stones, compare(*stones)[1], photos)


def test_the_order_of_two_photos_does_not_matter():
    one, other = scene(stone(5), ground=grain(6)), scene(stone(5, turn=30), ground=grain(7))
    there, back = compared(one, other), compared(other, one)
    assert there[0] == back[0]
    assert abs(there[1].inliers - back[1].inliers) <= 0.2 * there[1].inliers
