"""Two bundles on the same photos: which photos, what is said, and what is refused."""

from __future__ import annotations

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest

import ensemble_minerals as em
from ensemble_minerals.bundle.bundle import read_bundle
from ensemble_minerals.errors import UserError
from ensemble_minerals.workflows import compare as module
from ensemble_minerals.workflows.compare import compare


@pytest.fixture(scope="module")
def bundles(tiny, tmp_path_factory):
    """The fit of the session, and one with other members and other folds."""
    out = tmp_path_factory.mktemp("other") / "bundle"
    tiny.fit(
        tiny.photos, out, tiny.config(members=[{"features": ["descriptor"], "strategy": "flat"}], seed=3)
    )
    return tiny.bundle, out


def test_both_are_scored_on_the_photos_that_both_answered(bundles):
    result = em.compare(*bundles, n_jobs=1)
    first, second = (read_bundle(path).metrics["oof"] for path in bundles)
    for score in ("accuracy", "log_loss"):
        assert result.paired.scores[score].first == pytest.approx(first[score])
        assert result.paired.scores[score].second == pytest.approx(second[score])
    net = sum(change.mended - change.broken for change in result.paired.classes) / result.paired.n
    assert result.paired.scores["accuracy"].difference.estimate == pytest.approx(net)
    assert f"of {result.paired.n} photos" in repr(result)


def test_turned_round_it_says_the_opposite(bundles):
    there, back = compare(*bundles, n_jobs=1), compare(*reversed(bundles), n_jobs=1)
    for name, score in there.paired.scores.items():
        assert score.difference.estimate == pytest.approx(-back.paired.scores[name].difference.estimate)
        assert score.p == back.paired.scores[name].p
    assert {(photo.first, photo.second) for photo in there.changed} == {
        (photo.second, photo.first) for photo in back.changed
    }


def test_the_result_is_saved(bundles, tmp_path):
    result = compare(*bundles, out=tmp_path / "all.json", n_jobs=1)
    saved = json.loads((tmp_path / "all.json").read_text())
    assert saved["scores"]["accuracy"]["first"] == result.paired.scores["accuracy"].first
    compare(*bundles, out=tmp_path / "changed.csv", n_jobs=1)
    with (tmp_path / "changed.csv").open(newline="") as stream:
        assert [row["path"] for row in csv.DictReader(stream)] == [photo.path for photo in result.changed]
    with pytest.raises(UserError, match="--overwrite"):
        compare(*bundles, out=tmp_path / "all.json", n_jobs=1)
    with pytest.raises(UserError, match=r"must end in \.csv"):
        compare(*bundles, out=tmp_path / "all.txt", n_jobs=1)


def test_photos_that_took_part_are_no_other_photos(bundles, tiny):
    with pytest.raises(UserError, match="took part in the fit"):
        compare(*bundles, data=tiny.photos, n_jobs=1)


def test_other_classes_are_refused():
    first = SimpleNamespace(path="a", classes=("mica", "quartz"))
    second = SimpleNamespace(path="b", classes=("mica", "pyrite"))
    with pytest.raises(UserError, match="only a knows quartz; only b knows pyrite"):
        module._check_classes(first, second)


def scored(digests, labels):
    manifest = SimpleNamespace(image_id=np.array(digests), label=np.array(labels))
    return SimpleNamespace(manifest=manifest, rows=np.arange(len(digests)))


def test_photos_are_matched_by_content_and_other_labels_left_out():
    rows, notes = module._common_rows(
        scored(["c", "a", "b", "x"], ["mica", "quartz", "mica", "mica"]),
        scored(["b", "a", "c"], ["mica", "quartz", "pyrite"]),
    )
    assert [row.tolist() for row in rows] == [[2, 1], [0, 1]]
    assert notes == [
        "1 photos that only one of the two has answered are left out.",
        "1 photos with another label in each fit are left out.",
    ]
    with pytest.raises(UserError, match="no photo in common"):
        module._common_rows(scored(["a"], ["mica"]), scored(["b"], ["mica"]))


def test_photos_that_either_kept_together_are_together():
    joined = module._joined(np.array([0, 0, 1, 2]), np.array([5, 6, 6, 7]))
    assert joined[0] == joined[1] == joined[2] != joined[3]
