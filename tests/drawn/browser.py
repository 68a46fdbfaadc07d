"""A real browser, and what cannot be read on a page: text of little contrast, or too small."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")

_FAINT_OR_SMALL = """
() => {
  const parse = color => {
    const part = color.match(/[\\d.]+/g).map(Number), scale = color.startsWith("color(") ? 255 : 1;
    return [...part.slice(0, 3).map(value => value * scale), part[3] ?? 1];
  };
  const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3]));
  const luminance = color => {
    const [r, g, b] = color.map(v => v / 255 <= .03928 ? v / 255 / 12.92 : ((v / 255 + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const ancestors = element => element ? [...ancestors(element.parentElement), element] : [];
  const canvas = matchMedia("(prefers-color-scheme: dark)").matches ? [0, 0, 0] : [255, 255, 255];
  const shade = element => parse(getComputedStyle(element).backgroundColor);
  const ground = element => ancestors(element).reduce((color, e) => over(shade(e), color), canvas);
  const wrong = new Set();
  let texts = 0;
  for (const details of document.querySelectorAll("details")) details.open = true;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement, words = walker.currentNode.textContent.trim();
    const range = document.createRange();
    range.selectNodeContents(walker.currentNode);
    if (!words || !range.getBoundingClientRect().width || element.closest("script, style, option")) continue;
    const style = getComputedStyle(element), svg = element.closest("svg");
    const opacity = ancestors(element).reduce((share, e) => share * getComputedStyle(e).opacity, 1);
    const ink = parse(svg ? style.fill : style.color), below = ground(svg ? svg.parentElement : element);
    const light = luminance(over([...ink.slice(0, 3), ink[3] * opacity], below)), other = luminance(below);
    const contrast = (Math.max(light, other) + .05) / (Math.min(light, other) + .05);
    const turn = svg ? element.getScreenCTM() : { b: 0, d: 1 };
    const size = parseFloat(style.fontSize) * Math.hypot(turn.b, turn.d);
    texts += 1;
    const found = `contrast ${contrast.toFixed(2)}, ${size.toFixed(1)} px`;
    if (contrast < 4.5 || size < 8.95) wrong.add(`${words.slice(0, 40)}: ${found}`);
  }
  return [texts, [...wrong]];
}
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium; the test is skipped where there is none."""
    sync = pytest.importorskip("playwright.sync_api", reason="NOT RUN: Playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"NOT RUN: there is no {CHROMIUM}")
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


SIGHTS = [(1400, "light"), (1400, "dark"), (390, "light"), (390, "dark")]
"""Widths of a window, and the user's choice of colors."""


def look_at(browser: Any, file: Path) -> list[str]:
    """What is hard to read, or wider than the window, on a page at any of `SIGHTS`."""
    wrong: list[str] = []
    context = browser.new_context()
    context.on("weberror", lambda error: wrong.append(str(error.error)))
    page = context.new_page()
    page.goto(file.resolve().as_uri())
    for width, scheme in SIGHTS:
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        wrong.extend(f"{width} {scheme}: {text}" for text in hard_to_read(page))
        if page.evaluate("document.documentElement.scrollWidth") > width:
            wrong.append(f"{width} {scheme}: the page is wider than the window")
    context.close()
    return wrong


def hard_to_read(page: Any) -> list[str]:
    """Texts of a page with a contrast below 4.5 : 1, or less than 9 pixels high; sections that fold are opened."""
    texts, wrong = page.evaluate(_FAINT_OR_SMALL)
    assert texts > 0
    return list(wrong)
