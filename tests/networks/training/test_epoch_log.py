from __future__ import annotations

import csv
import json
import math

import pytest

from ensemble_minerals.networks.training.epoch_log import FIELDS, TrainingLog


def values(epoch, **changes):
    return {"phase": 1, "epoch": epoch, "train_loss": 1.5 / epoch, "lr": 1e-3, "seconds": 0.25, **changes}


def test_each_epoch_is_written_as_it_comes(tmp_path):
    log = TrainingLog(tmp_path)
    for epoch in (1, 2):
        log.add(values(epoch, validation_loss=0.5))
        with (tmp_path / "epochs.csv").open(newline="") as stream:
            table = list(csv.DictReader(stream))
        assert json.loads((tmp_path / "epochs.json").read_text()) == log.records
        assert len(table) == len(log.records) == epoch
    assert tuple(table[0]) == FIELDS
    assert [float(row["train_loss"]) for row in table] == [1.5, 0.75]
    assert table[1]["epoch"] == "2"


def test_what_is_unknown_or_no_number_is_none(tmp_path):
    log = TrainingLog(tmp_path)
    log.add(values(1, validation_loss=math.nan, train_accuracy=None))
    record = json.loads((tmp_path / "epochs.json").read_text())[0]
    assert record["validation_loss"] is record["train_accuracy"] is record["validation_macro_f1"] is None
    assert ",,," in (tmp_path / "epochs.csv").read_text()


def test_records_of_an_interrupted_training_come_first(tmp_path):
    first = TrainingLog(tmp_path)
    first.add(values(1))
    second = TrainingLog(tmp_path)
    second.restore(first.records)
    second.add(values(2))
    assert [record["epoch"] for record in json.loads((tmp_path / "epochs.json").read_text())] == [1, 2]


def test_without_folders_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log = TrainingLog()
    log.add(values(1))
    log.close()
    assert list(tmp_path.iterdir()) == []


def test_tensorboard_gets_every_number(tmp_path):
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log = TrainingLog(None, tmp_path / "events")
    log.add(values(1))
    log.add(values(2))
    log.close()
    events = reading.EventAccumulator(str(tmp_path / "events"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"train_loss", "lr", "seconds"}
    assert [(each.step, each.value) for each in events.Scalars("train_loss")] == [(1, 1.5), (2, 0.75)]
