"""Estimates from a few photos, and fits under a time limit: what is left out, and what the bundle says of it."""

from __future__ import annotations

import re
import time

import pytest
from drawn.costs import two_backbones

from ensemble_minerals.bundle.bundle import read_bundle
from ensemble_minerals.config.loading import load_config
from ensemble_minerals.data.scanning import scan
from ensemble_minerals.errors import DataError, UserError
from ensemble_minerals.experiment import plan
from ensemble_minerals.experiment.cost_model import Costs, ExtractorTime
from ensemble_minerals.experiment.plan import Clock, plan_fit
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


def test_an_estimate_is_told_where_it_is_worth_it(tiny, scanned, monkeypatch, tmp_path):
    def notes_of(limit=None):
        progress = Notes()
        planned = plan_fit(
            tiny.config(), scanned, Clock(time.time(), limit), Runtime(progress=progress), work=tmp_path
        )
        assert planned.notes == ()
        return progress.notes

    assert notes_of() == []  # done in no time
    (note,) = notes_of(limit=1000.0)
    assert re.fullmatch(r"about \d+ s: features \d+ s \(36 photos\), members \d+ s", note)
    monkeypatch.setattr(plan, "WORTH_TELLING", 0.0)
    assert len(notes_of()) == 1


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
    assert "time limit: left out the learning curve" in left_out
    assert [text.split(" (")[0] for text in left_out[1:]] == [
        "time limit: left out descriptor-hierarchical",
        "time limit: left out descriptor-one_vs_rest",
    ]
    wish = [note for note in result.notes if "even the smallest plan takes about" in note]
    assert len(wish) == 1
    assert set(left_out) | set(wish) <= set(bundle.info["notes"])
    assert set(left_out) | set(wish) <= set(progress.notes)
    assert load(tmp_path / "bundle").predict(sorted(tiny.new.iterdir())).answered.all()


@pytest.fixture
def slow_second_view(monkeypatch):
    """Costs that leave room for one view of each backbone."""

    def costs(config, manifest, extractors, runtime, **settings):
        times = {name: ExtractorTime(1.0, 36, one.n_views) for name, one in extractors.items()}
        members = {str(member.name): 1.0 for member in config.expanded_members()}
        return Costs(36, times, members, 1.0, 0.0)

    monkeypatch.setattr(plan, "measure_costs", costs)


def test_the_configuration_in_the_bundle_is_what_was_fitted(tiny, tmp_path, slow_second_view):
    config = two_backbones()
    tiny.fit(tiny.photos, tmp_path / "bundle", config, time_limit=118)
    bundle = read_bundle(tmp_path / "bundle")
    assert bundle.info["time_limit"]["left_out"] == [
        "time limit: left out views of two: center",
        "time limit: left out views of one: center",
    ]
    assert [backbone.views for backbone in bundle.config.backbones] == [("squash",), ("squash",)]
    assert bundle.extractors["one"]["facts"]["views"] == ["squash"]
    again = load_config(tmp_path / "bundle" / "config.yaml")
    assert again == bundle.config
    tiny.fit(tiny.photos, tmp_path / "again", again)
    assert files_of(tmp_path / "again", "README.md") == files_of(tmp_path / "bundle", "README.md")


class Interrupted(BaseException):
    """Like Ctrl-C."""


def test_an_interrupted_fit_keeps_its_plan(tiny, tmp_path, monkeypatch, slow_second_view):
    config, out = two_backbones(), tmp_path / "bundle"
    real, fitted = feature_member._fit_task, []

    def dying(members, *arguments):
        if len(fitted) == 4:
            raise Interrupted
        fitted.append(members[0].name)
        return real(members, *arguments)

    monkeypatch.setattr(feature_member, "_fit_task", dying)
    with pytest.raises(Interrupted):
        tiny.fit(tiny.photos, out, config, time_limit=118)
    monkeypatch.setattr(feature_member, "_fit_task", lambda *a: fitted.append(a[0][0].name) or real(*a))
    monkeypatch.setattr(plan, "measure_costs", lambda *_, **__: pytest.fail("it was planned anew"))
    progress = Notes()
    tiny.fit(tiny.photos, out, config, time_limit=118, resume=True, progress=progress)
    assert len(fitted) == 9  # three sets of features in three folds
    assert "time limit: left out views of two: center" in progress.notes
    assert len(read_bundle(out).info["time_limit"]["left_out"]) == 2


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
    result = tiny.fit(tiny.photos, tmp_path / "bundle", config, time_limit="1h", progress=progress)
    bundle = read_bundle(tmp_path / "bundle")
    assert [member.name for member in bundle.fitted_ensemble.members] == ["descriptor-flat"]
    told = "time limit: left out one-flat, of which 3 of 3 folds were not fitted in time"
    assert bundle.info["time_limit"]["left_out"] == [told]
    assert progress.notes.count(told) == bundle.info["notes"].count(told) == 1
    assert {failure.reason for failure in result.failures} == {"time limit"}
