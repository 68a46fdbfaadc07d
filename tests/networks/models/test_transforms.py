import numpy as np
import pytest
import torch
from PIL import Image

from ensemble_minerals.config.networks import AugmentConfig, RandAugmentConfig
from ensemble_minerals.data.views import CUTS, PILLOW_TRANSFORM, draw_views
from ensemble_minerals.networks.models.transforms import EvalTransform, Normalize, TrainTransform
from ensemble_minerals.networks.models.weights import Preprocessing

ALL = AugmentConfig(
    crop=(0.4, 1.0),
    horizontal_flip=True,
    vertical_flip=True,
    rotation=30,
    shift=0.1,
    shear=10,
    zoom=0.2,
    brightness=0.3,
    contrast=0.3,
    saturation=0.3,
    hue=0.1,
    noise=0.05,
    erasing=0.5,
    randaugment=RandAugmentConfig(),
)
SIZE = (32, 40)


def smooth(height, width, seed=0):
    """An image of gentle slopes, which survives resampling."""
    cells = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC))


def transform(resize="squash", size=SIZE, seed=0, **changes):
    return TrainTransform(AugmentConfig(**changes), size, resize, seed)


def views(changing, image, n=30):
    return [changing(image, epoch=0, row=row) for row in range(n)]


def test_random_numbers_come_from_seed_epoch_row_and_draw_alone():
    image = smooth(48, 60)
    changing = TrainTransform(ALL, SIZE, "squash", 3)
    first = changing(image, epoch=1, row=2, draw=3)
    torch.manual_seed(99)
    changing(image, epoch=5, row=5)
    assert torch.equal(TrainTransform(ALL, SIZE, "squash", 3)(image, epoch=1, row=2, draw=3), first)
    others = [
        changing(image, epoch=2, row=2, draw=3),
        changing(image, epoch=1, row=3, draw=3),
        changing(image, epoch=1, row=2),
        changing(image, epoch=2, row=1, draw=3),
        TrainTransform(ALL, SIZE, "squash", 4)(image, epoch=1, row=2, draw=3),
    ]
    assert not any(torch.equal(other, first) for other in others)


def test_the_global_random_numbers_are_left_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    views(TrainTransform(ALL, SIZE, "squash", 0), smooth(48, 60), 3)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("resize", ["squash", "pad"])
@pytest.mark.parametrize("shape", [(48, 60), (20, 90), (32, 40)])
def test_whatever_is_switched_on_shape_and_range_hold(resize, shape):
    for view in views(TrainTransform(ALL, SIZE, resize, 0), smooth(*shape), 10):
        assert view.shape == (3, *SIZE)
        assert view.dtype == torch.float32
        assert view.min() >= 0
        assert view.max() <= 1


def test_a_read_only_image_is_welcome():
    image = smooth(32, 40).copy()
    image.flags.writeable = False
    assert torch.equal(transform()(image, epoch=0, row=0), torch.tensor(image).permute(2, 0, 1) / 255)


@pytest.mark.parametrize("resize", ["squash", "pad"])
def test_without_changes_training_sees_what_prediction_sees(resize):
    image = smooth(48, 90)
    seen = transform(resize)(image, epoch=0, row=0)
    torch.testing.assert_close(
        seen, EvalTransform(["squash"], SIZE, resize)(image)[0], atol=2.1 / 255, rtol=0
    )


@pytest.mark.parametrize(("flip", "axis"), [("horizontal_flip", 2), ("vertical_flip", 1)])
def test_flips_mirror_half_of_the_photos(flip, axis):
    image = smooth(*SIZE)
    plain = transform()(image, epoch=0, row=0)
    drawn = views(transform(**{flip: True}), image, 60)
    mirrored = [torch.equal(view, plain.flip(axis)) for view in drawn]
    assert all(torch.equal(view, plain) for view, other in zip(drawn, mirrored, strict=True) if not other)
    assert 15 < sum(mirrored) < 45


def test_flips_and_moves_go_together():
    image = smooth(*SIZE)
    plain = transform()(image, epoch=0, row=0)
    for view in views(transform(horizontal_flip=True, vertical_flip=True, zoom=0.001), image, 20):
        nearest = min((view - plain.flip(axes)).abs().max() for axes in ([], [1], [2], [1, 2]))
        assert nearest < 4 / 255
    assert any(
        (view - plain.flip(1)).abs().max() < 4 / 255
        for view in views(transform(vertical_flip=True, zoom=0.001), image, 20)
    )


def centers(view):
    """Center of the bright spot in pixels: across, down."""
    weight = view.mean(0)
    down, across = torch.meshgrid(*(torch.arange(n) + 0.5 for n in weight.shape), indexing="ij")
    return (weight * across).sum() / weight.sum(), (weight * down).sum() / weight.sum()


def spot(height, width, top, left, side=4):
    image = np.zeros((height, width, 3), np.uint8)
    image[top : top + side, left : left + side] = 255
    return image


def test_rotation_turns_about_the_center_up_to_its_limit():
    image = spot(41, 41, 18, 24)
    angles = []
    for view in views(transform(size=(41, 41), rotation=40), image, 40):
        across, down = (value - 20.5 for value in centers(view))
        assert torch.hypot(across, down) == pytest.approx(5.5, abs=0.2)
        angles.append(float(torch.rad2deg(torch.atan2(down, across))))
    assert max(map(abs, angles)) < 45
    assert min(angles) < -20
    assert max(angles) > 20


def test_shift_moves_up_to_its_share_of_each_side():
    moved = [centers(view) for view in views(transform(size=(40, 80), shift=0.1), spot(40, 80, 18, 38), 40)]
    across, down = (np.array([float(value) for value in values]) for values in zip(*moved, strict=True))
    assert 5 < np.abs(across - 40).max() < 8.1
    assert 2.5 < np.abs(down - 20).max() < 4.1


def test_zoom_goes_in_and_out_up_to_its_share():
    areas = [
        float(view.sum()) for view in views(transform(size=(40, 40), zoom=0.5), spot(40, 40, 12, 12, 16), 40)
    ]
    ratio = np.sqrt(np.array(areas) / (3 * 16 * 16))
    assert 0.45 < ratio.min() < 0.7
    assert 1.3 < ratio.max() < 1.55


def test_shear_slants():
    offsets = []
    for view in views(transform(size=(41, 41), shear=30), spot(41, 41, 3, 18), 40):
        across, down = (float(value) - 20.5 for value in centers(view))
        assert down == pytest.approx(-15.5, abs=0.4)
        offsets.append(across)
    assert 5 < max(offsets) < 15.5 * np.tan(np.deg2rad(30)) + 1
    assert min(offsets) < -5


def test_what_is_missing_at_the_edges_is_mirrored_and_not_black():
    white = np.full((40, 40, 3), 255, np.uint8)
    for view in views(transform(rotation=180, shift=0.5, zoom=0.5, shear=30), white, 10):
        assert (view == 1).all()


def test_crops_show_parts_of_the_area_between_the_limits():
    across = np.tile(np.arange(200, dtype=np.uint8)[None, :, None], (200, 1, 3))
    down = across.transpose(1, 0, 2).copy()
    changing = transform(size=(50, 50), crop=(0.25, 0.5))
    shares = []
    for row in range(30):
        # Slopes along each side tell how much of it is seen.
        seen = [changing(image, epoch=0, row=row)[0] * 255 for image in (across, down)]
        width = float(seen[0][25, 40] - seen[0][25, 10]) / 30 * 50
        height = float(seen[1][40, 25] - seen[1][10, 25]) / 30 * 50
        assert 0.7 < width / height < 1.43
        shares.append(width * height / 40000)
    assert 0.22 < min(shares) < 0.32
    assert 0.43 < max(shares) < 0.54


def test_moves_look_beyond_a_crop_before_they_mirror():
    # Cropped and turned in one resampling: around the crop there is the rest of the photo.
    image = np.tile(np.arange(200, dtype=np.uint8)[None, :, None], (200, 1, 3))
    changing = transform(size=(50, 50), crop=(0.25, 0.25), zoom=0.001)
    plain = transform(size=(50, 50), crop=(0.25, 0.25))
    for row in range(5):
        one, other = (change(image, epoch=0, row=row) for change in (changing, plain))
        torch.testing.assert_close(one, other, atol=2 / 255, rtol=0)


def test_a_much_larger_image_is_averaged_not_skipped():
    lines = np.zeros((320, 40, 3), np.uint8)
    lines[::2] = 255
    view = transform(size=(40, 40), zoom=0.01)(lines, epoch=0, row=0)
    assert view.std() < 0.05
    assert view.mean() == pytest.approx(0.5, abs=0.02)


def test_jitter_changes_colors_only_as_far_as_it_may():
    grey = np.full((8, 8, 3), 100, np.uint8)
    levels = [float(view.mean()) * 255 for view in views(transform(size=(8, 8), brightness=0.3), grey)]
    assert 69 <= min(levels) < 85
    assert 115 < max(levels) <= 131
    for change in ("saturation", "hue"):
        assert all(
            ((view * 255).round() - 100).abs().le(1).all()
            for view in views(transform(size=(8, 8), **{change: 0.4}), grey)
        )


def test_noise_has_its_standard_deviation():
    view = transform(size=(64, 64), noise=0.05)(np.full((64, 64, 3), 128, np.uint8), epoch=0, row=0)
    assert float(view.std()) == pytest.approx(0.05, rel=0.05)


def test_erasing_replaces_a_rectangle_by_the_mean_color_in_its_share_of_the_photos():
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    plain = torch.tensor(image).permute(2, 0, 1) / 255
    erased = 0
    for view in views(transform(size=(32, 32), erasing=0.5), image, 60):
        changed = (view != plain).any(0)
        if changed.any():
            erased += 1
            assert 0.01 < changed.float().mean() < 0.4
            torch.testing.assert_close(view[:, changed].mean(1), plain.mean((1, 2)))
    assert 15 < erased < 45


def test_randaugment_changes_most_photos():
    image = smooth(*SIZE)
    plain = transform()(image, epoch=0, row=0)
    drawn = views(transform(randaugment=RandAugmentConfig(operations=2, magnitude=15)), image, 20)
    assert sum(not torch.equal(view, plain) for view in drawn) > 10


@pytest.mark.parametrize("shape", [(48, 48), (60, 37), (33, 100)])
def test_square_views_are_those_that_frozen_features_had(shape):
    names = ["squash", "squash_flip", *CUTS, "detail_flip"]
    image = smooth(*shape)
    ours = EvalTransform(names, (32, 32), "squash")(image)
    assert ours.shape == (9, 3, 32, 32)
    for view, theirs in zip(ours, draw_views(image, names, 32, PILLOW_TRANSFORM), strict=True):
        torch.testing.assert_close(view, torch.tensor(theirs).permute(2, 0, 1) / 255, atol=2.1 / 255, rtol=0)


def test_padded_views_are_those_that_frozen_features_had():
    image = smooth(30, 90)
    ours = EvalTransform(["squash"], (32, 32), "pad")(image)[0]
    theirs = next(iter(draw_views(image, ["pad"], 32, PILLOW_TRANSFORM)))
    torch.testing.assert_close(ours, torch.tensor(theirs).permute(2, 0, 1) / 255, atol=2.1 / 255, rtol=0)


def test_rectangular_centers_have_the_shape_of_the_input():
    image = np.zeros((100, 100, 3), np.uint8)
    image[25:75, :, 0] = 255  # the middle of a square photo for an input twice as wide as high
    image[32:68, 15:85, 1] = 255  # seven tenths of that, nearly
    center, detail = EvalTransform(["center", "detail"], (20, 40), "squash")(image)
    assert (center[0, 1:-1] > 0.9).all()
    assert (detail[1, 1:-1] > 0.9).all()
    assert center[1, 1, 2] == 0


def test_normalize_is_the_formula_in_the_networks_order():
    images = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    mean, std = (100.0, 110.0, 120.0), (1.0, 2.0, 4.0)
    module = Normalize(Preprocessing(mean, std, "bgr", 255.0))
    for channel in range(3):
        expected = (images[:, 2 - channel] * 255 - mean[channel]) / std[channel]
        torch.testing.assert_close(module(images)[:, channel], expected, atol=1e-4, rtol=1e-5)
    plain = Normalize(Preprocessing((0.5, 0.4, 0.3), (0.2, 0.3, 0.4)))
    torch.testing.assert_close(plain(images)[:, 1], (images[:, 1] - 0.4) / 0.3)
    assert module.state_dict() == {}
