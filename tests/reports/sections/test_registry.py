"""All sections together: tables that add up, numbers that agree with their definitions, planted findings found."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.ensemble.oof import OutOfFold
from ensemble_minerals.evaluation.answers import Answers
from ensemble_minerals.evaluation.intervals import GroupBootstrap
from ensemble_minerals.evaluation.metrics import summary, weighted_metric
from ensemble_minerals.reports.report import Report
from ensemble_minerals.reports.sections.abstention import AbstentionSection
from ensemble_minerals.reports.sections.classes import Classes
from ensemble_minerals.reports.sections.evidence import Evidence
from ensemble_minerals.reports.sections.sheets import Sheets
from ensemble_minerals.taxonomy import Taxonomy

SHARES = {"precision", "recall", "f1", "average_precision", "mean_true_probability", "accuracy", "observed",
          "balanced_accuracy", "macro_f1", "coverage", "share_of_class", "share_of_errors", "p_given", "p_answer",
          "probability", "oracle", "all_right", "expected", "stated", "confidence", "threshold", "risk",
          "p_suggested", "double_fault"}  # fmt: skip


def analyze(data):
    """The content of report.json."""
    return Report.compute(data).as_json()


@pytest.fixture(scope="session")
def analysis(case):
    return analyze(case[2])


def leaves(value, name=""):
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, name if key in ("estimate", "low", "high") else key)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item, name)
    else:
        yield name, value


def intervals(value):
    if isinstance(value, dict):
        if {"estimate", "low", "high"} <= value.keys():
            yield value
        for item in value.values():
            yield from intervals(item)
    elif isinstance(value, list):
        for item in value:
            yield from intervals(item)


def test_it_is_plain_json(analysis):
    assert json.loads(json.dumps(analysis, allow_nan=False)) == analysis


def test_no_share_leaves_zero_to_one(analysis):
    seen = {name for name, value in leaves(analysis) if name in SHARES and value is not None}
    assert len(seen) > 15
    for name, value in leaves(analysis):
        if name in SHARES and value is not None:
            assert 0 <= value <= 1, (name, value)


def test_intervals_hold_their_estimates(analysis):
    found = list(intervals(analysis))
    assert found
    for interval in found:
        assert (interval["low"] is None) == (interval["high"] is None)
        if interval["low"] is not None:
            assert interval["low"] <= interval["estimate"] + 1e-9
            assert interval["estimate"] <= interval["high"] + 1e-9


def test_the_confusion_matrix_adds_up(case, analysis):
    _, answers, _ = case
    section = analysis["confusion"]
    counts = np.array(section["counts"])
    support = dict(zip(answers.classes, np.bincount(answers.y, minlength=len(answers.classes)), strict=True))
    assert counts.sum() == section["n"] == len(answers)
    assert counts.sum(axis=1).tolist() == [support[name] for name in section["classes"]]
    assert counts.sum() - np.trace(counts) == section["errors"] == section["within"] + section["across"]
    assert section["errors"] == int((~answers.right).sum())
    for row, total in zip(section["percentages"], counts.sum(axis=1), strict=True):
        if total:
            assert sum(row) == pytest.approx(100, abs=1e-9)
        else:
            assert set(row) == {None}
    rolled = section["groups"]
    if rolled is not None:
        table = np.array(rolled["counts"])
        assert table.sum() == len(answers)
        assert table.sum() - np.trace(table) == section["across"]


def test_every_section_tells_the_same_story(case, analysis):
    _, answers, _ = case
    errors = analysis["confusion"]["errors"]
    assert sum(sheet["errors"] for sheet in analysis["sheets"]) == errors
    assert sum(other["count"] for sheet in analysis["sheets"] for other in sheet["mistaken_for"]) == errors
    assert sum(other["count"] for sheet in analysis["sheets"] for other in sheet["mistaken_for_it"]) == errors
    assert sum(bin_["count"] for bin_ in analysis["reliability"]["after"]["bins"]) == len(answers)
    for one in analysis["reliability"]["by_class"]:
        assert sum(bin_["count"] for bin_ in one["bins"]) == len(answers)
    for level in analysis["sets"]["levels"]:
        assert sum(level["sizes"]) == len(answers)
        sizes = range(len(level["sizes"]))
        assert np.dot(level["sizes"], sizes) / len(answers) == pytest.approx(level["mean_size"])
    by_measure: dict[str, int] = {}
    for row in analysis["slices"]["rows"]:
        by_measure[row["measure"]] = by_measure.get(row["measure"], 0) + row["n"]
    assert set(by_measure.values()) == {len(answers)}
    curve = analysis["abstention"]["curve"]
    assert curve["coverage"][-1] == 1
    assert curve["risk"][-1] == pytest.approx(errors / len(answers))


def test_scores_are_those_of_the_metrics(case, analysis):
    _, answers, _ = case
    expected = summary(answers.y, answers.proba, answers.classes)
    for score in analysis["scores"]:
        stated = score["estimate"] if score["plug_in"] is None else score["plug_in"]
        assert stated == expected[score["name"]]
    for row in analysis["classes"]["classes"]:
        own = expected["per_class"][row["name"]]
        assert row["support"] == own["support"]
        for name in ("precision", "recall", "f1", "mean_true_probability"):
            assert (
                row[name]["estimate"] == pytest.approx(own[name])
                or row[name]["estimate"] is own[name] is None
            )
        assert row["average_precision"] == pytest.approx(own["average_precision"], nan_ok=True)


def test_every_finding_is_a_sentence(analysis):
    assert len(analysis["findings"]) == 14
    for text in analysis["findings"].values():
        assert text[0].isupper() or text[0].isdigit()
        assert "nan" not in text.lower()
        assert "None" not in text
        assert "  " not in text


def test_intervals_are_those_of_their_methods(drawn):
    answers = drawn.answers([30, 20, 25])
    found = analyze(drawn.report_data(answers, seed=3))
    row = found["classes"]["classes"][1]
    low, high = proportion_confint(row["right"], row["support"], method="wilson")
    assert (row["recall"]["low"], row["recall"]["high"]) == pytest.approx((low, high))
    low, high = proportion_confint(row["right"], row["answered"], method="wilson")
    assert (row["precision"]["low"], row["precision"]["high"]) == pytest.approx((low, high))
    draws = GroupBootstrap(answers.groups, seed=3)
    macro = draws.interval(weighted_metric("macro_f1", answers.y, answers.proba))
    stated = next(score for score in found["scores"] if score["name"] == "macro_f1")
    assert (stated["low"], stated["high"]) == (macro.low, macro.high)
    best = answers.member_proba[answers.best_single]
    gain = draws.intervals(
        weighted_metric("f1", answers.y, answers.proba), minus=weighted_metric("f1", answers.y, best)
    )[1]
    assert (row["f1_gain"]["low"], row["f1_gain"]["high"]) == (gain.low, gain.high)


def test_intervals_are_wider_where_rows_come_in_groups(drawn):
    alone = drawn.answers([60, 60], strength=1.0, group_size=1)
    rows = np.repeat(np.arange(len(alone)), 4)
    grouped = replace(
        alone,
        out_of_fold=alone.out_of_fold.take(rows),
        uncalibrated=alone.uncalibrated[rows],
        paths=tuple(np.array(alone.paths)[rows].tolist()),
    )
    first, second = (analyze(drawn.report_data(answers))["scores"][0] for answers in (alone, grouped))
    assert first["estimate"] == second["estimate"]
    assert second["high"] - second["low"] == pytest.approx(first["high"] - first["low"], rel=0.1)


def test_all_right_is_not_certainty(drawn):
    answers = drawn.answers([10, 10, 10], perfect=True)
    found = analyze(drawn.report_data(answers))
    accuracy = found["scores"][0]
    low, _ = proportion_confint(answers.n_groups, answers.n_groups, method="wilson")
    assert accuracy["estimate"] == 1
    assert accuracy["low"] == pytest.approx(low)
    assert found["pairs"] == []
    assert found["findings"]["confusion"] == "No answer is wrong"
    assert all(row["f1_gain"]["estimate"] == 0 for row in found["classes"]["classes"])


def planted(mistakes):
    """Two sure classes and a third of which `mistakes` of 20 rows are taken for the first."""
    y = np.repeat([0, 1, 2], 20)
    proba = np.full((60, 3), 0.05)
    proba[np.arange(60), y] = 0.9
    proba[40 : 40 + mistakes] = [0.8, 0.05, 0.15]
    return Answers(
        Taxonomy.from_tree(("mica", "quartz", "pyrite"), {"pale": ["mica", "quartz"]}),
        OutOfFold(
            FoldInputs(y, np.arange(60), np.arange(60) % 5, np.array(["mica", "quartz", "pyrite"])),
            ["only"], member_proba=proba[None], proba=proba,
        ),
        None,
        tuple(f"{row}.jpg" for row in range(60)),
    )  # fmt: skip


def test_a_planted_confusion_comes_first(drawn):
    answers = planted(7)
    found = analyze(drawn.report_data(answers))
    (pair,) = found["pairs"]
    assert (pair["given"], pair["answer"], pair["count"], pair["within_group"]) == (
        "pyrite",
        "mica",
        7,
        False,
    )
    assert pair["share_of_class"] == 7 / 20
    assert pair["share_of_errors"] == 1
    assert found["findings"]["pairs"] == "Pyrite is mistaken for mica most: 7 of its 20 photos"
    assert found["findings"]["confusion"].endswith("0 stay within a group of the taxonomy, 7 leave it")
    assert {photo["path"] for photo in pair["mistaken"]} <= {f"{row}.jpg" for row in range(40, 47)}
    assert all(photo["given"] == photo["answer"] == "mica" for photo in pair["like"])


def test_sheets_show_the_worst_first_and_each_group_once(drawn):
    answers = drawn.answers([24, 24], group_size=4)
    sheet = analyze(drawn.report_data(answers))["sheets"][1]
    worst = [photo["p_given"] for photo in sheet["worst"]]
    assert worst == sorted(worst)
    assert worst[0] == answers.given_proba[answers.y == 1].min()
    group_of = dict(zip(answers.paths, answers.groups.tolist(), strict=True))
    typical = [group_of[photo["path"]] for photo in sheet["typical"]]
    assert len(set(typical)) == len(typical) > 1
    photo = sheet["worst"][0]
    assert [vote["member"] for vote in photo["votes"]] == list(answers.members)
    assert photo["fold"] == answers.folds[answers.paths.index(photo["path"])]


def test_the_page_begins_with_the_worst_class(drawn):
    answers = drawn.answers([24, 24, 24])
    y = answers.y.copy()
    wrong = np.flatnonzero(y == 2)[:12]
    proba = answers.proba.copy()
    proba[wrong] = [0.1, 0.8, 0.1]
    data = drawn.report_data(drawn.changed(answers, y=y, proba=proba))
    f1 = [row.f1.estimate for row in Classes.compute(data).worst_first]
    errors = [sheet.errors for sheet in Sheets.compute(data).worst_first]
    sets = AbstentionSection.compute(data)
    covered = [sets.sets.levels[-1].by_class[k].coverage.estimate for k in sets.worst_first]
    assert f1 == sorted(f1)
    assert f1[0] < f1[-1]
    assert errors == sorted(errors, reverse=True)
    assert Sheets.compute(data).worst_first[0].name == answers.classes[2]
    assert covered == sorted(covered)


def test_planted_label_errors_are_suspected(drawn):
    answers = drawn.answers([40, 40, 40], strength=6.0)
    wrong = [3, 50, 90]
    y = answers.y.copy()
    y[wrong] = (y[wrong] + 1) % 3
    found = analyze(drawn.report_data(drawn.changed(answers, y=y)))["labels"]
    suspected = [photo["path"] for photo in found["suspects"]]
    assert {answers.paths[row] for row in wrong} <= set(suspected[:5])
    assert len(suspected) < 12
    assert found["suspects"][0]["suggested"] != found["suspects"][0]["given"]


def test_members_are_compared(drawn):
    answers = drawn.answers([30, 30, 30], strength=1.0)
    found = analyze(drawn.report_data(answers))["members"]
    accuracy = [row["accuracy"]["estimate"] for row in found["members"]]
    assert accuracy == sorted(accuracy, reverse=True)
    assert found["best_single"]["name"] == found["members"][0]["name"]
    assert found["all_right"] <= min(accuracy) <= max(accuracy) <= found["oracle"]
    right = answers.member_proba.argmax(axis=2) == answers.y
    assert found["oracle"] == pytest.approx(right.any(axis=0).mean())
    assert np.diag(found["double_fault"]) == pytest.approx(1 - right.mean(axis=1))
    assert found["members"][0]["fit_seconds"] == 1.25
    assert found["members"][0]["predict_ms"] is None
    assert found["ensemble"]["megabytes"] is None


def test_the_finding_says_whether_the_gain_is_clear(drawn):
    answers = drawn.answers([60, 60, 60], strength=0.8, members=9)
    told = analyze(drawn.report_data(answers))["findings"]["members"]
    assert told.startswith("The ensemble beats its best member")
    same = drawn.changed(answers, proba=answers.member_proba[answers.best_single])
    told = analyze(drawn.report_data(same))["findings"]["members"]
    assert told.startswith("The ensemble is not clearly more accurate than its best member")


def test_simulated_evidence_is_shown_where_properties_are_known_and_marked_so(case, analysis):
    assert "simulated_evidence" not in analyze(replace(case[2], properties=None))
    rows = analysis["simulated_evidence"]
    assert rows[0]["tests"] == []
    assert rows[0]["accuracy"]["estimate"] == pytest.approx(analysis["scores"][0]["estimate"])
    assert analysis["findings"]["evidence"].startswith("Simulated: ")
    section = Evidence.compute(case[2])
    assert [row["tests"] for row in section.tables()["simulated_evidence"]][:2] == ["photo alone", "hardness"]
    np.testing.assert_array_equal(section.pairs, section.pairs.T)
    assert section.pairs[0, 0] == rows[1]["accuracy"]["estimate"]
