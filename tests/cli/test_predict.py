"""`predict` on the command line."""

from __future__ import annotations

import csv
import json
import os
import re
from pathlib import Path

import pytest
from drawn.command_line import COLORS, run


def test_predict_prints_a_row_for_each_of_a_few(home, bundle):
    outcome = run("predict", bundle, home / "new")
    assert outcome.exit_code == 0, outcome.output
    rows = {
        Path(line.split()[0]).name: line.split()[1] for line in outcome.stdout.splitlines() if ".png" in line
    }
    assert len(rows) == 6
    assert sum(name.startswith(label) for name, label in rows.items()) >= 5
    assert "2 of 2 chose it" in outcome.stdout
    assert "6 photos answered." in outcome.stdout


def test_predict_sums_up_many(home, bundle):
    outcome = run("predict", bundle, home / "new", home / "photos")
    assert outcome.exit_code == 0, outcome.output
    assert ".png" not in outcome.stdout
    counts = dict(re.findall(r"^(azurite|malachite|pyrite) .*?(\d+)  ", outcome.stdout, re.M))
    assert sum(map(int, counts.values())) == 24


def test_what_was_asked_of_many_is_shown_too(home, bundle):
    outcome = run("predict", bundle, home / "new", home / "photos", "--sets", 0.9, "--top-k", 2)
    assert outcome.exit_code == 0, outcome.output
    head = next(line for line in outcome.stdout.splitlines() if line.startswith("photo "))
    assert head.split()[-3:] == ["set", "at", "0.9"]
    assert " or " in head
    assert outcome.stdout.count(".png") == 20
    assert "... and 4 more" in outcome.stdout
    assert re.search(r"Sets at 0.9: \d+ of 24 name one class, \d\.\d classes on average", outcome.stdout)


def test_unreadable_inputs_are_told_and_exit_with_three(home, bundle, tmp_path):
    broken = tmp_path / "bro\x1b[31mken.jpg"
    broken.write_bytes((home / "new" / "azurite-0.png").read_bytes()[:300])
    outcome = run("predict", bundle, home / "new", broken, "--out", tmp_path / "answers.csv")
    assert outcome.exit_code == 3
    assert "truncated" in outcome.stdout
    assert "6 photos answered, 1 could not be read." in outcome.stdout
    assert "\x1b" not in outcome.stdout
    with (tmp_path / "answers.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["ok"] * 6 + ["unreadable"]
    assert rows[-1]["reason"].startswith("truncated")
    assert rows[-1]["label"] == ""


def test_nothing_readable_exits_with_three_too(bundle, tmp_path):
    (tmp_path / "notes.md").write_text("found in 1987")
    outcome = run("predict", bundle, tmp_path / "notes.md")
    assert outcome.exit_code == 3
    assert "0 photos answered, 1 could not be read." in outcome.stdout


def test_the_table_has_a_row_for_each_input_and_a_column_for_each_class(home, bundle, tmp_path):
    outcome = run("predict", bundle, home / "new", "--out", tmp_path / "deep" / "a.json", "--top-k", 2)
    assert outcome.exit_code == 0, outcome.output
    rows = json.loads((tmp_path / "deep" / "a.json").read_text(encoding="utf-8"))
    assert list(rows[0]) == [
        "path", "status", "reason", "label", "group", "confidence", "label_2", "confidence_2",
        "p_azurite", "p_malachite", "p_pyrite", "typicality", "verdict",
    ]  # fmt: skip
    for row in rows:
        shares = {name: row[f"p_{name}"] for name in COLORS}
        assert sum(shares.values()) == pytest.approx(1.0)
        assert row["confidence"] == max(shares.values()) == shares[row["label"]]
        assert row["confidence_2"] == sorted(shares.values())[1]
    assert outcome.stdout.count(rows[0]["label_2"]) >= 1


def test_patterns_in_quotes_are_expanded(home, bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(home)
    outcome = run("predict", bundle, "new/pyrite-*.png", "--out", tmp_path / "a.csv")
    assert outcome.exit_code == 0, outcome.output
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        assert [row["path"] for row in csv.DictReader(file)] == ["new/pyrite-0.png", "new/pyrite-1.png"]


def test_the_gallery_shows_each_photo(home, bundle, tmp_path):
    outcome = run("predict", bundle, home / "new", "--gallery", tmp_path / "g.html")
    assert outcome.exit_code == 0, outcome.output
    assert f"Gallery: {tmp_path / 'g.html'}" in outcome.stdout
    assert (tmp_path / "g.html").read_text(encoding="utf-8").count("<figure") == 6


def test_a_name_that_is_no_utf8_passes_through(bundle, home, tmp_path):
    stray = tmp_path / "in" / os.fsdecode(b"caf\xe9.png")
    stray.parent.mkdir()
    stray.write_bytes((home / "new" / "pyrite-0.png").read_bytes())
    for name in ("a.csv", "a.json", "a.parquet"):
        outcome = run("predict", bundle, stray.parent, "-o", tmp_path / name, "-g", tmp_path / f"{name}.html")
        assert outcome.exit_code == 0, outcome.output
    assert b"caf\xe9.png" in (tmp_path / "a.csv").read_bytes()
    (row,) = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert row["path"] == str(stray)


@pytest.mark.parametrize(("option", "name"), [("--out", "a.csv"), ("--gallery", "g.html")])
def test_a_file_is_replaced_only_where_that_is_wanted(home, bundle, tmp_path, option, name):
    file = tmp_path / name
    file.write_text("mine")
    outcome = run("predict", bundle, home / "new", option, file)
    assert outcome.exit_code == 2
    assert f"choose another {option}, or replace it with --overwrite" in outcome.stderr
    assert file.read_text() == "mine"
    assert run("predict", bundle, home / "new", option, file, "--overwrite").exit_code == 0
    assert file.read_text(encoding="utf-8") != "mine"


def test_answers_are_a_list_for_the_next_prediction(home, bundle, tmp_path):
    (tmp_path / "list.txt").write_text(f"{home / 'new' / 'pyrite-1.png'}\n{tmp_path / 'absent.png'}\n")
    outcome = run("predict", bundle, tmp_path / "list.txt", "--out", tmp_path / "a.csv")
    assert outcome.exit_code == 3
    assert "1 photo answered, 1 could not be read." in outcome.stdout
    assert "missing" in outcome.stdout
    again = run("predict", bundle, tmp_path / "a.csv")
    assert again.exit_code == 3
    assert "1 photo answered, 1 could not be read." in again.stdout


def test_a_name_is_no_formula_in_a_table_and_comes_back_from_it(home, bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("=1+1.png").write_bytes((home / "new" / "pyrite-1.png").read_bytes())
    assert run("predict", bundle, "=1+1.png", "--out", "a.csv").exit_code == 0
    assert "\n'=1+1.png,ok," in Path("a.csv").read_text(encoding="utf-8")
    assert run("predict", bundle, "a.csv", "--out", "b.csv").exit_code == 0
    assert Path("b.csv").read_bytes() == Path("a.csv").read_bytes()
    assert run("predict", bundle, "=1+1.png", "--out", "raw.csv", "--raw-csv").exit_code == 0
    assert "\n=1+1.png,ok," in Path("raw.csv").read_text(encoding="utf-8")


def test_evidence_is_shown_beside_and_what_is_amiss_below(home, bundle, tmp_path):
    photo = home / "new" / "azurite-0.png"
    outcome = run("predict", bundle, photo, "-e", "hardness=8", "--advise")
    assert outcome.exit_code == 0, outcome.output
    assert "with evidence" in outcome.stdout
    assert "none fits" in outcome.stdout
    assert "hardness=8 fits none of the classes" in " ".join(outcome.stdout.split())
    many = run("predict", bundle, home / "photos", home / "new", "-e", "hardness=8", "--advise")
    assert "Evidence: of 24 photos it does not fit (24 without an answer)" in " ".join(many.stdout.split())
    assert "see the column advice" in " ".join(many.stdout.split())
    outcome = run("predict", bundle, photo, "--evidence", "streek=blue")
    assert outcome.exit_code == 2
    assert "did you mean 'streak'" in " ".join(outcome.output.split())
