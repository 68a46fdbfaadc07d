"""The page in a real browser: photos in, answers out, evidence while one types; at the sizes of desk and phone."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from drawn.browser import browser, hard_to_read

__all__ = ["browser"]


@pytest.fixture
def open_page(browser, client):
    contexts = []

    def opened(width=1400, scheme="light"):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.wrong = []
        page.on("pageerror", lambda error: page.wrong.append(str(error)))
        page.on("console", lambda line: page.wrong.append(line.text) if _is_amiss(line) else None)
        page.on(
            "request",
            lambda request: page.wrong.append(request.url) if not _is_own(request.url, client) else None,
        )
        page.goto(str(client.base_url))
        return page

    yield opened
    for context in contexts:
        context.close()


def _is_own(address, client):
    return address.startswith((str(client.base_url), "blob:", "data:"))


def _is_amiss(line):
    return (
        line.type == "error" and "status of 422" not in line.text
    )  # a reading that is half typed is refused


def expect(locator):
    from playwright.sync_api import expect

    return expect(locator)


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (390, "dark"), (360, "light")])
def test_photos_are_answered_and_evidence_changes_the_answer_while_one_types(
    open_page, tiny, tmp_path, width, scheme
):
    page = open_page(width, scheme)
    expect(page.locator("#model")).to_contain_text("3 classes")
    broken = tmp_path / "<img src=x onerror=alert(1)>.jpg"
    broken.write_bytes(b"no photo")
    files = [*sorted(tiny.new.iterdir())[:2], broken]
    page.set_input_files("#choose", [str(file) for file in files])
    expect(page.locator("#count")).to_have_text("3 of 3 answered", timeout=20_000)
    expect(page.locator(".card").first).to_contain_text("Could not be read: not_an_image")
    expect(page.locator(".card .name").first).to_have_text("<img src=x onerror=alert(1)>.jpg")
    card = page.locator(".card").nth(1)
    expect(card.locator(".found > .answer .label")).not_to_be_empty()
    expect(card.locator(".votes-title")).to_contain_text("members chose it")
    if not card.locator(".evidence").get_attribute("open"):
        card.locator(".evidence summary").focus()
        page.keyboard.press("Enter") if card.locator(".evidence[open]").count() == 0 else None
    card.get_by_label("hardness").fill("6.2")
    expect(card.locator(".beside .label")).to_have_text("pyrite")
    card.get_by_label("hardness").fill("soft")
    expect(card.locator(".note")).to_contain_text("is no number")
    card.get_by_label("hardness").fill("9.9")
    expect(card.locator(".beside .label")).to_have_text("none fits")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert hard_to_read(page) == []
    assert page.wrong == []


def test_answers_are_downloaded_as_a_table_that_runs_nothing(open_page, tiny, tmp_path):
    page = open_page()
    expect(page.locator("#model")).to_contain_text("3 classes")
    odd = tmp_path / "=cmd.png"
    odd.write_bytes(sorted(tiny.new.iterdir())[0].read_bytes())
    page.set_input_files("#choose", str(odd))
    expect(page.locator("#count")).to_have_text("1 of 1 answered", timeout=20_000)
    with page.expect_download() as download:
        page.get_by_role("button", name="download as CSV").click()
    with Path(download.value.path()).open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["path"] == "'=cmd.png"
    assert row["status"] == "ok"
    assert float(row["confidence"]) == max(
        float(row[f"p_{name}"]) for name in ("azurite", "malachite", "pyrite")
    )
    page.get_by_role("button", name="clear").click()
    assert page.locator(".card").count() == 0


def test_everything_is_reached_by_keyboard_and_has_a_name(open_page):
    page = open_page()
    expect(page.locator("#model")).to_contain_text("3 classes")
    reached = set()
    for _ in range(8):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.textContent"))
    assert {"choose", "take", "interface for programs"} <= reached
    controls = "[...document.querySelectorAll('button, input, select')]"
    assert page.evaluate(f"{controls}.filter(e => !(e.labels?.length || e.textContent)).length") == 0
