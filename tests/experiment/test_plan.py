"""Estimates from a few photos, and fits under a time limit: what is left out, and what the bundle says of it."""

from __future__ import annotations

import re
import time

import pytest
import yaml
from drawn.configurations import two_backbones

from ensemble_minerals.bundle.bundle import read_bundle
from ensemble_minerals.config.loading import build_config
from ensemble_minerals.data.scanning import scan
from ensemble_minerals.errors import DataError, UserError
from ensemble_minerals.experiment import plan
from ensemble_minerals.experiment.cost_model import Costs
from ensemble_minerals.experiment.plan import Clock, Plan, plan_fit, within
from ensemble_minerals.members import feature_member
from ensemble_minerals.prediction.predictor import load
from ensemble_minerals.system.progress import Silent
from ensemble_minerals.system.runtime import Runtime

pytestmark = pytest.mark.usefixtures("one_thread")


class Notes(Silent):
    """Remembers notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text):
        self.notes.append(text)


@pytest.fixture
def scanned(tiny):
    """The tiny photos, scanned."""
    return scan(tiny.photos)


def test_an_estimate_is_told_where_it_is_worth_it(tiny, scanned, monkeypatch):
    def notes_of(limit=None):
        progress = Notes()
        planned = plan_fit(tiny.config(), scanned, Clock(time.time(), limit), Runtime(progress=progress))
        assert planned.notes == ()
        return progress.notes

    assert notes_of() == []  # done in no time
    (note,) = notes_of(limit=1000.0)
    assert re.fullmatch(r"about \d+ s: features \d+ s \(36 photos\), members \d+ s", note)
    monkeypatch.setattr(plan, "WORTH_TELLING", 0.0)
    assert len(notes_of()) == 1


# -- what is left out -----------------------------------------------------------------------------------------


MEMBERS = ("one-flat", "two-flat", "both", "descriptor-flat", "net-flat")


def planned(limit, learning_curve=1.0):
    """Backbones take 10 s and 20 s, color and texture 2 s, each member 1 s, the network 100 s."""
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
    costs = Costs(9, features, members, learning_curve, rest=1.0)
    return within(Plan(config, True, {}, None, 0.0), costs, limit)


@pytest.mark.parametrize(
    ("limit", "missing", "seconds"),
    [
        (1000.0, [], 138.0),
        (136.9, ["net-flat"], 38.0),
        (37.0, ["net-flat"], 37.0),
        (32.9, ["net-flat", "two-flat", "both"], 16.0),
        (12.0, ["net-flat", "two-flat", "both", "descriptor-flat"], 12.0),
        (11.0, ["net-flat", "one-flat", "two-flat", "both"], 5.0),
        (1.0, ["net-flat", "one-flat", "two-flat", "both"], 4.0),
    ],
)
def test_members_are_taken_in_their_order_while_there_is_time(limit, missing, seconds):
    plan = planned(limit)
    kept = [member.name for member in plan.config.expanded_members()]
    assert set(kept) == {*MEMBERS} - {*missing}
    assert plan.estimated == seconds
    curve = seconds in (138.0, 38.0, 16.0, 5.0)
    assert plan.learning_curve == curve
    told = [f"time limit: left out {', '.join(missing)}"] if missing else []
    assert list(plan.left_out) == told + ([] if curve else ["time limit: left out the learning curve"])
    assert any("even the smallest plan takes about" in note for note in plan.notes) == (limit < seconds)
    assert [backbone.name for backbone in plan.config.backbones] == (
        ["one", "two"] if "both" in kept else ["one"]  # the first finds photos of one object
    )
    assert [network.name for network in plan.config.networks] == ["net"] * ("net-flat" in kept)
    assert build_config(yaml.safe_load(plan.config.to_yaml())) == plan.config


# -- fits ---------------------------------------------------------------------------------------------------


def files_of(bundle, *without):
    return {
        path.relative_to(bundle).as_posix(): path.read_bytes()
        for path in bundle.rglob("*")
        if path.is_file() and path.name not in {"metrics.json", "bundle.json", *without}
    }


def test_a_limit_that_is_kept_changes_nothing(tiny, tmp_path):
    result = tiny.fit(tiny.photos, tmp_path / "bundle", time_limit="1h")
    assert files_of(tmp_path / "bundle") == files_of(tiny.bundle)
    limit = read_bundle(tmp_path / "bundle").info["time_limit"]
    assert (limit["seconds"], limit["left_out"]) == (3600.0, [])
    assert 0 <= limit["estimated"] < 600
    assert "learning_curve" in result.metrics
    assert "time_limit" not in read_bundle(tiny.bundle).info


def test_a_limit_is_a_time(tiny, tmp_path):
    with pytest.raises(UserError, match="--time-limit soon: give seconds"):
        tiny.fit(tiny.photos, tmp_path / "bundle", time_limit="soon")


def test_where_nothing_fits_the_smallest_plan_is_fitted_and_says_so(tiny, tmp_path):
    progress = Notes()
    result = tiny.fit(tiny.photos, tmp_path / "bundle", time_limit=0.001, progress=progress)
    bundle = read_bundle(tmp_path / "bundle")
    assert [member.name for member in bundle.fitted_ensemble.members] == ["descriptor-flat"]
    assert [member.name for member in bundle.config.expanded_members()] == ["descriptor-flat"]
    assert "learning_curve" not in result.metrics
    left_out = bundle.info["time_limit"]["left_out"]
    assert left_out == [
        "time limit: left out descriptor-one_vs_rest, descriptor-hierarchical",
        "time limit: left out the learning curve",
    ]
    wish = [note for note in result.notes if "even the smallest plan takes about" in note]
    assert len(wish) == 1
    assert set(left_out) | set(wish) <= set(bundle.info["notes"])
    assert set(left_out) | set(wish) <= set(progress.notes)
    assert load(tmp_path / "bundle").predict(sorted(tiny.new.iterdir())).answered.all()


class Interrupted(BaseException):
    """Like Ctrl-C."""


def test_an_interrupted_fit_takes_up_what_it_had_finished(tiny, tmp_path, monkeypatch):
    out, real, fitted = tmp_path / "bundle", feature_member._fit_task, []

    def dying(members, *arguments):
        if len(fitted) == 4:
            raise Interrupted
        fitted.append(members[0].name)
        return real(members, *arguments)

    monkeypatch.setattr(feature_member, "_fit_task", dying)
    with pytest.raises(Interrupted):
        tiny.fit(tiny.photos, out, two_backbones(), time_limit="1h", cache_dir=None)
    monkeypatch.setattr(feature_member, "_fit_task", lambda *a: fitted.append(a[0][0].name) or real(*a))
    tiny.fit(tiny.photos, out, two_backbones(), time_limit="1h", cache_dir=None, resume=True)
    assert len(fitted) == 9  # three sets of features in three folds


def test_a_fit_that_could_not_begin_leaves_nothing_to_take_up(tiny, tmp_path):
    with pytest.raises(DataError, match="30 folds need at least 30 row groups"):
        tiny.fit(tiny.photos, tmp_path / "bundle", two_backbones(folds={"n_splits": 30}), time_limit="1h")
    assert list(tmp_path.iterdir()) == []


def test_members_that_had_no_time_are_left_out_with_a_sentence(tiny, tmp_path, monkeypatch):
    members = [{"features": ["descriptor"], "strategy": "flat"}]
    members += [{"features": ["one"], "strategy": "flat"}]
    monkeypatch.setattr(Clock, "deadline", property(lambda self: self.began))
    progress = Notes()
    config = two_backbones(members=members)
    options = {"time_limit": "1h", "cache_dir": None, "progress": progress}
    result = tiny.fit(tiny.photos, tmp_path / "bundle", config, **options)
    bundle = read_bundle(tmp_path / "bundle")
    assert [member.name for member in bundle.fitted_ensemble.members] == ["descriptor-flat"]
    told = "time limit: left out one-flat, of which 3 of 3 folds were not fitted in time"
    assert bundle.info["time_limit"]["left_out"] == [told]
    assert progress.notes.count(told) == bundle.info["notes"].count(told) == 1
    assert {failure.reason for failure in result.failures} == {"time limit"}
