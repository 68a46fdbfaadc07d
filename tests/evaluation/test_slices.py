"""Slices: what is measured on a picture, how rows are divided, and the weak slice first."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from ensemble_minerals.evaluation.metrics import confusion_counts
from ensemble_minerals.evaluation.photo_measures import measure
from ensemble_minerals.evaluation.slices import FEW, slice_table, slicings


def noise(size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def plain(color, size=(60, 80)):
    return np.full((*size, 3), color, dtype=np.uint8)


def test_brightness_and_saturation():
    assert measure(plain(0))["brightness"] == 0
    assert measure(plain(255))["brightness"] == pytest.approx(1, abs=1e-5)
    assert measure(plain(120))["saturation"] == 0
    assert measure(plain((255, 0, 0)))["saturation"] == 1
    assert measure(plain((0, 200, 0)))["brightness"] > measure(plain((0, 0, 200)))["brightness"]


def test_blur_is_less_sharp():
    photo = Image.fromarray(noise((30, 40))).resize((400, 300), Image.Resampling.BICUBIC)
    soft = photo.filter(ImageFilter.GaussianBlur(6))
    sharp, blurred = (measure(np.asarray(one))["sharpness"] for one in (photo, soft))
    assert blurred < sharp / 2


def test_sharpness_does_not_depend_on_the_number_of_pixels():
    photo = Image.fromarray(noise((20, 20))).resize((600, 600), Image.Resampling.BICUBIC)
    large = measure(np.asarray(photo))["sharpness"]
    small = measure(np.asarray(photo.resize((300, 300), Image.Resampling.BOX)))["sharpness"]
    assert small == pytest.approx(large, rel=0.1)


def test_the_background_is_what_lies_at_the_border():
    busy_inside = plain(230, (200, 200))
    busy_inside[60:140, 60:140] = noise((80, 80))
    assert measure(busy_inside)["background"] == 0
    assert measure(noise((200, 200)))["background"] > 0.9


@pytest.mark.parametrize("size", [(8, 8), (8, 900), (1200, 9)])
def test_small_and_oblong_pictures_can_be_measured(size):
    assert all(np.isfinite(value) for value in measure(noise(size)).values())


def by_measure(found, name):
    return next(one for one in found if one.measure == name)


def test_quarters_are_of_equal_count_and_keep_equal_values_together():
    values = np.arange(40.0)
    quarters = by_measure(slicings({"brightness": values}), "brightness")
    assert np.bincount(quarters.of_row).tolist() == [10, 10, 10, 10]
    assert quarters.names[0] == "darkest quarter"
    assert quarters.spans[-1] == "30.00 to 39.00"
    tied = by_measure(slicings({"brightness": np.array([1.0] * 30 + [2.0] * 10)}), "brightness")
    assert len(set(tied.of_row[:30].tolist())) == len(set(tied.of_row[30:].tolist())) == 1


def test_what_is_not_known_is_in_no_slice():
    measures = {
        "brightness": np.array([0.1, np.nan, 0.9]),
        "aspect": np.array([np.nan, 1.0, 2.0]),
        "format": np.array(["JPEG", "", "PNG"]),
        "sharpness": np.full(3, np.nan),
    }
    found = slicings(measures)
    assert [one.measure for one in found] == ["brightness", "aspect", "format"]
    assert by_measure(found, "brightness").of_row[1] == -1
    assert by_measure(found, "aspect").of_row.tolist() == [-1, 1, 2]
    assert by_measure(found, "format").of_row.tolist() == [0, -1, 1]


def test_kinds_have_fixed_limits():
    found = slicings({"aspect": np.array([0.5, 0.9, 1.1, 1.5]), "background": np.array([0.0, 0.19, 0.21, 1])})
    assert by_measure(found, "aspect").of_row.tolist() == [0, 1, 1, 2]
    assert by_measure(found, "background").of_row.tolist() == [0, 0, 1, 1]


def table(right, y, measures):
    proba = np.eye(2)[np.where(right, y, 1 - y)]
    return slice_table(right, y, confusion_counts(y, proba), slicings(measures))


def test_a_planted_weak_slice_comes_first():
    rng = np.random.default_rng(0)
    n = 400
    y, brightness, other = rng.integers(0, 2, n), rng.random(n), rng.random(n)
    dark = brightness <= np.quantile(brightness, 0.25)
    right = rng.random(n) < np.where(dark, 0.55, 0.95)
    first, *rest = table(right, y, {"brightness": brightness, "saturation": other})
    assert (first.measure, first.name) == ("brightness", "darkest quarter")
    assert first.n == int(dark.sum())
    assert first.errors == int((~right[dark]).sum())
    assert first.accuracy.high < first.expected
    assert [row.accuracy.estimate for row in rest] == sorted(row.accuracy.estimate for row in rest)


def test_few_photos_come_last_and_are_marked():
    right = np.ones(100, dtype=bool)
    right[:5] = False
    right[50] = False
    kinds = np.array(["GIF"] * 10 + ["JPEG"] * 70 + ["PNG"] * FEW)
    found = table(right, np.arange(100) % 2, {"format": kinds})
    assert [(row.name, row.small) for row in found] == [("JPEG", False), ("PNG", False), ("GIF", True)]


def test_expected_is_what_the_mix_of_classes_explains():
    y = np.repeat([0, 1], 50)
    right = np.r_[np.ones(50, dtype=bool), np.arange(50) % 2 == 0]
    kinds = np.where(y == 0, "JPEG", "PNG")
    found = {row.name: row for row in table(right, y, {"format": kinds})}
    assert found["PNG"].accuracy.estimate == found["PNG"].expected == 0.5
    assert found["JPEG"].expected == 1
