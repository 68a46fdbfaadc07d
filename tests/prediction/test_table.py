"""The table of answers: its columns, its files, and that it is written whole."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from ensemble_minerals.errors import UserError
from ensemble_minerals.prediction import table as predictions_module
from ensemble_minerals.prediction.table import Predictions, check_ending
from ensemble_minerals.system.csv_file import unescaped
from ensemble_minerals.taxonomy import Taxonomy

ODD = ("-x", 'a,"b"', "größe 水晶", "y" * 200)
COLUMNS = ["path", "status", "reason", "label", "group", "confidence"]


def answers(classes=("bornite", "malachite", "pyrite"), tree=None, paths=("a b.jpg", "x,\n.jpg", 'ü".png')):
    """Three answers: one sure, one that could not be had, one that is a tie of the last two classes."""
    taxonomy = Taxonomy.from_tree(classes, {} if tree is None else tree)
    n = len(classes)
    proba = np.full((3, n), np.nan)
    proba[0] = np.array([0.7, *[0.3 / (n - 1)] * (n - 1)])
    proba[2] = np.array([*[0.2 / (n - 2)] * (n - 2), 0.4, 0.4])
    member_proba = np.stack([proba, proba[:, ::-1]], axis=1)
    reasons = ("", "truncated: cut, off", "")
    return Predictions(tuple(map(Path, paths)), reasons, proba, member_proba, ("one", "other"), taxonomy)


def read(file: Path) -> list[dict]:
    if file.suffix == ".json":
        return json.loads(file.read_text(encoding="utf-8"))
    if file.suffix == ".parquet":
        return pq.read_table(file).to_pylist()
    with file.open(newline="", encoding="utf-8") as handle:
        return [{name: unescaped(cell) for name, cell in row.items()} for row in csv.DictReader(handle)]


def test_rows_and_their_answers():
    found = answers(tree={"metallic": ["bornite", "pyrite"]})
    assert len(found) == 3
    assert found.answered.tolist() == [True, False, True]
    assert found.top(0, 2) == [("bornite", 0.7), ("malachite", pytest.approx(0.15))]
    assert found.top(2, 9)[:2] == [("malachite", 0.4), ("pyrite", 0.4)]  # of equals the first
    assert found.votes(0) == [("one", "bornite", 0.7), ("other", "pyrite", 0.7)]
    records = list(found.records())
    assert records[0] == {
        "path": "a b.jpg", "status": "ok", "reason": "", "label": "bornite", "group": "metallic", "confidence": 0.7,
        "p_bornite": 0.7, "p_malachite": pytest.approx(0.15), "p_pyrite": pytest.approx(0.15),
        "typicality": None, "verdict": None,
    }  # fmt: skip
    assert records[1] == {
        "path": "x,\n.jpg", "status": "unreadable", "reason": "truncated: cut, off", "label": None, "group": None,
        "confidence": None, "p_bornite": None, "p_malachite": None, "p_pyrite": None,
        "typicality": None, "verdict": None,
    }  # fmt: skip
    assert records[2]["group"] == "malachite"
    copper = answers(tree={"copper": ["malachite", "pyrite"]})
    assert [record["group"] for record in copper.records()] == ["bornite", None, "copper"]


@pytest.mark.parametrize(("top_k", "ranks"), [(1, 1), (2, 2), (3, 3), (50, 3)])
def test_columns(top_k, ranks):
    found = answers()
    guesses = [f"{what}_{rank}" for rank in range(2, ranks + 1) for what in ("label", "confidence")]
    expected = [*COLUMNS, *guesses, "p_bornite", "p_malachite", "p_pyrite", "typicality", "verdict"]
    assert list(found.columns(top_k)) == expected
    records = list(found.records(top_k))
    assert [list(record) for record in records] == [expected] * 3
    for rank in range(2, ranks + 1):
        assert (records[0][f"label_{rank}"], records[0][f"confidence_{rank}"]) == found.top(0, 3)[rank - 1]
        assert records[1][f"label_{rank}"] is records[1][f"confidence_{rank}"] is None


@pytest.mark.parametrize("ending", [".csv", ".json", ".parquet", ".CSV"])
@pytest.mark.parametrize("classes", [("bornite", "malachite", "pyrite"), ODD], ids=["plain", "odd"])
def test_what_is_written_can_be_read_again(tmp_path, ending, classes):
    found = answers(classes)
    file = found.write(tmp_path / "new" / f"answers{ending}", top_k=2)
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    rows, records = read(file.rename(file.with_suffix(ending.lower()))), list(found.records(2))
    for row, record in zip(rows, records, strict=True):
        assert list(row) == list(record)
        for name, value in record.items():
            if ending.lower() == ".csv":
                text = row[name]
                assert (float(text) if isinstance(value, float) else text) == ("" if value is None else value)
            else:
                assert row[name] == value


@pytest.mark.parametrize("ending", [".csv", ".json", ".parquet"])
def test_a_table_of_no_rows_has_its_columns(tmp_path, ending):
    whole = answers()
    none = Predictions((), (), whole.proba[:0], whole.member_proba[:0], whole.members, whole.taxonomy)
    file = none.write(tmp_path / f"none{ending}")
    assert read(file) == []
    if ending == ".csv":
        assert file.read_text(encoding="utf-8").strip().split(",") == list(whole.columns())
    if ending == ".parquet":
        assert pq.read_schema(file).names == list(whole.columns())


def test_parquet_columns_keep_their_types_where_nothing_was_read(tmp_path):
    whole = answers()
    unread = Predictions(
        whole.paths[1:2],
        whole.reasons[1:2],
        whole.proba[1:2],
        whole.member_proba[1:2],
        whole.members,
        whole.taxonomy,
    )
    schemas = [
        pq.read_schema(found.write(tmp_path / f"{n}.parquet", 2)) for n, found in enumerate((whole, unread))
    ]
    assert schemas[0].equals(schemas[1])
    assert {str(kind) for kind in schemas[0].types} == {"string", "double"}


def test_names_that_are_no_utf8_pass_through(tmp_path):
    stray = os.fsdecode(b"caf\xe9.jpg")
    found = answers(paths=(stray, "b.jpg", "c.jpg"))
    assert b"caf\xe9.jpg" in found.write(tmp_path / "a.csv").read_bytes()
    assert read(found.write(tmp_path / "a.json"))[0]["path"] == stray
    assert read(found.write(tmp_path / "a.parquet"))[0]["path"] == "caf?.jpg"


def test_a_failed_write_leaves_the_old_table(tmp_path, monkeypatch):
    file = answers().write(tmp_path / "answers.csv")
    before = file.read_bytes()

    def failing(path, records, columns):
        path.write_text("half a ta")
        raise OSError("the disk is full")

    monkeypatch.setitem(predictions_module._WRITERS, ".csv", failing)
    with pytest.raises(OSError, match="the disk is full"):
        answers(ODD).write(file)
    assert file.read_bytes() == before
    monkeypatch.undo()
    assert answers(ODD).write(file).read_bytes() != before
    assert [path.name for path in tmp_path.iterdir()] == ["answers.csv"]


@pytest.mark.parametrize("name", ["answers.xlsx", "answers", "answers.csv.gz", ".csv"])
def test_other_endings_are_refused_with_the_known_ones(tmp_path, name):
    with pytest.raises(UserError, match=r"the ending must be one of \.csv, \.json, \.parquet"):
        answers().write(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_folders_and_missing_pyarrow_are_told_before_the_work(tmp_path, monkeypatch):
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(UserError, match="is a folder; name a file"):
        check_ending(tmp_path / "folder.csv")
    check_ending(tmp_path / "a.parquet")
    monkeypatch.setattr(predictions_module, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs pyarrow: pip install 'ensemble-minerals\[parquet\]'"):
        check_ending(tmp_path / "a.parquet")
    check_ending(tmp_path / "a.csv")


def test_sets_stand_in_the_table_only_where_asked_for(tmp_path):
    sets = np.array([[True, True, False]])
    one = Predictions(
        (Path("a.jpg"),),
        ("",),
        np.array([[0.3, 0.6, 0.1]]),
        np.array([[[0.3, 0.6, 0.1]]]),
        ("one",),
        Taxonomy.flat(("a", "b", "c")),
        sets,
    )
    assert one.set_of(0) == ("b", "a")
    assert next(one.records())["set"] == "b; a"
    assert list(one.columns()) == list(next(one.records()))
    without = dataclasses.replace(one, sets=None)
    assert "set" not in next(without.records())
    with pytest.raises(ValueError, match="no sets"):
        without.set_of(0)
    for ending in (".csv", ".json", ".parquet"):
        assert one.write(tmp_path / f"answers{ending}").is_file()
