"""The page of a review in a real browser: by keyboard alone, at the sizes of desk and phone."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("uvicorn", reason="NOT RUN: the extra serve is not installed")

from drawn.browser import browser

from ensemble_minerals.data.corrections import Corrections, read_corrections
from ensemble_minerals.system.runtime import Runtime
from ensemble_minerals.workflows.review import prepare_review

__all__ = ["browser"]

TOKEN = "0123456789abcdef"


def expect(locator):
    from playwright.sync_api import expect

    return expect(locator)


@pytest.fixture
def opened(browser, disputed, tiny, tmp_path):
    from drawn.live_server import listening

    served = prepare_review(disputed, tmp_path / "c.csv", Corrections(), Runtime(1, tiny.cache))
    contexts = []
    with listening(replace(served, token=TOKEN)) as (_, client):

        def page_of(width=1400, scheme="light", secret=f"#{TOKEN}"):
            context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
            contexts.append(context)
            page = context.new_page()
            page.wrong = []
            page.on("pageerror", lambda error: page.wrong.append(str(error)))
            page.on("console", lambda line: page.wrong.append(line.text) if line.type == "error" else None)
            page.goto(f"{client.base_url}/review{secret}")
            return page

        yield page_of, tmp_path / "c.csv"
        for context in contexts:
            context.close()


def begin(page, name="Ann"):
    page.get_by_label("Your name").fill(name)
    page.keyboard.press("Enter")
    expect(page.locator("#why")).not_to_be_empty()


def place(page):
    return page.locator("#place").text_content()


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (390, "dark"), (360, "light")])
def test_labels_are_decided_by_keyboard(opened, width, scheme):
    page_of, file = opened
    page = page_of(width, scheme)
    begin(page)
    assert TOKEN not in page.url
    page.locator("#kind").select_option("suspect")
    expect(page.locator("#place")).to_contain_text("suspected labels, 1 of")
    expect(page.locator(".photo img").first).to_have_js_property("naturalWidth", 72)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    suggested = page.locator(".classes td").first.text_content()
    page.keyboard.press("r")
    page.keyboard.press("Enter")
    expect(page.locator("#place")).to_contain_text("2 of")
    page.keyboard.press("k")
    expect(page.locator("#progress")).to_contain_text("2 of")
    outcomes = [one.outcome for one in read_corrections([file]).standing.values()]
    assert outcomes[0] == suggested
    page.keyboard.press("u")
    expect(page.locator("#place")).to_contain_text("2 of")
    expect(page.locator("#progress")).to_contain_text("1 of")
    expect(page.locator("#said")).to_have_text("Undone.")
    page.keyboard.press("x")
    expect(page.locator("#progress")).to_contain_text("2 of")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#state")).to_be_visible()
    assert sorted(one.action for one in read_corrections([file]).standing.values()) == [
        "leave_out",
        "relabel",
    ]
    assert page.wrong == []


def test_of_a_pair_the_right_label_is_chosen_and_undone_at_once(opened):
    page_of, file = opened
    page = page_of()
    begin(page)
    for _ in range(2):  # of both conflicts one is a pair
        if page.locator(".photo").count() == 2:
            break
        page.keyboard.press("ArrowRight")
        expect(page.locator("#place")).to_contain_text("2 of")
    expect(page.locator(".photo")).to_have_count(2)
    page.keyboard.press("2")
    chosen = page.locator(".photo.chosen .label").text_content()
    page.keyboard.press("k")
    expect(page.locator("#progress")).to_contain_text("1 of")
    assert {one.outcome for one in read_corrections([file]).standing.values()} == {chosen}
    assert len(read_corrections([file]).standing) == 2
    page.keyboard.press("u")
    expect(page.locator("#progress")).to_contain_text("0 of")
    assert read_corrections([file]).standing == {}
    assert page.wrong == []


def test_who_has_no_token_is_asked_for_it(opened):
    page_of, _ = opened
    page = page_of(secret="")
    expect(page.get_by_label("Token")).to_be_focused()
    page.keyboard.type(TOKEN)
    page.keyboard.press("Enter")
    begin(page)
    page.reload()
    expect(page.locator("#why")).not_to_be_empty()  # neither token nor name is asked for again


def test_everything_has_a_name_and_keys_that_are_typed_decide_nothing(opened):
    page_of, file = opened
    page = page_of()
    page.get_by_label("Your name").fill("")
    page.keyboard.type("kxr <b>")
    page.keyboard.press("Enter")
    expect(page.locator("#why")).not_to_be_empty()
    assert not file.exists()
    controls = "[...document.querySelectorAll('button, input, select')]"
    unnamed = f"{controls}.filter(e => !(e.labels?.length || e.textContent.trim() || e.ariaLabel)).length"
    assert page.evaluate(unnamed) == 0
    assert page.evaluate(
        "[...document.querySelectorAll('.photo > .picture > img:not(.heat)')].every(e => e.alt)"
    )
    expect(page.locator("#said")).to_contain_text("one photo under two labels, 1 of")
    page.keyboard.press("r")
    expect(page.get_by_label("Class", exact=True)).to_be_focused()
    page.keyboard.type("x")
    page.keyboard.press("Escape")
    assert not file.exists()
    for _ in range(30):  # everything that decides is reached by Tab
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.dataset.key") == "u":
            break
    else:
        pytest.fail("undo is not reached by Tab")
