"""`ablate` from photos to page, on drawn photos and without weights."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from ensemble_minerals.ablation.outer_fold import OuterFold
from ensemble_minerals.errors import BundleError, DataError, UserError
from ensemble_minerals.experiment import preparation
from ensemble_minerals.features.costs import ExtractorCost
from ensemble_minerals.workflows import ablate as module
from ensemble_minerals.workflows.ablate import ablate

FEW = ["best_single", "uniform", "without_flat"]


class Ears:
    """Progress that remembers."""

    def __init__(self):
        self.notes, self.stages = [], {}

    def stage(self, name):
        steps = self.stages.setdefault(name, [])
        return lambda done, total: steps.append((done, total))

    def note(self, text):
        self.notes.append(text)


@pytest.fixture
def run(tiny, tmp_path, monkeypatch):
    """Ablate the drawn photos; sources are not timed and figures not drawn, which have tests of their own."""
    timed = {"descriptor": ExtractorCost(12.5, 0.0)}
    monkeypatch.setattr(module, "measure_extractors", lambda *_, **__: timed)
    monkeypatch.setattr("ensemble_minerals.ablation.plots.draw", lambda *_: {})

    def call(**options):
        settings = {"data": tiny.photos, "out": tmp_path / "out", "config": tiny.config(), "arms": FEW}
        return ablate(**{**settings, "n_splits": 3, "n_jobs": 1, "cache_dir": tiny.cache, **options})

    return call


def test_from_photos_to_page(tiny, tmp_path):
    ears = Ears()
    result = ablate(
        tiny.photos,
        tmp_path / "out",
        tiny.config(),
        n_splits=3,
        n_jobs=1,
        cache_dir=tiny.cache,
        progress=ears,
    )
    assert result.html.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert json.loads(result.json.read_text(encoding="ascii")) == result.ablation
    names = {file.name for file in result.out.iterdir()}
    assert {"ablation.html", "ablation.json", "ablation.csv", "ablation.md", "forest_accuracy.png"} <= names
    assert [path.name for path in tmp_path.iterdir()] == ["out"]  # the checkpoint is gone
    arms = {arm["name"]: arm for arm in result.ablation["arms"]}
    assert {"full", "best_single", "budget_matched", "without_hierarchical", "without_calibration"} <= set(
        arms
    )
    assert result.ablation["n"] == 36
    assert result.ablation["header"]["data"] == "photos"
    assert arms["full"]["scores"]["accuracy"] > 0.5
    assert arms["full"]["cost"]["predict_ms"] > arms["best_single"]["cost"]["predict_ms"] > 0
    assert any("outer folds" in note and "about" in note for note in ears.notes)
    steps = ears.stages["Answering outer folds"]
    assert steps[-1][0] == steps[-1][1] > 0


def test_the_same_again(run, tmp_path):
    first = run(out=tmp_path / "first")
    second = run(out=tmp_path / "second")
    for one, two in zip(first.ablation["arms"], second.ablation["arms"], strict=True):
        assert {**one, "cost": None} == {**two, "cost": None}
    assert first.ablation["choices"] == second.ablation["choices"]


def test_costs_are_those_of_the_sources_and_heads(run):
    arms = {arm["name"]: arm["cost"] for arm in run().ablation["arms"]}
    assert 12.5 < arms["best_single"]["predict_ms"] < arms["full"]["predict_ms"]
    assert 0 < arms["without_flat"]["megabytes"] < arms["full"]["megabytes"] < 1


def test_a_killed_ablation_is_taken_up(run, tmp_path, monkeypatch):
    whole = run(out=tmp_path / "whole")
    answer, count = OuterFold.answer, iter(range(9))

    def killed(self):
        if next(count) == 2:
            raise KeyboardInterrupt
        return answer(self)

    monkeypatch.setattr(OuterFold, "answer", killed)
    with pytest.raises(KeyboardInterrupt):
        run()
    assert not (tmp_path / "out").exists()
    with pytest.raises(BundleError, match=r"an ablation into .* was interrupted; take it up with --resume"):
        run()
    answered = []
    monkeypatch.setattr(OuterFold, "answer", lambda self: answered.append(self.seed) or answer(self))
    resumed = run(resume=True)
    assert [seed[-1] for seed in answered] == [2]
    for one, two in zip(whole.ablation["arms"], resumed.ablation["arms"], strict=True):
        assert {**one, "cost": None} == {**two, "cost": None}
    assert not list(tmp_path.glob(".*"))


def test_what_was_left_of_other_inputs_is_not_taken(run, monkeypatch):
    answer, count = OuterFold.answer, iter([0, 1])

    def killed(self):
        if next(count):
            raise KeyboardInterrupt
        return answer(self)

    monkeypatch.setattr(OuterFold, "answer", killed)
    with pytest.raises(KeyboardInterrupt):
        run()
    answered = []
    monkeypatch.setattr(OuterFold, "answer", lambda self: answered.append(self.seed) or answer(self))
    run(resume=True, arms=["uniform"])
    assert len(answered) == 3


def test_overwriting(run, tmp_path):
    run()
    with pytest.raises(BundleError, match="exists; choose another --out, or replace it with --overwrite"):
        run()
    result = run(overwrite=True, arms=["uniform"])
    assert [arm["name"] for arm in result.ablation["arms"]] == ["full", "uniform"]
    foreign = tmp_path / "letters"
    foreign.mkdir()
    (foreign / "dear.txt").write_text("x", encoding="utf-8")
    with pytest.raises(UserError, match="is there and is no ablation"):
        run(out=foreign, overwrite=True)
    assert (foreign / "dear.txt").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arms": ["unifrom"]}, "no arm is called 'unifrom'; did you mean uniform"),
        ({"arms": ["xyz"]}, r"no arm is called 'xyz'\. Kinds and arms here: full, single"),
        ({"repeats": 0}, "0 repeats were asked for"),
        ({"n_splits": 1}, "1 outer folds were asked for"),
    ],
)
def test_mistakes_are_found_before_any_photo_is_read(run, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        run(data=tmp_path / "nowhere", **options)


def test_too_few_photos_for_the_folds(tiny, run):
    with pytest.raises(
        DataError, match="'azurite' has 8 row groups left to train on, fewer than the 11 inner folds"
    ):
        run(config=tiny.config(folds={"n_splits": 11}))


def test_long_work_asks_first(run, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CONFIRM_ABOVE", 0.0)
    with pytest.raises(UserError, match=r"this will take long \(4 arms, 1 x 3 outer folds.*say --yes"):
        run()
    assert not (tmp_path / "out").exists()
    assert run(yes=True).html.is_file()


def test_without_look_alikes_there_is_no_leak_to_show(tiny, run, monkeypatch):
    group = preparation.group_photos

    def apart(*arguments):
        grouped, report = group(*arguments)
        return grouped.replace(row_group=np.arange(len(grouped))), report

    monkeypatch.setattr(preparation, "group_photos", apart)
    result = run(arms=["uniform", "protocol"])
    assert [arm["name"] for arm in result.ablation["arms"]] == ["full", "uniform"]
    assert "no two photos show one object, so there is no leak to show" in result.ablation["header"]["notes"]


def test_photos_that_belong_together_are_dealt_apart_by_the_leaky_protocol_only(
    tiny, run, tmp_path, monkeypatch
):
    shutil.copytree(tiny.photos, tmp_path / "photos")
    files = sorted((tmp_path / "photos").rglob("*.png"))
    lines = [
        f"{file.relative_to(tmp_path).as_posix()},{file.parent.name},{n // 2}" for n, file in enumerate(files)
    ]
    table = tmp_path / "table.csv"
    table.write_text("\n".join(["path,label,group", *lines]), encoding="utf-8")
    straddling = {False: set(), True: set()}
    answer = OuterFold.answer
    pairs = np.arange(36) // 2

    def spy(self):
        held_out = self.known.folds == self.fold
        straddling[self.leaky] |= set(pairs[held_out]) & set(pairs[~held_out])
        return answer(self)

    monkeypatch.setattr(OuterFold, "answer", spy)
    result = run(data=table, arms=["protocol"])
    assert straddling[False] == set() != straddling[True]
    assert "Had the 36 photos that look like another one" in result.ablation["findings"]["leak"]
    assert result.ablation["family"] == 0


def test_the_test_part_stays_untouched(tiny, run):
    result = run(config=tiny.config(folds={"n_splits": 2, "holdout": 0.25}), n_splits=2)
    assert result.ablation["n"] < 36
