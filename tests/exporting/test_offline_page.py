"""The page that opens from a file, in a real browser without a network."""

from __future__ import annotations

import csv
import json
import shutil
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ensemble_minerals.bundle.student import read_student
from ensemble_minerals.config.properties import load_properties
from ensemble_minerals.data.decoding import decode
from ensemble_minerals.errors import UserError
from ensemble_minerals.exporting import browser_runtime
from ensemble_minerals.exporting.offline_page import write_offline_page
from ensemble_minerals.networks.graphs.quantized_file import quantize_file
from ensemble_minerals.prediction.evidence import Evidence, weigh
from ensemble_minerals.prediction.hand_tests import HandTests, as_readings
from ensemble_minerals.prediction.student import load_student
from ensemble_minerals.system.digest import file_digest
from ensemble_minerals.system.paths import cache_folder
from ensemble_minerals.workflows.export import export

pytestmark = pytest.mark.usefixtures("one_thread")

CHROMIUM = Path("/usr/bin/chromium")
SIZES = ((64, 48), (110, 83), (500, 400), (790, 800), (1300, 1000), (1700, 2300), (40, 61))


@pytest.fixture(scope="module")
def knowing(student, tmp_path_factory):
    """The student, with properties of its classes."""
    folder = shutil.copytree(student, tmp_path_factory.mktemp("knowing") / "stones <b>")
    properties = load_properties("minerals").of(("azurite", "malachite", "pyrite"))
    (folder / "properties.json").write_text(json.dumps(properties.model_dump(mode="json")))
    index = json.loads((folder / "student.json").read_text())
    index["files"]["properties.json"] = file_digest(folder / "properties.json")
    index["data"]["max_pixels"] = 5_000_000
    (folder / "student.json").write_text(json.dumps(index))
    return folder


@pytest.fixture(scope="module")
def page_file(knowing, tmp_path_factory):
    cache = cache_folder(None)
    try:
        browser_runtime.browser_runtime(None, cache)
    except UserError as error:
        pytest.skip(f"NOT RUN: {error}")
    return export(
        knowing, tmp_path_factory.mktemp("page") / "minerals.html", form="html", cache_dir=cache
    ).file


@pytest.fixture(scope="module")
def drawn_photos(tiny, tmp_path_factory):
    """Fifty photos of several sizes and formats."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(50):
        suffix = ".png" if number % 5 == 0 else ".jpg"
        tiny.draw_photo(folder / f"{number:02}{suffix}", number % 4, number, SIZES[number % len(SIZES)])
    turned = Image.open(folder / "01.jpg")
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(folder / "01.jpg", exif=exif)
    Image.open(folder / "05.png").convert("RGBA").save(folder / "05.png")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def page(page_file):
    sync = pytest.importorskip("playwright.sync_api", reason="NOT RUN: Playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"NOT RUN: there is no {CHROMIUM}")
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        context = browser.new_context(
            offline=True, viewport={"width": 360, "height": 800}, color_scheme="dark"
        )
        page = context.new_page()
        page.wrong = []
        page.on("pageerror", lambda error: page.wrong.append(str(error)))
        page.on("console", lambda line: page.wrong.append(line.text) if line.type == "error" else None)
        page.goto(page_file.as_uri())
        yield page
        browser.close()


@pytest.fixture(scope="module")
def int8_page_file(knowing, page_file, drawn_photos, tmp_path_factory):
    """The page of a quantized student."""
    folder = tmp_path_factory.mktemp("int8")
    whole = export(knowing, folder / "float32.onnx").file
    quantize_file(whole, folder / "int8.onnx", (decode(file).pixels for file in drawn_photos[:12]))
    student = read_student(knowing)
    pages = resources.files("ensemble_minerals.serving") / "page"
    return write_offline_page(
        folder / "int8.html",
        student,
        (folder / "int8.onnx").read_bytes(),
        browser_runtime.browser_runtime(None, cache_folder(None)),
        {name: (pages / name).read_text() for name in ("index.html", "page.css", "page.js")},
        side=student.graph().side,
    )


def answers_of(page, files):
    """What the page answers, without waiting for its cards."""
    page.set_input_files("#choose", [str(file) for file in files])
    from playwright.sync_api import expect

    expect(page.locator("#count")).to_have_text(f"{len(files)} of {len(files)} answered", timeout=180_000)
    with page.expect_download(timeout=120_000) as download:
        page.get_by_role("button", name="download as CSV").click()
    with Path(download.value.path()).open(encoding="utf-8", newline="") as table:
        return {row["path"]: row for row in csv.DictReader(table)}


def test_the_page_answers_as_predict_does_without_a_network(page, knowing, drawn_photos, tmp_path):
    expected = load_student(knowing, 1).predict(drawn_photos, sets=0.95)
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no photo")
    rows = answers_of(page, [*drawn_photos, broken])
    classes = expected.classes
    found = np.array([[float(rows[file.name][f"p_{name}"]) for name in classes] for file in drawn_photos])
    assert np.abs(found - expected.proba).max() < 0.02
    ordered = np.sort(expected.proba, axis=1)
    clear = ordered[:, -1] - ordered[:, -2] > 0.04
    np.testing.assert_array_equal(found.argmax(axis=1)[clear], expected.proba.argmax(axis=1)[clear])
    assert rows["broken.jpg"]["status"] == "unreadable"
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.wrong == []


def test_a_page_of_a_quantized_student_answers_almost_as_predict_does(
    page, int8_page_file, knowing, drawn_photos
):
    expected = load_student(knowing, 1).predict(drawn_photos[:7])
    quantized = page.context.new_page()
    quantized.goto(int8_page_file.as_uri())
    rows = answers_of(quantized, drawn_photos[:7])
    quantized.close()
    found = np.array(
        [[float(rows[file.name][f"p_{name}"]) for name in expected.classes] for file in drawn_photos[:7]]
    )
    assert np.abs(found - expected.proba).max() < 0.05


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"hardness": "6.2"},
        {"hardness": "3.5-4", "streak": "green"},
        {"hardness": "9.9"},
        {"streak": "blue"},
    ],
)
def test_evidence_is_weighed_and_tests_are_advised_as_predict_does(page, knowing, drawn_photos, given):
    student = read_student(knowing)
    tests = HandTests(student.properties, student.classes)
    photo = load_student(knowing, 1).predict(drawn_photos[:1])
    told = weigh(photo, Evidence(tests, [as_readings(given, tests)], advise=True))
    expected = told.evidence
    asked = {
        "probabilities": dict(zip(photo.classes, photo.proba[0].tolist(), strict=True)),
        "evidence": given,
    }
    found = page.evaluate(
        "async asked => await (await answering('v1/weigh', { body: JSON.stringify(asked) })).json()", asked
    )
    assert found["advice"] == told.advice[0]
    if not given:
        assert found["advice"].startswith("test next: ")
        return
    found = found["with_evidence"]
    np.testing.assert_allclose(list(found["probabilities"].values()), expected.proba[0], atol=1e-9)
    assert found["note"] == expected.notes[0]
    assert (found["label"] is not None) == expected.fits[0]


def test_a_reading_that_cannot_be_understood_is_refused_with_what_can_be(page):
    asked = {"probabilities": {}, "evidence": {"hardness": "soft"}}
    said = page.evaluate(
        "async a => await (await answering('v1/weigh', { body: JSON.stringify(a) })).json()", asked
    )
    assert "hardness=soft: is no number" in said["detail"]


def test_the_page_names_no_other_address_and_holds_the_notice(page_file):
    text = page_file.read_text()
    assert page_file.stat().st_size < 25e6
    assert 'src="' not in text.replace('src="data:', "")
    assert "MIT License" in text
    assert "stones <b>" not in text


def test_without_npm_the_error_says_how_to_get_the_runtime(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(UserError, match=r"no npm here; .*npm pack onnxruntime-web@.*--runtime package"):
        browser_runtime.browser_runtime(None, tmp_path)


def test_a_runtime_that_is_not_the_pinned_one_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"--runtime .*cannot be read"):
        browser_runtime.browser_runtime(tmp_path, None)
    (tmp_path / browser_runtime.SCRIPT).write_text("something else")
    with pytest.raises(UserError, match="its digest differs"):
        browser_runtime.browser_runtime(tmp_path, None)


def test_an_ensemble_is_no_page(tiny, tmp_path):
    with pytest.raises(UserError, match="ensemble-minerals distill"):
        export(tiny.bundle, tmp_path / "page.html", form="html")
