"""Estimates from a few photos, and fits under a time limit: what is left out, and what the bundle says of it."""

from __future__ import annotations

import re
import time

import pytest
from drawn.configurations import two_backbones
from drawn.runtimes import Notes

from ensemble_minerals.bundle.bundle import read_bundle
from ensemble_minerals.data.scanning import scan
from ensemble_minerals.experiment import plan
from ensemble_minerals.experiment.cost_model import Costs
from ensemble_minerals.experiment.plan import Clock, Plan, plan_fit, within
from ensemble_minerals.prediction.predictor import load
from ensemble_minerals.system.runtime import Runtime

pytestmark = pytest.mark.usefixtures("one_thread")


def test_an_estimate_is_told_where_it_is_worth_it(tiny, monkeypatch):
    def notes_of(limit=None):
        progress = Notes()
        clock = Clock(time.time(), limit)
        assert plan_fit(tiny.config(), scan(tiny.photos), clock, Runtime(progress=progress)).notes == ()
        return progress.notes

    assert notes_of() == []  # done in no time
    (note,) = notes_of(limit=1000.0)
    assert re.fullmatch(r"about \d+ s: features \d+ s \(36 photos\), members \d+ s", note)
    monkeypatch.setattr(plan, "WORTH_TELLING", 0.0)
    assert len(notes_of()) == 1


MEMBERS = ("one-flat", "two-flat", "both", "descriptor-flat", "net-flat")


def planned(limit):
    """Backbones take 10 s and 20 s, color and texture 2 s, each member 1 s, the network 100 s, the rest 1 s."""
    config = two_backbones(
        networks=[{"name": "net", "model": "test_efficientnet"}],
        members=[
            {"network": "net", "strategy": "flat"},
            {"features": "each", "strategy": "flat"},
            {"features": ["one", "two"], "strategy": "flat", "name": "both"},
            {"features": ["descriptor"], "strategy": "flat"},
        ],
    )
    features = {"one": 10.0, "two": 20.0, "descriptor": 2.0}
    members = dict.fromkeys(MEMBERS, 1.0) | {"net-flat": 100.0}
    costs = Costs(9, features, members, learning_curve=1.0, rest=1.0)
    return within(Plan(config, True, dict.fromkeys(features), limit, 138.0), costs, limit)


@pytest.mark.parametrize(
    ("limit", "missing", "seconds"),
    [
        (137.9, [], 137.0),
        (136.9, ["net-flat"], 37.0),
        (32.9, ["net-flat", "two-flat", "both"], 15.0),
        (12.0, ["net-flat", "two-flat", "both", "descriptor-flat"], 12.0),
        (11.0, ["net-flat", "one-flat", "two-flat", "both"], 4.0),
        (1.0, ["net-flat", "one-flat", "two-flat", "both"], 4.0),
    ],
)
def test_members_are_taken_in_their_order_while_there_is_time(limit, missing, seconds):
    plan = planned(limit)
    kept = [str(member.name) for member in plan.config.expanded_members()]
    assert {*kept} == {*MEMBERS} - {*missing}
    assert (plan.estimated, plan.learning_curve) == (seconds, False)
    told, *too_long = plan.notes
    assert told == f"time limit: left out {', '.join([*missing, 'the learning curve'])}"
    assert ["even the smallest plan takes about 4 s" in note for note in too_long] == [True] * (limit < 4)
    used = {name.removesuffix("-flat") for name in kept} - {"net"}
    assert {*plan.extractors} == (used - {"both"}) | ({"one", "two"} if "both" in kept else set())
    assert [network.name for network in plan.config.networks] == ["net"] * ("net-flat" in kept)


def test_a_limit_that_is_kept_changes_nothing(tiny, tmp_path):
    def files_of(bundle):
        files = [path for path in bundle.rglob("*") if path.is_file()]
        return {
            file.name: file.read_bytes() for file in files if file.name not in {"metrics.json", "bundle.json"}
        }

    result = tiny.fit(tiny.photos, tmp_path / "bundle", time_limit="1h")
    assert files_of(tmp_path / "bundle") == files_of(tiny.bundle)
    limit = read_bundle(tmp_path / "bundle").info["time_limit"]
    assert (limit["seconds"], limit["left_out"]) == (3600.0, [])
    assert 0 <= limit["estimated"] < 600
    assert "learning_curve" in result.metrics
    assert "time_limit" not in read_bundle(tiny.bundle).info


def test_where_nothing_fits_the_smallest_plan_is_fitted_and_says_so(tiny, tmp_path):
    progress = Notes()
    result = tiny.fit(tiny.photos, tmp_path / "bundle", time_limit=0.001, progress=progress)
    bundle = read_bundle(tmp_path / "bundle")
    assert [member.name for member in bundle.fitted_ensemble.members] == ["descriptor-flat"]
    assert [member.name for member in bundle.config.expanded_members()] == ["descriptor-flat"]
    assert "learning_curve" not in result.metrics
    told, too_long = bundle.info["time_limit"]["left_out"]
    assert told == "time limit: left out descriptor-one_vs_rest, descriptor-hierarchical, the learning curve"
    assert "even the smallest plan takes about" in too_long
    assert {told, too_long} <= {*bundle.info["notes"]} & {*result.notes} & {*progress.notes}
    assert load(tmp_path / "bundle").predict(sorted(tiny.new.iterdir())).answered.all()


def test_members_that_had_no_time_are_left_out_with_a_sentence(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(Clock, "deadline", property(lambda self: self.began))
    progress = Notes()
    members = [{"features": ["descriptor"], "strategy": "flat"}, {"features": ["one"], "strategy": "flat"}]
    options = {"time_limit": "1h", "cache_dir": None, "progress": progress}
    result = tiny.fit(tiny.photos, tmp_path / "bundle", two_backbones(members=members), **options)
    bundle = read_bundle(tmp_path / "bundle")
    assert [member.name for member in bundle.fitted_ensemble.members] == ["descriptor-flat"]
    told = "time limit: left out one-flat, of which 3 of 3 folds were not fitted in time"
    assert bundle.info["time_limit"]["left_out"] == [told]
    assert progress.notes.count(told) == bundle.info["notes"].count(told) == 1
    assert {failure.reason for failure in result.failures} == {"time limit"}
