"""A random split shows what photos of one object on both sides promise."""

from __future__ import annotations

import csv
import json
import shutil
from colorsys import hsv_to_rgb
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ensemble_minerals.bundle.bundle import read_bundle
from ensemble_minerals.prediction import random_split
from ensemble_minerals.prediction.random_split import answer_random_split
from ensemble_minerals.prediction.scored_rows import out_of_fold
from ensemble_minerals.system.runtime import Runtime
from ensemble_minerals.workflows.report import write_report

OBJECTS, PHOTOS = 12, 6


@pytest.fixture(scope="module")
def objects(tiny, tmp_path_factory):
    """Photos whose color tells the object and nothing of its class, the bundle of a fit on them, and its cache."""
    root = tmp_path_factory.mktemp("objects")
    rng = np.random.default_rng(0)
    classes = "abaabbabbaba"  # a hue says nothing of the class of its neighbors
    rows = [("path", "label", "group")]
    for number in range(OBJECTS):
        color = 200 * np.array(hsv_to_rgb(number / OBJECTS, 0.9, 0.9))
        for photo in range(PHOTOS):
            cells = np.clip(rng.normal(color, 12, (6, 8, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(cells).resize((72, 56), Image.Resampling.BICUBIC).save(
                root / f"{number}-{photo}.png"
            )
            rows.append((f"{number}-{photo}.png", f"class {classes[number]}", f"object {number}"))
    with (root / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    tiny.fit(root / "table.csv", root.parent / "bundle", overwrite=True)
    return root, root.parent / "bundle", tiny.cache


def split_at_random(objects, **options):
    _, bundle, cache = objects
    loaded = read_bundle(bundle)
    own = out_of_fold(loaded, options.pop("photos", loaded.photo_root)).locate(1)
    return answer_random_split(
        loaded, own.manifest, own.located, Runtime(1, options.pop("cache", cache)), **options
    )


def accuracy(bundle, proba):
    known = read_bundle(bundle).out_of_fold.known
    return float(np.mean(proba.argmax(axis=1) == known.y))


def test_a_random_split_promises_what_objects_kept_together_do_not_hold(objects, tmp_path):
    _, bundle, cache = objects
    loaded = read_bundle(bundle)
    at_random = accuracy(bundle, split_at_random(objects).proba)
    assert at_random > 0.9
    assert loaded.metrics["oof"]["accuracy"] < 0.8
    result = write_report(bundle, out=tmp_path / "report", heatmaps=False, n_jobs=1, cache_dir=cache)
    splits = json.loads(result.json.read_text())["splits"]
    figures = {figure["kind"]: figure for figure in splits["figures"]}
    assert figures["random"]["accuracy"]["estimate"] == pytest.approx(at_random)
    assert figures["objects_together"]["accuracy"]["estimate"] == loaded.metrics["oof"]["accuracy"]
    assert figures["another_source"]["reason"].endswith("--data")
    assert splits["flattery"]["low"] > 0
    page = result.html.read_text(encoding="utf-8")
    assert "in a random split" in page
    assert "The random split differs from objects kept together by" in page


def test_the_same_rows_are_answered_by_the_same_members(objects):
    _, bundle, _ = objects
    answered = split_at_random(objects).proba
    assert answered.shape == read_bundle(bundle).out_of_fold.proba.shape
    np.testing.assert_allclose(answered.sum(axis=1), 1)
    np.testing.assert_array_equal(answered, split_at_random(objects).proba)


def test_it_is_done_unasked_only_where_it_is_quick(objects, monkeypatch):
    assert "features of the photos are not in the cache" in split_at_random(objects, cache=None).reason
    assert split_at_random(objects, cache=None, wanted=True).proba is not None
    assert split_at_random(objects, wanted=False).reason == "not asked for"
    monkeypatch.setattr(random_split, "QUICK", 0.0)
    assert "--random-split does it" in split_at_random(objects).reason


def test_photos_that_are_gone_are_a_reason(objects, tmp_path):
    moved = Path(shutil.copytree(objects[0], tmp_path / "moved"))
    (moved / "3-1.png").unlink()
    assert split_at_random(objects, photos=moved).reason.startswith("1 photo of the fit not at hand")


def test_without_two_photos_of_one_object_it_would_say_the_same(tiny):
    reason = split_at_random((tiny.photos, tiny.bundle, tiny.cache)).reason
    assert reason.startswith("no two photos show the same object")
