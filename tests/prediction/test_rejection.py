"""Photos that show none of the classes, from the bundle to what people read."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from ensemble_minerals.cli import console
from ensemble_minerals.cli.results.predictions import show_predictions
from ensemble_minerals.errors import UserError
from ensemble_minerals.prediction.predictor import load
from ensemble_minerals.reports.gallery import count_by_class, write_gallery
from ensemble_minerals.workflows.predict import predict

FORMAT_1 = Path(__file__).resolve().parents[1] / "compatibility" / "format_1" / "bundle"


@pytest.fixture(scope="module")
def strangers(tmp_path_factory) -> Path:
    """Pictures that are no photos of anything: even gray, black, white, and a window with text."""
    folder = tmp_path_factory.mktemp("strangers")
    for name, gray in (("gray", 128), ("black", 0), ("white", 255)):
        Image.new("RGB", (72, 56), (gray, gray, gray)).save(folder / f"{name}.png")
    window = Image.new("RGB", (320, 240), "white")
    draw = ImageDraw.Draw(window)
    draw.rectangle((0, 0, 320, 18), fill=(40, 60, 200))
    for line in range(12):
        draw.text((8, 26 + 17 * line), "File  Edit  View  a line of text 0123456789", fill="black")
    window.save(folder / "screenshot.png")
    return folder


def test_pictures_of_nothing_are_none_of_these(tiny, strangers):
    found = load(tiny.bundle).predict([strangers])
    assert [found.verdict(row) for row in range(4)] == ["none_of_these"] * 4
    assert not np.isnan(found.proba).any()  # label and probabilities stay


def test_typicality_is_that_of_a_photo_alone_whatever_the_threads(tiny, strangers):
    together = load(tiny.bundle, n_threads=2).predict([tiny.new, strangers, tiny.photos]).typicality
    one = load(tiny.bundle, n_threads=1)
    photos = [*sorted(tiny.new.iterdir()), *sorted(strangers.iterdir()), *sorted(tiny.photos.rglob("*.png"))]
    np.testing.assert_array_equal(together, [one.predict(photo).typicality[0] for photo in photos])


def test_the_table_has_typicality_and_verdict(tiny, strangers, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no photo")
    predict(tiny.bundle, [strangers, tmp_path / "broken.jpg"], out=tmp_path / "answers.csv", n_jobs=1)
    with (tmp_path / "answers.csv").open(encoding="utf-8", newline="") as file:
        *rows, broken = csv.DictReader(file)
    assert list(rows[0])[-2:] == ["typicality", "verdict"]
    assert {row["verdict"] for row in rows} == {"none_of_these"}
    assert all(0 < float(row["typicality"]) <= 0.05 for row in rows)
    assert broken["verdict"] == broken["typicality"] == ""


def test_the_threshold_can_be_changed_and_turned_off(tiny, strangers):
    model = load(tiny.bundle)
    assert not model.predict([strangers], refuse=0).refused.any()
    assert model.predict([strangers], refuse=0).verdict(0) == "answered"
    everything = model.predict([tiny.new], refuse=0.999)
    assert everything.refused.tolist() == (everything.typicality <= 0.999).tolist()
    for wrong in (-0.1, 1.0, float("nan")):
        with pytest.raises(UserError, match="refuse"):
            model.predict([tiny.new], refuse=wrong)


def test_a_threshold_below_what_so_few_photos_can_tell_is_said(tiny):
    notes: list[str] = []
    load(tiny.bundle).predict([tiny.new], refuse=0.001, note=notes.append)
    assert any("no photo is refused at 0.001: with 36 objects" in note for note in notes)


def test_a_bundle_that_knows_nothing_of_it_answers_with_an_empty_verdict(tiny):
    model = load(FORMAT_1)
    found = model.predict([tiny.new])
    assert [record["verdict"] for record in found.records()] == [None] * 6
    assert model.predict([tiny.new], refuse=0).verdict(0) is None
    with pytest.raises(UserError, match="cannot tell photos that show none of its classes"):
        model.predict([tiny.new], refuse=0.1)


def test_nothing_is_learned_where_the_configuration_says_so(tiny, tmp_path):
    tiny.fit(tiny.photos, tmp_path / "bundle", tiny.config(rejection=None))
    assert load(tmp_path / "bundle").rejection is None


def test_strangers_take_part_in_the_fit(tiny, strangers, tmp_path):
    result = tiny.fit(tiny.photos, tmp_path / "bundle", strangers=strangers)
    assert len(result.metrics["rejection"]["strangers"]) == 4
    with pytest.raises(UserError, match="strangers"):
        tiny.fit(tiny.photos, tmp_path / "other", tiny.config(rejection=None), strangers=strangers)


def test_people_read_that_a_photo_is_none_of_these(tiny, strangers, tmp_path, capsys):
    found = load(tiny.bundle).predict([tiny.new, strangers], sets=0.9)
    found = replace(found, refuse=0.05, typicality=np.array([0.9] * 6 + [0.01] * 4))
    show_predictions(console.stdout(), found)
    printed = capsys.readouterr().out
    assert printed.count("none of these (") == 4
    assert "10 photos answered, 4 of them as none of these" in printed
    assert (count_by_class(found)[-1].label, count_by_class(found)[-1].photos) == ("none of these", 4)
    assert sum(entry.photos for entry in count_by_class(found)) == 10
    page = write_gallery(found, tmp_path / "gallery.html").read_text(encoding="utf-8")
    assert page.count('data-label="none of these"') == 5  # four photos, and the button
    assert page.count("Unlike the photos of the fit") == 4
