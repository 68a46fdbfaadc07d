"""A student as one page that needs neither a server nor a network: it opens from a file."""

from __future__ import annotations

import base64
import gzip
import html
import json
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from ensemble_minerals.bundle.student import Student
from ensemble_minerals.data.image_cache import decode_side
from ensemble_minerals.exporting.browser_runtime import NOTICE, BrowserRuntime
from ensemble_minerals.prediction.advice import ADVISED, COMMON, SURE, WORTH, outcome_names, range_in_words
from ensemble_minerals.prediction.hand_tests import Floats, HandTest, HandTests, Reading
from ensemble_minerals.system.atomic import atomic_file, user_errors

LEVEL = 0.95
"""Confidence of the prediction sets that the page names."""

_SCRIPTS = ("evidence.js", "advice.js", "photos.js", "answering.js")
_NOTICE = f"<details><summary>Runs in ONNX Runtime Web (MIT License)</summary><p>{html.escape(NOTICE)}</p></details>"
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'wasm-unsafe-eval' blob:; style-src 'unsafe-inline'; "
    "img-src blob: data:"
)
"""What the page may do; it can ask no address at all."""


def write_offline_page(
    file: Path,
    student: Student,
    network: bytes,
    runtime: BrowserRuntime,
    page: Mapping[str, str],
    *,
    side: int,
) -> Path:
    """Write the page; it appears whole or not at all.

    Args:
        file: The page.
        student: What answers.
        network: The student as ONNX.
        runtime: What runs it.
        page: Files of the page that a server shows, by name; it asks functions of this file instead.
        side: Pixels that the shorter side of a photo needs.

    Raises:
        UserError: If it cannot be written.
    """
    own = resources.files("ensemble_minerals.exporting") / "offline"
    scripts = [(own / name).read_text(encoding="utf-8") for name in _SCRIPTS]
    packed = {"runtime-script": runtime.script, "runtime-wasm": runtime.wasm, "network": network}
    data = [
        f'<script type="application/octet-stream" id="{name}">{_packed(content)}</script>'
        for name, content in packed.items()
    ]
    described = json.dumps(_model(student, side), ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    head = f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n<style>\n{page["page.css"]}</style>'
    body = [
        *data,
        f'<script type="application/json" id="model-data">{described}</script>',
        *(f"<script>\n{script}</script>" for script in (*scripts, page["page.js"])),
    ]
    text = page["index.html"]
    for there, instead in (
        ('<link rel="stylesheet" href="page.css">\n<script src="page.js" defer></script>', head),
        ("They are answered by this server and not kept", "They are answered on this device; nothing is sent"),
        ('<a href="docs">interface for programs</a>', _NOTICE),
        (",.heic,.heif,.tif,.tiff", ""),
        ("</body>", "\n".join([*body, "</body>"])),
    ):  # fmt: skip
        if there not in text:
            raise ValueError(f"index.html of the page lacks {there!r}")
        text = text.replace(there, instead)
    with user_errors(file), atomic_file(file) as draft:
        draft.write_text(text, encoding="utf-8", errors="replace", newline="\n")
    return file


def _packed(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content, mtime=0)).decode("ascii")


def _model(student: Student, side: int) -> dict[str, Any]:
    """What the scripts of the page need to know."""
    taxonomy, limits, rejection = student.taxonomy, student.limits, student.rejection
    groups = [taxonomy.group_names[group] for group in taxonomy.group_of()]
    properties = student.properties
    hand = None if properties is None else HandTests(properties, student.classes)
    tests = [] if hand is None else list(_tests(hand))
    highest = student.conformal_sets().highest_scores(LEVEL).tolist()
    return {
        "described": {
            "name": student.path.resolve().name,
            "classes": list(student.classes),
            "groups": dict(zip(student.classes, groups, strict=True)),
            "members": [str(student.info["network"]["model"])],
            "properties": tests,
            "demonstration": bool(student.info.get("demonstration")),
            "limits": {"photos": 1},
        },
        "tests": tests,
        "advice": {
            "tests": [] if hand is None else [_advisable(hand, test) for test in hand.tests()],
            "sure": SURE,
            "worth": WORTH,
            "advised": ADVISED,
            "common": COMMON,
        },
        "highest_scores": [score if np.isfinite(score) else None for score in highest],
        "refuse": 0.0 if rejection is None else rejection.refuse,
        "side": decode_side(side),
        "min_side": limits.min_side,
        "max_pixels": limits.max_pixels,
    }


def _advisable(tests: HandTests, test: HandTest) -> dict[str, Any]:
    """A test with what the formulas of the advice need."""
    return {
        "name": test.name,
        "how": f"{test.how} {test.tool}".strip(),
        "likelihoods": [tests.likelihood(outcome).tolist() for outcome in test.outcomes],
        "outcomes": outcome_names(tests, test),
        "all_named": bool(test.tool),
        "ranges": [range_in_words(tests, test.name, label) for label in tests.classes],
    }


def _tests(tests: HandTests) -> Iterator[dict[str, Any]]:
    """Each property with what the formulas of a reading need."""
    properties = tests.properties
    for name in tests.names:
        if name in properties.words:
            word = properties.words[name]
            readings = [Reading(name, value) for value in word.values]
            yield {
                "name": name,
                "how": word.how,
                "values": list(word.values),
                "likelihood": [tests.likelihood(reading).tolist() for reading in readings],
                "fits": [tests.fits(reading).tolist() for reading in readings],
            }
            continue
        number, (low, high) = properties.numbers[name], tests.ranges(name)
        yield {
            "name": name,
            "how": f"{number.how} {', '.join(number.tools)}".strip(),
            "unit": number.unit,
            "scale": list(number.scale),
            "units": dict(number.units),
            "misread": number.misread,
            "low": _or_null(low),
            "high": _or_null(high),
        }


def _or_null(values: Floats) -> list[float | None]:
    return [value if np.isfinite(value) else None for value in values.tolist()]
