"""Spreadsheets run nothing of a CSV, and its cells are read back as they were."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from ensemble_minerals.system.csv_file import escaped, raw_cells, unescaped, write_csv

FORMULAS = [
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2+3",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    "\n=1",
    " =1",
    "\N{FULLWIDTH EQUALS SIGN}1+1",
    "'=1",
    "''@x",
]


def rows(file: Path) -> list[list[str]]:
    with file.open(encoding="utf-8", newline="") as handle:
        return list(csv.reader(handle))


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_becomes_text_and_comes_back(text):
    assert escaped(text) == f"'{text}"
    assert unescaped(f"'{text}") == text


@pytest.mark.parametrize(
    "text", ["", "quartz", "'quoted'", "-0.5", "+1e-3", "-inf", "a=b", "1-2", "'", "it's"]
)
def test_other_text_stays(text):
    assert escaped(text) == unescaped(text) == text


def test_heading_and_cells_are_written_safely(tmp_path):
    write_csv(tmp_path / "a.csv", ["=h", "n"], [{"n": -1, "=h": Path("=x")}, ["@y", None]])
    assert rows(tmp_path / "a.csv") == [["'=h", "n"], ["'=x", "-1"], ["'@y", ""]]
    with raw_cells():
        write_csv(tmp_path / "b.csv", ["=h", "n"], [["@y", -1]])
    assert rows(tmp_path / "b.csv") == [["=h", "n"], ["@y", "-1"]]
    with raw_cells(False):
        write_csv(tmp_path / "b.csv", ["=h"], [])
    assert rows(tmp_path / "b.csv") == [["'=h"]]


@pytest.mark.parametrize("text", ["=1", "'=1", "''=1", "'quoted'", "'\t"])
def test_raw_cells_are_read_back_as_they_were(tmp_path, text):
    with raw_cells():
        write_csv(tmp_path / "a.csv", ["name"], [[text], [Path(text)]])
    assert [unescaped(cell) for (cell,) in rows(tmp_path / "a.csv")[1:]] == [text, text]


def test_a_row_that_does_not_fit_its_heading_is_refused(tmp_path):
    with pytest.raises(KeyError):
        write_csv(tmp_path / "a.csv", ["a", "b"], [{"a": 1}])
    with pytest.raises(ValueError, match="3 cells"):
        write_csv(tmp_path / "a.csv", ["a", "b"], [{"a": 1, "b": 2, "c": 3}])
