"""The page of an ablation: it parses, stands alone, and says what the JSON says."""

from __future__ import annotations

import csv
import json
import re
from html import escape, unescape

import numpy as np
import pytest
from drawn.browser import browser, look_at
from drawn.html_page import Page
from PIL import Image

from ensemble_minerals.ablation import page as module
from ensemble_minerals.ablation.arms import BUDGET, FULL, HINDSIGHT, LEAKY, Arm
from ensemble_minerals.ablation.comparison import compare_arms
from ensemble_minerals.ablation.header import AblationHeader
from ensemble_minerals.ablation.page import ABLATION, AblationReport, write_ablation
from ensemble_minerals.ablation.run import AblationRun
from ensemble_minerals.ablation.wording import describe
from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.ensemble.oof import OutOfFold
from ensemble_minerals.errors import DiskError, UserError
from ensemble_minerals.evaluation.costs import Cost
from ensemble_minerals.reports.wording import p_value, show
from ensemble_minerals.system.paths import check_output

__all__ = ["browser"]

N = 120
KINDS = {
    FULL: "full",
    "single:<b>|odd": "single",
    "best_single": "choice",
    HINDSIGHT: "choice",
    BUDGET: "control",
    "uniform": "combination",
    "log_pool": "combination",
    "without_flat": "ingredient",
    "without_oversampling": "ingredient",
    "without:lite0": "source",
    LEAKY: "protocol",
}
RIGHT = {FULL: 0.95, "without_oversampling": 0.95, "uniform": 0.93, "without_flat": 0.75, LEAKY: 0.99}
HEADER = {
    "data": "photos <of> 2024",
    "data_digest": "d" * 32,
    "members": ("m",),
    "inner_folds": 5,
    "seed": 3,
    "config": "seed: 3\n",
    "sources": {},
    "timed_photos": 8,
    "demonstration": False,
    "notes": ("A note with <angles>.",),
    "versions": {"numpy": "2"},
}


def content(names=tuple(KINDS), repeats=1, costs=True, **header):
    """An ablation made by hand: `log_pool` gives the answers of the full ensemble, the others their own."""
    rng = np.random.default_rng(4)
    y = np.arange(N) % 3
    proba = {}
    for name in names:
        right = rng.random((repeats, N)) < RIGHT.get(name, 0.8)
        answer = np.where(right, y, (y + 1) % 3)
        proba[name] = np.eye(3)[answer] * 0.7 + 0.1
    if "log_pool" in proba:
        proba["log_pool"] = proba[FULL].copy()
    arms = tuple(
        Arm(name, f"Arm {name}", f"what {name} is", KINDS[name], ("m",), f"the {name}") for name in names
    )
    choices = [
        {"repeat": repeat, "fold": fold, "best_single": "m", "combination": "log_pool"}
        for repeat in range(repeats)
        for fold in range(4)
    ]
    folds = [rng.permutation(np.arange(N) % 4) for _ in range(repeats)]
    classes = np.array(["mica", "pyrite", "quartz"])
    answered = tuple(
        OutOfFold(FoldInputs(y, np.arange(N) // 2, fold, classes), list(proba), member_proba=np.array(own))
        for fold, *own in zip(folds, *proba.values(), strict=True)
    )
    run = AblationRun(arms, answered, choices)
    priced = {name: Cost(2.5 + place, 20.0 * (1 + place), 4.0 + place) for place, name in enumerate(names)}
    comparison = compare_arms(run, priced if costs else {}, n_replicates=100)
    return AblationReport(AblationHeader(**{**HEADER, **header}), comparison, describe(comparison, 24))


CASES = {
    "all kinds": {},
    "three repeats": {"repeats": 3},
    "no costs": {"costs": False},
    "two arms": {"names": (FULL, "uniform")},
    "the full ensemble alone": {"names": (FULL,)},
    "synthetic": {"names": (FULL, "best_single", LEAKY), "demonstration": True, "notes": ()},
}


@pytest.fixture(scope="module", params=list(CASES))
def made(request, tmp_path_factory):
    """(name of the case, content, folder, text of the page, the page read)."""
    report = content(**CASES[request.param])
    folder = tmp_path_factory.mktemp("ablation") / "out"
    file = write_ablation(report, folder)
    text = file.read_text(encoding="utf-8")
    return request.param, report.as_json(), folder, text, Page(text)


def leaves(value):
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from leaves(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def test_the_page_parses(made):
    _, _, _, text, page = made
    assert page.open == []
    assert page.pictures == []
    assert len(page.ids) == len(set(page.ids))
    assert text.startswith("<!doctype html>")
    assert {"finding", "table", "method"} <= set(page.ids)


def test_the_page_has_no_address_outside(made):
    _, _, folder, text, page = made
    assert not re.search(r"https?:|//[a-z]|@import|<link|<script src", text)
    for link in page.links:
        assert link.startswith("#") or (folder / link).is_file(), link


def test_every_number_is_one_of_the_json(made):
    _, ablation, folder, _, page = made
    assert json.loads((folder / "ablation.json").read_text(encoding="ascii")) == ablation
    known = {repr(value) for value in leaves(ablation)}
    assert len(page.numbers) >= 5 * len(ablation["arms"])
    for value, kind, text in page.numbers:
        assert value in known, (value, kind)
        number = json.loads(value)
        assert text == (p_value(number, short=True) if kind == "p" else show(number, kind))


def test_the_page_says_every_finding(made):
    _, ablation, _, text, _ = made
    plain = " ".join(unescape(re.sub(r"<[^>]+>", "", text)).split())
    told = ablation["findings"]
    sentences = [told["title"], told["resolution"], told["choices"], told["leak"], *told["gain"]]
    sentences += [told["ingredients"]["title"]] if told["ingredients"]["changes"] else []
    sentences += [change["sentence"] for change in told["ingredients"]["changes"]]
    sentences += [told["cost"]] if "cost" in told and "cost.png" in text else []
    for sentence in sentences:
        assert " ".join(sentence.split()) in plain
    assert plain.index(told["resolution"][:40]) < plain.index("What was found")


def test_the_leaky_protocol_is_no_model(made):
    _, ablation, folder, text, _ = made
    is_there = LEAKY in {arm["name"] for arm in ablation["arms"]}
    assert ("Not a model: what a leaky protocol would have claimed" in text) == is_there
    table = (folder / "ablation.md").read_text(encoding="utf-8")
    assert f"Arm {LEAKY}" not in table
    assert ("Not a model: Had the 24 photos" in table) == is_there


def test_where_interval_and_test_disagree_the_reason_stands_beside(made):
    _, ablation, _, text, _ = made
    for arm in ablation["arms"]:
        if not arm.get("p_holm"):
            continue
        row = re.search(rf"{re.escape(escape(arm['title']))}</th>.*?</tr>", text, re.DOTALL).group()
        apart = [
            score
            for score, p in arm["p_holm"].items()
            if p >= 0.05 and (arm["difference"][score]["low"] > 0 or arm["difference"][score]["high"] < 0)
        ]
        assert row.count('class="doubt"') == len(apart)
        if apart == ["log_loss"] and arm["p"]["log_loss"] < 0.05:
            assert "corrected for all of the table" in row


@pytest.mark.parametrize("name", ["all kinds", "two arms"])
def test_everything_can_be_read(browser, tmp_path, name):
    assert look_at(browser, write_ablation(content(**CASES[name]), tmp_path / "ablation")) == []


def test_significance_is_said_in_words(made):
    name, _, folder, text, _ = made
    if name != "all kinds":
        return
    row = re.search(r"Arm without_flat</th>.*?</tr>", text, re.DOTALL).group()
    assert "<b>significant</b><br>full better" in row
    row = re.search(r"Arm uniform</th>.*?</tr>", text, re.DOTALL).group()
    assert row.count("not<br>significant") == 2
    row = re.search(r"Arm log_pool</th>.*?</tr>", text, re.DOTALL).group()
    assert row.count("the same<br>answers") == 2
    table = (folder / "ablation.md").read_text(encoding="utf-8")
    assert re.search(r"\| Arm uniform \|[^|]+\|[^|]+\|[^|]+\| not significant \|", table)
    assert re.search(r"\| Arm without_flat \|[^|]+\|[^|]+\|[^|]+\| significant \|", table)


def test_the_table_as_csv(made):
    _, ablation, folder, _, _ = made
    with (folder / "ablation.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["name"] for row in rows] == [arm["name"] for arm in ablation["arms"]]
    for row, arm in zip(rows, ablation["arms"], strict=True):
        assert float(row["accuracy"]) == arm["scores"]["accuracy"]
        if arm["name"] == FULL:
            assert row["accuracy_difference"] == row["accuracy_p_holm"] == ""
        else:
            assert float(row["log_loss_difference_low"]) == arm["difference"]["log_loss"]["low"]


def test_the_table_for_a_paper_is_a_table(made):
    _, ablation, folder, _, _ = made
    lines = (folder / "ablation.md").read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1
    assert len(rows) == 2 + sum(arm["kind"] != "protocol" for arm in ablation["arms"])
    header = rows[0].split("|")
    assert header.index(" p ") == header.index(" full minus arm, points (95 % interval) ") + 1  # effect first


def test_the_figures_are_there(made):
    name, ablation, folder, text, _ = made
    expected = {"forest_accuracy.png", "forest_log_loss.png", "cost.png"}
    expected -= {"cost.png"} if name in ("no costs", "the full ensemble alone") else set()
    expected = set() if name == "the full ensemble alone" else expected
    assert {file.name for file in folder.glob("*.png")} == expected
    for file in folder.glob("*.png"):
        with Image.open(file) as picture:
            assert min(picture.size) > 150
    assert text.count("<svg") == len(expected)
    if "forest_accuracy.png" in expected:
        title = ablation["arms"][-2 if ablation["arms"][-1]["kind"] == "protocol" else -1]["title"]
        assert title in unescape(text)


def test_a_synthetic_set_says_so(made):
    name, _, _, text, _ = made
    assert ("Its numbers say nothing about real minerals" in text) == (name == "synthetic")


# -- where it goes ----------------------------------------------------------------------------------------


def test_an_ablation_replaces_an_ablation_and_nothing_else(tmp_path):
    folder = tmp_path / "out"
    write_ablation(content(names=(FULL, "uniform")), folder)
    (folder / "stray.txt").write_text("x", encoding="utf-8")
    write_ablation(content(names=(FULL,)), folder)
    assert not (folder / "stray.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    foreign = tmp_path / "photos"
    foreign.mkdir()
    check_output(foreign, kind=ABLATION)
    (foreign / "a.jpg").write_bytes(b"")
    for place in (foreign, foreign / "a.jpg"):
        with pytest.raises(UserError, match="is there and is no ablation"):
            write_ablation(content(names=(FULL,)), place)
    assert (foreign / "a.jpg").exists()


def test_it_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    folder = tmp_path / "out"
    write_ablation(content(names=(FULL,)), folder)
    before = (folder / "ablation.html").read_text(encoding="utf-8")

    def broken(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.plots, "draw", broken)
    with pytest.raises(DiskError, match="cannot be written: No space left"):
        write_ablation(content(names=(FULL, "uniform")), folder)
    assert (folder / "ablation.html").read_text(encoding="utf-8") == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
