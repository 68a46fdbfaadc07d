from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn.html_page import Page
from PIL import Image

from ensemble_minerals.errors import UserError
from ensemble_minerals.prediction.table import Predictions
from ensemble_minerals.reports.gallery import count_by_class, write_gallery
from ensemble_minerals.reports.page import percent, thumbnail, thumbnails
from ensemble_minerals.taxonomy import Taxonomy

CLASSES = ("biotite", "muscovite", "quartz")
TREE = {"mica": ["biotite", "muscovite"], "quartz": ["quartz"]}


def read(file: Path) -> Page:
    """The page, without the frame in which a photo opens large."""
    page = Page(re.sub(r"<dialog.*?</dialog>", "", file.read_text(encoding="utf-8"), flags=re.S))
    assert page.open == []
    return page


@pytest.fixture
def photos(tmp_path) -> list[Path]:
    paths = []
    for number, color in enumerate([(20, 20, 20), (200, 190, 180), (240, 240, 250)]):
        paths.append(tmp_path / "new" / f"photo {number}.png")
        paths[-1].parent.mkdir(exist_ok=True)
        Image.new("RGB", (600, 400), color).save(paths[-1])
    return paths


def answers(paths, reasons=None, members=("flat", "hierarchical")) -> Predictions:
    """Row r is answered with class r % 3, with probability 0.7; the last member says the class after it."""
    n = len(paths)
    reasons = tuple(reasons or [""] * n)
    proba = np.full((n, 3), 0.1)
    proba[np.arange(n), np.arange(n) % 3] = 0.7
    proba[:, :] += np.array([0.06, 0.03, 0.01])
    proba /= proba.sum(axis=1, keepdims=True)
    each = np.repeat(proba[:, None], len(members), axis=1)
    each[:, -1] = np.roll(proba, 1, axis=1)
    broken = np.array([bool(reason) for reason in reasons])
    proba[broken], each[broken] = np.nan, np.nan
    taxonomy = Taxonomy.from_tree(CLASSES, TREE)
    return Predictions(tuple(paths), reasons, proba, each, tuple(members), taxonomy)


def test_each_photo_is_a_card_with_picture_label_confidence_and_votes(photos, tmp_path):
    made = answers(photos)
    page = read(write_gallery(made, tmp_path / "out" / "gallery.html", source="artifacts/mine"))
    entries = page.all("figure")
    assert [entry["data-label"] for entry in entries] == list(CLASSES)
    assert len(page.all("img")) == 3
    for row, path in enumerate(photos):
        assert path.name in page.text
        assert percent(float(made.proba[row].max())).replace("\N{NO-BREAK SPACE}", " ") in page.text
    assert page.text.count("1 of 2 members chose it") == 3
    assert page.text.count("hierarchical") == 3
    assert "artifacts/mine" in page.text
    assert "3 photos" in page.text
    assert "unreadable" not in page.text


def test_pictures_are_small_jpegs_inside_the_file(photos, tmp_path):
    page = read(write_gallery(answers(photos), tmp_path / "gallery.html"))
    for image in page.all("img"):
        kind, _, data = image["src"].partition(",")
        assert kind == "data:image/jpeg;base64"
        with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
            assert picture.size == (360, 240)
        assert image["alt"]


def test_nothing_outside_of_the_file_is_asked_for(photos, tmp_path):
    file = write_gallery(answers(photos), tmp_path / "gallery.html")
    text = re.sub(r"base64,[A-Za-z0-9+/=]+", "", file.read_text(encoding="utf-8"))
    assert not re.search(r"https?:|//[a-z]|@import|url\(|<link|<iframe|<script src", text, re.I)
    assert "default-src 'none'" in text
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_unreadable_inputs_are_listed_with_their_reason(photos, tmp_path):
    paths = [*photos, tmp_path / "notes.txt", tmp_path / "cut.jpg"]
    made = answers(paths, ["", "", "", "not_an_image: its content is no image", "truncated: cut off"])
    page = read(write_gallery(made, tmp_path / "gallery.html"))
    assert "5 photos, 3 answers and 2 unreadable files" in page.text
    assert len(page.all("figure")) == 3
    for word in ("notes.txt", "not_an_image: its content is no image", "cut.jpg", "truncated: cut off"):
        assert word in page.text


def test_no_answer_at_all_is_a_page_too(tmp_path):
    made = answers([tmp_path / "a.jpg"], ["missing: no such file"])
    page = read(write_gallery(made, tmp_path / "gallery.html"))
    assert "missing: no such file" in page.text
    assert not page.all("figure")


def test_names_cannot_break_the_page(tmp_path):
    nasty = tmp_path / '"><script>alert(1)<'
    Image.new("RGB", (20, 20)).save(nasty, "PNG")
    stray = tmp_path / "stray\udcff.png"
    Image.new("RGB", (20, 20)).save(stray)
    title = "<b>bold</b> \x1b[31m\x00 \u202efdp.exe"
    file = write_gallery(answers([nasty, stray]), tmp_path / "gallery.html", title=title)
    text = file.read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert "<b>bold</b>" not in text
    assert not set("\x1b\x00\u202e") & set(text)
    page = read(file)
    assert '"><script>alert(1)<' in page.text
    assert len(page.all("script")) == 2  # of the page, and of photos that open large
    assert len(page.all("img")) == 2


def test_a_photo_that_vanished_keeps_its_card(photos, tmp_path):
    made = answers(photos)
    photos[1].unlink()
    page = read(write_gallery(made, tmp_path / "gallery.html"))
    assert len(page.all("figure")) == 3
    assert len(page.all("img")) == 2
    assert "no longer readable" in page.text


def test_synthetic_is_said(photos, tmp_path):
    made = answers(photos)
    assert "Synthetic" not in read(write_gallery(made, tmp_path / "a.html")).text
    assert "Synthetic" in read(write_gallery(made, tmp_path / "b.html", synthetic=True)).text


def test_labels_can_be_chosen_searched_and_ordered(photos, tmp_path):
    made = answers(photos)
    page = read(write_gallery(made, tmp_path / "gallery.html"))
    assert [b["data-label"] for b in page.all("button") if "data-label" in b] == list(CLASSES)
    assert page.all("input", type="search")
    for row, entry in enumerate(page.all("figure")):
        assert float(entry["data-unsure"]) == pytest.approx(made.proba[row].max(), abs=1e-6)
        assert float(entry["data-split"]) == 0.5
        assert photos[row].name in entry["data-text"]


def test_counts_by_class_are_of_the_answered(tmp_path):
    made = answers([tmp_path / str(n) for n in range(5)], ["", "", "", "", "broken: x"])
    counted = count_by_class(made)
    assert [(entry.label, entry.group, entry.photos) for entry in counted] == [
        ("biotite", "mica", 2),
        ("muscovite", "mica", 1),
        ("quartz", "", 1),
    ]
    rows = [0, 3]
    assert counted[0].confidence == pytest.approx(made.proba[rows, 0].mean())


def test_the_page_does_not_depend_on_the_number_of_threads(photos, tmp_path):
    made = answers(photos * 60)
    one = write_gallery(made, tmp_path / "1.html").read_bytes()
    assert one == write_gallery(made, tmp_path / "2.html", n_threads=3).read_bytes()


def test_a_place_that_cannot_be_written_is_the_users_mistake(photos, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"gallery\.html cannot be written"):
        write_gallery(answers(photos), tmp_path / "file" / "gallery.html")
    assert not list(tmp_path.glob("*.unfinished"))


def test_an_old_gallery_stays_whole_when_a_new_one_fails(photos, tmp_path, monkeypatch):
    file = write_gallery(answers(photos), tmp_path / "gallery.html")
    before = file.read_bytes()

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("ensemble_minerals.reports.gallery._group_name", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_gallery(answers(photos), file)
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["gallery.html"]


def test_thumbnails_keep_shape_order_and_gaps(photos, tmp_path):
    found = list(thumbnails([photos[0], None, tmp_path / "absent.png", photos[2]], side=90, n_threads=2))
    assert [bool(data) for data in found] == [True, False, False, True]
    for data, color in ((found[0], 20), (found[3], 240)):
        with Image.open(io.BytesIO(base64.b64decode(data.partition(",")[2]))) as picture:
            assert picture.size == (90, 60)
            assert abs(picture.getpixel((5, 5))[0] - color) <= 3


def test_a_small_photo_is_not_blown_up(tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "small.png")
    data = thumbnail(tmp_path / "small.png", side=90)
    with Image.open(io.BytesIO(base64.b64decode(data.partition(",")[2]))) as picture:
        assert picture.size == (30, 20)


@pytest.mark.parametrize(
    ("share", "text"), [(0.0, "0.0 %"), (0.123, "12.3 %"), (0.9999, "99.9 %"), (1.0, "100.0 %")]
)
def test_shares_never_round_to_certainty(share, text):
    assert percent(share).replace("\N{NO-BREAK SPACE}", " ") == text


def test_set_given_label_and_what_is_unsure_are_shown(photos, tmp_path):
    made = replace(
        answers(photos),
        sets=np.array([[True, True, False], [False, True, False], [False, False, True]]),
        level=0.9,
        typicality=np.array([0.4, 0.01, 0.7]),
        refuse=0.05,
    )
    page = read(write_gallery(made, tmp_path / "gallery.html", given=["biotite", "muscovite", "biotite"]))
    text = page.text.replace("\N{NO-BREAK SPACE}", " ")
    assert "In 90 % of cases it is one of: biotite, muscovite" in text
    assert "In 90 % of cases it is: quartz" in text
    assert "Verdict: answered, typicality 0.400" in text
    assert "\u2713 given label biotite" in text
    assert "\u2717 given label biotite" in text
    assert [entry["data-kind"].split() for entry in page.all("figure")] == [
        ["unsure"],
        ["unsure", "wrong"],
        ["unsure", "wrong"],
    ]
    assert page.all("option", value="wrong")
    assert not read(write_gallery(answers(photos), tmp_path / "b.html")).all("option", value="wrong")


def test_a_set_of_many_classes_names_the_first(photos, tmp_path):
    names = tuple(f"c{number:02}" for number in range(90))
    proba = np.linspace(2, 1, 90)[None] / 135
    made = Predictions(
        (photos[0],), ("",), proba, proba[:, None], ("one",), Taxonomy.flat(names),
        sets=np.ones((1, 90), dtype=bool), level=0.95,
    )  # fmt: skip
    page = read(write_gallery(made, tmp_path / "gallery.html"))
    text = page.text.replace("\N{NO-BREAK SPACE}", " ")
    assert "In 95 % of cases it is one of 90 classes: c00, c01, c02, c03, c04, c05 and 84 more" in text


def test_why_a_minority_can_win_is_said(photos, tmp_path):
    made = answers(photos, members=("a", "b", "c"))
    each = made.member_proba.copy()
    each[0, 1] = np.roll(each[0, 1], 1)
    page = read(write_gallery(replace(made, member_proba=each), tmp_path / "gallery.html"))
    assert page.text.count("Votes are not counted") == 1
    assert [("divided" in entry["data-kind"]) for entry in page.all("figure")] == [True, False, False]
