"""The report: HTML that parses, stands alone and says what the JSON says, whatever the problem."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from drawn.html_page import Page
from drawn.training_logs import record
from PIL import Image

from ensemble_minerals.errors import DiskError, UserError
from ensemble_minerals.evaluation.learning_curve import LearningCurve
from ensemble_minerals.evaluation.photo_measures import PhotoMeasures
from ensemble_minerals.reports import report as module
from ensemble_minerals.reports.report import Report, save_report
from ensemble_minerals.reports.sections.registry import SECTIONS
from ensemble_minerals.reports.wording import show


@pytest.fixture(scope="session")
def made(case, tmp_path_factory):
    """(answers, content of the JSON, folder) of the report of every kind of problem."""
    _, answers, data = case
    folder = tmp_path_factory.mktemp("report") / "report"
    report = Report.compute(data)
    save_report(report, folder, files={})
    return answers, report.as_json(), folder


@pytest.fixture(scope="session")
def page(made):
    text = (made[2] / "report.html").read_text(encoding="utf-8")
    return text, Page(text)


def leaves(value):
    if isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def test_the_page_parses(page):
    text, parsed = page
    assert parsed.open == []
    assert len(parsed.ids) == len(set(parsed.ids))
    assert {section.key for section in SECTIONS} - {"training", "strangers", "corrections"} <= set(
        parsed.ids
    )  # those where networks were trained, and where the bundle can tell
    assert text.startswith("<!doctype html>")
    anchors = [link[1:] for link in parsed.links if link.startswith("#")]
    assert set(anchors) <= set(parsed.ids)


def test_the_page_has_no_address_outside(made, page):
    text, parsed = page
    assert not re.search(r"https?:|//[a-z]|@import|<link|<script src", text)
    assert all(source.startswith("data:image/jpeg;base64,") for source in parsed.pictures)
    for link in parsed.links:
        assert link.startswith("#") or (made[2] / link).exists(), link


def test_every_number_is_one_of_the_json(made, page):
    known = {repr(value) for value in leaves(made[1])}
    numbers = page[1].numbers
    assert len(numbers) > 100
    for value, kind, text in numbers:
        assert value in known, (value, kind)
        assert text == show(json.loads(value), kind)


def test_no_share_is_printed_above_all(page):
    for share in re.findall(r"(\d+(?:\.\d+)?)[ \N{NO-BREAK SPACE}]%", " ".join(page[1].texts)):
        assert float(share) <= 100


def test_headings_are_the_findings(made, page):
    told = made[1]["findings"]
    headings = " | ".join(page[1].headings)
    for section in set(told) - {"sets"}:
        assert told[section] in headings


def test_the_json_is_the_analysis(made):
    assert json.loads((made[2] / "report.json").read_text(encoding="ascii")) == made[1]


def test_the_tables_are_there(made):
    answers, analysis, folder = made

    def rows(name):
        with (folder / "tables" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    assert [row["path"] for row in rows("answers")] == list(answers.paths)
    assert [row["answer"] for row in rows("answers")] == [answers.classes[k] for k in answers.answer]
    assert [float(row["accuracy"]) for row in rows("slices")] == [
        row["accuracy"]["estimate"] for row in analysis["slices"]["rows"]
    ]
    assert [row["name"] for row in rows("classes")] == list(answers.classes)
    assert "recall_low" in rows("classes")[0]
    counts = [
        [int(row[name]) for name in analysis["confusion"]["classes"]] for row in rows("confusion_counts")
    ]
    assert counts == analysis["confusion"]["counts"]
    suspects = folder / "tables" / "suspected_labels.csv"
    assert suspects.exists() == bool(analysis["labels"]["suspects"])


def test_of_many_classes_the_worst_calibrated_are_drawn(made, page):
    """All others are in the table, which the page says."""
    errors = {curve["name"]: curve["error"] for curve in made[1]["reliability"]["by_class"]}
    drawn = re.findall(r">(class \d+), calibration error", page[0])
    assert set(drawn) == set(sorted(errors, key=errors.__getitem__)[-12:])
    assert len(drawn) == len(list((made[2] / "figures").glob("reliability_*.png"))) == min(len(errors), 12)
    assert ("with the largest calibration error" in page[0]) == (len(errors) > 12)


def test_figures_are_pictures(made, page):
    figures = sorted((made[2] / "figures").glob("*.png"))
    expected = {
        "f1",
        "f1_gain",
        "confusion",
        "reliability",
        "risk_coverage",
        "members",
        "slices",
        "reliability_0",
    }
    assert expected <= {file.stem for file in figures}
    for file in figures:
        with Image.open(file) as image:
            assert min(image.size) > 100
    drawings = re.findall(r"<svg.*?</svg>", page[0], flags=re.DOTALL)
    assert len(drawings) >= 6
    for drawing in drawings:
        assert "var(--ink)" in drawing
        assert not re.search(r"#(000000|ffffff|1c1e20|17685a)\b", drawing)


def test_the_matrix_prints_rows_that_sum_to_a_hundred(made, page):
    section = made[1]["confusion"]
    cells = [float(value) for value, kind, _ in page[1].numbers if kind == "one"]
    printed = iter(cells)
    for counts, shares in zip(section["counts"], section["percentages"], strict=True):
        row = [next(printed) for count in counts if count]
        assert row == [share for count, share in zip(counts, shares, strict=True) if count]
        assert not row or sum(row) == pytest.approx(100, abs=1e-6)


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (None, "percent", "\N{EN DASH}"),
        (0.9996, "percent", "99.9\N{NO-BREAK SPACE}%"),
        (1.0, "percent", "100.0\N{NO-BREAK SPACE}%"),
        (0.0001, "percent", "<0.1\N{NO-BREAK SPACE}%"),
        (0.0, "percent", "0.0\N{NO-BREAK SPACE}%"),
        (-0.012, "points", "\N{MINUS SIGN}1.2"),
        (-0.0001, "points", "0.0"),
        (0.0123, "points", "+1.2"),
        (-0.00001, "signed", "0.000"),
        (1234.0, "whole", "1,234"),
    ],
)
def test_numbers_in_words(value, kind, text):
    assert show(value, kind) == text


@pytest.fixture
def without_figures(monkeypatch):
    """Figures take most of the time of a report, and some tests ask nothing of them."""
    monkeypatch.setattr(module, "draw_figures", lambda sections, folder, also: {})


def photos_for(answers, root, n=None):
    files = {}
    for number, path in enumerate(answers.paths[:n]):
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        cells = np.random.default_rng(number).integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(cells).save(file, "PNG")
        files[path] = file
    return files


def test_photos_are_inlined(drawn, tmp_path, without_figures):
    answers = drawn.answers([12, 12], strength=1.0)
    report = Report.compute(drawn.report_data(answers))
    files = photos_for(answers, tmp_path / "photos")
    html, _ = save_report(report, tmp_path / "report", files=files)
    parsed = Page(html.read_text(encoding="utf-8"))
    assert len(parsed.pictures) > 20
    without, _ = save_report(report, tmp_path / "bare", files={})
    assert Page(without.read_text(encoding="utf-8")).pictures == []
    files[answers.paths[int(answers.given_proba.argmin())]].unlink()
    save_report(report, tmp_path / "report", files=files)


def test_pictures_keep_to_their_budget(drawn, tmp_path, monkeypatch, without_figures):
    answers = drawn.answers([12, 12], strength=1.0)
    report = Report.compute(drawn.report_data(answers))
    files = photos_for(answers, tmp_path / "photos")
    monkeypatch.setattr(module, "_PHOTO_CHARACTERS", 9_000)
    html, _ = save_report(report, tmp_path / "report", files=files)
    pictures = Page(html.read_text(encoding="utf-8")).pictures
    assert 0 < sum(map(len, pictures)) < 9_000


@pytest.mark.parametrize(("kind", "start"), [("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_figures_are_written_for_print_too(drawn, tmp_path, kind, start):
    report = Report.compute(drawn.report_data(drawn.answers([10, 10])))
    for name in ("one", "again"):
        save_report(report, tmp_path / name, files={}, figure_format=kind)
    figures = tmp_path / "one" / "figures"
    pictures = sorted(path.stem for path in figures.glob("*.png"))
    assert pictures
    assert sorted(path.stem for path in figures.glob(f"*.{kind}")) == pictures
    for path in figures.glob(f"*.{kind}"):
        assert path.read_bytes().startswith(start)
        assert path.read_bytes() == (tmp_path / "again" / "figures" / path.name).read_bytes()


def test_names_of_classes_and_files_are_only_text(drawn, tmp_path):
    answers = drawn.answers([10, 10], strength=0.5)
    names = ('<script>alert("1")</script>', "a & b $x$ 100%")
    renamed = type(answers)(
        **{
            **{name: getattr(answers, name) for name in answers.__dataclass_fields__},
            "taxonomy": type(answers.taxonomy).flat(names),
            "paths": tuple(f"<img src=x onerror=alert({row})>.jpg" for row in range(20)),
        }
    )
    html, _ = save_report(Report.compute(drawn.report_data(renamed)), tmp_path / "report", files={})
    text = html.read_text(encoding="utf-8")
    assert Page(text).open == []
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert "&lt;script&gt;" in text


def test_a_file_name_that_is_no_text_does_no_harm(drawn, tmp_path, without_figures):
    answers = drawn.answers([10, 10], strength=0.5)
    odd = type(answers)(
        **{
            **{name: getattr(answers, name) for name in answers.__dataclass_fields__},
            "paths": tuple(f"stone\udce9{row}.jpg" for row in range(20)),
        }
    )
    html, data = save_report(Report.compute(drawn.report_data(odd)), tmp_path / "report", files={})
    assert Page(html.read_text(encoding="utf-8")).open == []
    assert json.loads(data.read_text(encoding="ascii"))["format"] == 1
    assert b"stone\xe90.jpg" in (tmp_path / "report" / "tables" / "answers.csv").read_bytes()


def test_a_report_replaces_a_report_and_nothing_else(drawn, tmp_path, without_figures):
    answers = drawn.answers([10, 10])
    report = Report.compute(drawn.report_data(answers))
    folder = tmp_path / "report"
    folder.mkdir()
    save_report(report, folder, files={})
    (folder / "old.txt").write_text("of an earlier report")
    save_report(report, folder, files={})
    assert not (folder / "old.txt").exists()
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter.txt").write_text("years of work")
    for place in (other, other / "chapter.txt"):
        with pytest.raises(UserError, match="is no report"):
            save_report(report, place, files={})
    assert (other / "chapter.txt").read_text() == "years of work"


def test_a_report_that_fails_leaves_the_old_one(drawn, tmp_path, monkeypatch, without_figures):
    answers = drawn.answers([10, 10])
    report = Report.compute(drawn.report_data(answers))
    html, _ = save_report(report, tmp_path / "report", files={})
    before = html.read_bytes()

    def fails(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_tables", fails)
    with pytest.raises(DiskError, match="No space left"):
        save_report(report, tmp_path / "report", files={})
    assert html.read_bytes() == before
    assert [path.name for path in Path(tmp_path).iterdir()] == ["report"]


def test_a_report_goes_where_a_link_points_to(drawn, tmp_path, without_figures):
    answers = drawn.answers([10, 10])
    report = Report.compute(drawn.report_data(answers))
    (tmp_path / "disk").mkdir()
    (tmp_path / "report").symlink_to(tmp_path / "disk")
    for _ in range(2):
        html, data = save_report(report, tmp_path / "report", files={})
    assert (tmp_path / "report").is_symlink()
    assert html.is_file()
    assert data.is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk", "report"]


def test_the_page_says_what_is_missing(drawn, tmp_path, without_figures):
    answers = drawn.answers([10, 10])
    data = drawn.report_data(answers, measures=PhotoMeasures({}, "The photos are no longer at photos."))
    html, _ = save_report(Report.compute(data), tmp_path / "report", files={})
    text = html.read_text(encoding="utf-8")
    assert text.count("The photos are no longer at photos.") == 2
    assert "A learning curve needs the features" in text
    assert "There are too few photos to compare slices" in text
    assert "the fit did not record what a photo costs" in text


def test_a_learning_curve_is_drawn(drawn, tmp_path):
    answers = drawn.answers([10, 10])
    interval = {"estimate": 0.75, "low": 0.5, "high": 0.875, "level": 0.95}
    curve = {
        "members": ["member 1"],
        "points": [
            {"share": share, "rows": 20 * share, "accuracy": interval, "log_loss": interval}
            for share in (0.5, 0.75, 1.0)
        ],
        "last_step": {"estimate": 0.02, "low": 0.01, "high": 0.03, "level": 0.95},
        "notes": ["25% of the training rows: too few."],
    }
    data = drawn.report_data(answers, learning_curve=LearningCurve.read(curve))
    html, _ = save_report(Report.compute(data), tmp_path / "report", files={})
    text = html.read_text(encoding="utf-8")
    assert (
        "More photos would help: the last 25\N{NO-BREAK SPACE}% of them added +2.0 points (+1.0 to +3.0)"
        in text
    )
    assert "25% of the training rows: too few." in text
    assert (tmp_path / "report" / "figures" / "learning_curve.png").exists()


def test_trained_networks_have_a_section_with_their_curves(drawn, tmp_path):
    answers = drawn.answers([10, 10])
    epochs = [record(1, epoch, train=1 / (epoch + 1), validation=1 / (epoch + 1)) for epoch in (1, 2)]
    data = drawn.report_data(answers, logs={"lite0-flat": [epochs, epochs]})
    html, _ = save_report(Report.compute(data), tmp_path / "report", files={})
    text = html.read_text(encoding="utf-8")
    assert 'id="training"' in text
    assert "2 networks were trained, 4 epochs in 2.0 minutes of training" in text
    assert (tmp_path / "report" / "figures" / "training_0.png").exists()
    table = (tmp_path / "report" / "tables" / "training.csv").read_text().splitlines()
    assert len(table) == 5
    assert table[0].startswith("member,network,phase,epoch,train_loss")


@pytest.mark.parametrize("validated", [True, False])
def test_the_training_section_speaks_of_early_stopping_only_with_validation_rows(drawn, tmp_path, validated):
    answers = drawn.answers([10, 10])
    epoch = record(1, 1, train=0.5, validation=0.6 if validated else None)
    data = drawn.report_data(answers, logs={"net-flat": [[epoch]]})
    html, _ = save_report(Report.compute(data), tmp_path / "report", files={})
    text = html.read_text(encoding="utf-8")
    assert ("Early stopping looked" in text) == validated
    assert ("There were no validation rows" in text) != validated


def test_cells_and_pairs_name_the_photos_that_they_show(made, page):
    """What the script of the page looks photos up by: each cell with photos, each row of pairs, each photo."""
    text, _ = page
    section = made[1]["confusion"]
    cells = re.findall(r'<td class="cell \w+" data-given="([^"]+)" data-answer="([^"]+)"', text)
    names = section["classes"]
    counted = [
        (names[i], names[j])
        for i, row in enumerate(section["counts"])
        for j, count in enumerate(row)
        if count
    ]
    assert cells == counted
    rows = set(re.findall(r'<tr data-given="([^"]+)" data-answer="([^"]+)">', text))
    assert len(rows) == len(made[1]["pairs"])
    assert rows <= set(cells)
    assert re.findall(r"<option>([^<]+)</option>", text) == names
