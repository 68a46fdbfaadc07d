"""Pages in a real browser: nothing is faint, tiny or cut off, at a desk and on a phone, light and dark."""

from __future__ import annotations

import pytest
from drawn.answers import CASES
from drawn.browser import browser, look_at

from ensemble_minerals.reports.report import Report, save_report
from ensemble_minerals.workflows.inspect import inspect_data
from ensemble_minerals.workflows.predict import predict

__all__ = ["browser"]


@pytest.mark.parametrize("problem", ["seven classes with groups", "two classes", "thirty classes"])
def test_a_report(browser, drawn, tmp_path, problem):
    report = Report.compute(drawn.report_data(drawn.answers(**CASES[problem])))
    save_report(report, tmp_path / "report", files={})
    assert look_at(browser, tmp_path / "report" / "report.html") == []


def test_a_gallery(browser, tiny, tmp_path):
    page = tmp_path / "gallery.html"
    predict(
        tiny.bundle,
        [tiny.new, tiny.photos],
        gallery=page,
        sets=0.9,
        evidence=["hardness=3"],
        advise=True,
        n_jobs=1,
    )
    assert look_at(browser, page) == []


def test_a_gallery_shows_a_page_at_a_time(browser, tiny, tmp_path, monkeypatch):
    many = tmp_path / "photos"
    many.mkdir()
    content = next(tiny.new.iterdir()).read_bytes()
    for number in range(70):
        (many / f"{number:02}.png").write_bytes(content)
    file = tmp_path / "gallery.html"
    predict(tiny.bundle, many, gallery=file, n_jobs=1, cache_dir=tiny.cache)
    page = browser.new_page()
    page.goto(file.as_uri())
    visible = page.locator(".card:visible")
    assert (visible.count(), page.locator("#shown").inner_text()) == (60, "1 to 60 of 70")
    page.get_by_role("button", name="next").click()
    assert (visible.count(), page.locator("#shown").inner_text()) == (10, "61 to 70 of 70")
    page.get_by_label("Search").fill("07.png")
    assert visible.count() == 1
    page.emulate_media(media="print")
    assert visible.count() == 1
    page.close()


def test_the_page_of_an_inspection(browser, tiny, tmp_path):
    folder = inspect_data(tiny.photos, tiny.config(), cache_dir=tiny.cache).write(tmp_path / "looked")
    assert look_at(browser, folder / "inspection.html") == []
