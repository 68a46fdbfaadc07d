"""Seconds a photo on the page of `export --format html`, opened from a file in Chromium without a network."""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from playwright.sync_api import sync_playwright

ANSWERED = """async () => {
  const seconds = [];
  for (const file of document.getElementById("timed").files) {
    const body = new FormData();
    body.append("files", file);
    const started = performance.now();
    const { answers } = await (await answering("v1/predict", { body })).json();
    if (answers[0].status !== "ok") throw new Error(answers[0].reason);
    seconds.push((performance.now() - started) / 1000);
  }
  return seconds;
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    given = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=given.chromium, args=["--no-sandbox"])
        page = browser.new_context(offline=True).new_page()
        page.goto(given.page.resolve().as_uri())
        page.evaluate("document.body.insertAdjacentHTML('beforeend', '<input type=file id=timed multiple>')")
        page.set_input_files("#timed", [str(photo) for photo in given.photos])
        first, *others = page.evaluate(ANSWERED)
        browser.close()
    print(f"{given.page.stat().st_size / 1e6:.1f} MB")
    print(f"first photo: {first:.2f} s")
    if others:
        print(f"{len(others)} others: median {statistics.median(others):.2f} s, longest {max(others):.2f} s")


if __name__ == "__main__":
    main()
