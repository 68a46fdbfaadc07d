from __future__ import annotations

import csv

import pytest

from ensemble_minerals.bundle.bundle import read_bundle
from ensemble_minerals.config.loading import build_config
from ensemble_minerals.data.own_outputs import SYNTHETIC_MARKER
from ensemble_minerals.errors import UserError
from ensemble_minerals.workflows.demo import NEW_OF_CLASS, demonstrate

N_CLASSES = 7


@pytest.fixture(scope="module")
def config():
    return build_config(
        {"members": [{"features": ["descriptor"], "strategy": "flat"}], "folds": {"n_splits": 2}}
    )


@pytest.fixture(scope="module")
def made(config, tmp_path_factory):
    return demonstrate(tmp_path_factory.mktemp("demo"), config, n_jobs=1, scale=0.01)


def test_it_draws_fits_and_answers(made):
    assert len(made.predictions) == NEW_OF_CLASS * N_CLASSES + 1
    assert made.predictions.answered.sum() == NEW_OF_CLASS * N_CLASSES
    assert made.fit.metrics["counts"]["status"]["unreadable"] == 2
    for place, what in made.outputs():
        assert place.exists()
        assert what
    with (made.folder / "predictions.csv").open(newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == len(made.predictions)


def test_whatever_shows_its_numbers_says_synthetic(made):
    assert (made.folder / "photos" / SYNTHETIC_MARKER).is_file()
    assert read_bundle(made.fit.bundle).info["demonstration"] is True
    assert "**Synthetic:**" in (made.fit.bundle / "README.md").read_text(encoding="utf-8")
    assert "Synthetic." in (made.folder / "gallery.html").read_text(encoding="utf-8")


def test_new_photos_are_in_no_training_set(made):
    trained = {file.read_bytes() for file in (made.folder / "photos").rglob("*.*") if file.is_file()}
    new = list((made.folder / "new").glob("*-*.jpg"))
    assert len(new) == NEW_OF_CLASS * N_CLASSES
    assert not [file.name for file in new if file.read_bytes() in trained]


def test_running_again_replaces_what_it_made_and_nothing_else(made, config):
    (made.folder / "mine.txt").write_text("keep")
    (made.folder / "photos" / "quartz" / "leftover.jpg").write_bytes(b"x")
    again = demonstrate(made.folder, config, n_jobs=1, scale=0.01)
    assert (made.folder / "mine.txt").read_text() == "keep"
    assert not (made.folder / "photos" / "quartz" / "leftover.jpg").exists()
    assert again.fit.metrics["oof"] == made.fit.metrics["oof"]


def test_it_never_deletes_somebodys_photos(config, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").write_bytes(b"precious")
    with pytest.raises(UserError, match="choose another --out"):
        demonstrate(tmp_path, config)
    assert (tmp_path / "photos" / "holiday.jpg").read_bytes() == b"precious"
