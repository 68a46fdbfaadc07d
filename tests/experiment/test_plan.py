"""Estimates from a few photos, and fits under a time limit: what is left out, and what the bundle says of it."""

from __future__ import annotations

import json
import re
import shutil
import time

import numpy as np
import pytest

from ensemble_minerals.bundle.bundle import read_bundle
from ensemble_minerals.config.loading import build_config, load_config
from ensemble_minerals.data.scanning import scan
from ensemble_minerals.ensemble import cross_fit
from ensemble_minerals.errors import DataError, UserError
from ensemble_minerals.experiment import cost_model, plan
from ensemble_minerals.experiment.cost_model import Costs, ExtractorTime, measure_costs, member_seconds
from ensemble_minerals.experiment.fold_shape import FoldShape
from ensemble_minerals.experiment.plan import Clock, plan_fit
from ensemble_minerals.features.registry import build_extractors
from ensemble_minerals.prediction.predictor import load
from ensemble_minerals.system.parallel import Cluster
from ensemble_minerals.system.progress import Silent
from ensemble_minerals.system.runtime import Runtime

pytestmark = pytest.mark.usefixtures("one_thread")


class Heard(Silent):
    """Remembers notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text):
        self.notes.append(text)


@pytest.fixture
def seen(tiny):
    """The tiny photos, read."""
    return scan(tiny.photos)


def configured(views=("squash", "center"), **changes):
    backbones = [
        {
            "name": name, "model": "test_efficientnet", "weights": "random", "size": 32,
            "views": list(views), "layers": [1, 2],
        }
        for name in ("one", "two")
    ]  # fmt: skip
    members = [{"features": "each", "strategy": "flat"}, {"features": ["descriptor"], "strategy": "flat"}]
    return build_config(
        {
            "backbones": backbones,
            "members": members,
            "folds": {"n_splits": 3},
            "duplicates": {"near": False},  # to a network that knows nothing all look alike
            "engine": "torch",
            "precision": "float32",
            **changes,
        }
    )


def measured(config, seen, cluster=None, cache_dir=None, always=True):
    names = [*(backbone.name for backbone in config.backbones), "descriptor"]
    extractors = build_extractors(config, names, cache_dir=cache_dir)
    runtime = Runtime(1, cache_dir, cluster=cluster)
    return measure_costs(config, seen, extractors, runtime, always=always)


# -- estimates ----------------------------------------------------------------------------------------------


def test_sources_are_timed_on_a_few_photos_and_what_is_stored_costs_nothing(seen, tmp_path, monkeypatch):
    looked_at = []
    real = cost_model.extract_features

    def spy(paths, ids, extractors, **settings):
        looked_at.append((len(paths), [extractor.name for extractor in extractors]))
        return real(paths, ids, extractors, **settings)

    monkeypatch.setattr(cost_model, "extract_features", spy)
    config = configured()
    tmp_path.joinpath("cache").mkdir()
    costs = measured(config, seen, cache_dir=tmp_path / "cache")
    names = ["one", "two", "descriptor"]
    assert looked_at[:2] == [(2, names), (2, names)]
    assert sum(count for count, _ in looked_at) <= 16
    assert costs.n_photos == 36
    assert {name: extractor.missing for name, extractor in costs.extractors.items()} == dict.fromkeys(
        names, 36
    )
    assert all(extractor.per_view > 0 for extractor in costs.extractors.values())
    assert costs.rest > 0  # decoding
    done = sum(count for count, _ in looked_at)
    again = measured(config, seen, cache_dir=tmp_path / "cache")
    assert {extractor.missing for extractor in again.extractors.values()} == {36 - done}
    looked_at.clear()
    few = measured(config, seen, cache_dir=tmp_path / "cache", always=False)  # they are soon done
    assert looked_at == []
    assert few.extractors["one"].per_view == 0


def test_a_cluster_shares_the_work(seen, monkeypatch):
    monkeypatch.setattr(cost_model, "multiplication_rate", lambda: 1e9)
    config = configured(
        members=[
            {"features": ["descriptor"], "strategy": "flat"},
            {"features": ["descriptor"], "strategy": "one_vs_rest", "head": "mlp"},
            {"features": ["descriptor"], "strategy": "hierarchical", "sampler": "smote"},
        ]
    )
    alone, together = measured(config, seen), measured(config, seen, Cluster("dask", 4, 8))
    for name, seconds in alone.members.items():
        assert together.members[name] == pytest.approx(seconds / 8)
        assert seconds > 0
    assert alone.members["descriptor-one_vs_rest-mlp"] > alone.members["descriptor-flat"]
    assert alone.members["descriptor-hierarchical"] > alone.members["descriptor-flat"]
    assert together.learning_curve == pytest.approx(alone.learning_curve)  # it is drawn here


def test_copies_of_a_row_cost_nothing_and_made_rows_do():
    shape = FoldShape(n_rows=100, n_held_out=25, n_classes=4, largest=70.0)

    def seconds(sampler):
        config = configured(
            members=[{"features": ["descriptor"], "strategy": "one_vs_rest", "sampler": sampler}]
        )
        return shape.head(config.members[0], 50)

    assert seconds("random") == seconds("none")
    assert seconds("smote") > 2 * seconds("random")


def test_networks_cost_what_their_phases_and_folds_do(seen):
    def seconds(specialists="joint", strategy="flat", **network):
        config = configured(
            networks=[
                {"name": "net", "model": "test_efficientnet", "weights": "random", "size": 32, **network}
            ],
            members=[{"network": "net", "strategy": strategy, "specialists": specialists}],
        )
        (cost,) = member_seconds(config, seen, {}, 1).values()
        return cost

    short, long = seconds(phases=[{"epochs": 2}]), seconds(phases=[{"epochs": 200}])
    assert 0 < 10 * short < long
    apart = seconds("separate", "one_vs_rest", phases=[{"epochs": 200}])
    assert apart > 1.5 * long


def test_an_estimate_is_told_where_it_is_worth_it(tiny, seen, monkeypatch, tmp_path):
    def heard(limit=None):
        progress = Heard()
        planned = plan_fit(
            tiny.config(), seen, Clock(time.time(), limit), Runtime(progress=progress), work=tmp_path
        )
        assert planned.notes == ()
        return progress.notes

    assert heard() == []  # done in no time
    (told,) = heard(limit=1000.0)
    assert re.fullmatch(r"about \d+ s: features \d+ s \(36 photos\), members \d+ s", told)
    monkeypatch.setattr(plan, "WORTH_TELLING", 0.0)
    assert len(heard()) == 1


def test_extractors_that_were_opened_are_used_again_where_their_views_are_the_same(
    seen, tmp_path, monkeypatch
):
    opened = {}

    def costs(config, manifest, extractors, runtime, **settings):
        opened.update(extractors)
        times = {name: ExtractorTime(1.0, 36) for name in extractors}
        return Costs(36, times, {str(member.name): 1.0 for member in config.expanded_members()})

    monkeypatch.setattr(plan, "measure_costs", costs)
    whole = plan_fit(configured(), seen, Clock(0.0), Runtime(), work=tmp_path)
    assert whole.extractors == opened
    assert list(opened) == ["one", "two", "descriptor"]
    trimmed = plan_fit(configured(), seen, Clock(time.time(), 150.0), Runtime(), work=tmp_path)
    assert trimmed.notes == ("time limit: left out views of two: center",)
    assert trimmed.extractors["one"] is opened["one"]
    assert trimmed.extractors["two"].views == ("squash",)


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
    progress = Heard()
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
        times = {name: ExtractorTime(1.0, 36) for name in extractors}
        members = {str(member.name): 1.0 for member in config.expanded_members()}
        return Costs(36, times, members, 1.0, 0.0)

    monkeypatch.setattr(plan, "measure_costs", costs)


def test_the_configuration_in_the_bundle_is_what_was_fitted(tiny, tmp_path, slow_second_view):
    config = configured()
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
    config, out = configured(), tmp_path / "bundle"
    real, fitted = cross_fit.fit_fold, []

    def dying(members, *arguments):
        if len(fitted) == 4:
            raise Interrupted
        fitted.append(members[0].name)
        return real(members, *arguments)

    monkeypatch.setattr(cross_fit, "fit_fold", dying)
    with pytest.raises(Interrupted):
        tiny.fit(tiny.photos, out, config, time_limit=118)
    monkeypatch.setattr(cross_fit, "fit_fold", lambda *a: fitted.append(a[0][0].name) or real(*a))
    monkeypatch.setattr(plan, "measure_costs", lambda *_, **__: pytest.fail("it was planned anew"))
    shutil.copytree(tmp_path / ".bundle.checkpoint", tmp_path / "kept")
    progress = Heard()
    tiny.fit(tiny.photos, out, config, time_limit=118, resume=True, progress=progress)
    assert len(fitted) == 9  # three sets of features in three folds
    assert "time limit: left out views of two: center" in progress.notes
    assert len(read_bundle(out).info["time_limit"]["left_out"]) == 2

    asked = json.loads((tmp_path / "kept" / "plan.json").read_text())
    assert asked["limit"] == 118
    for other, limit in ((config, 119.0), (configured(seed=1), 118.0)):
        assert plan._kept_plan(other, Clock(0.0, limit), Runtime(), tmp_path / "kept") is None
    assert plan._kept_plan(config, Clock(0.0, 118.0), Runtime(), tmp_path) is None


def test_a_fit_that_could_not_begin_leaves_nothing_to_take_up(tiny, tmp_path):
    with pytest.raises(DataError, match="30 folds need at least 30 row groups"):
        tiny.fit(tiny.photos, tmp_path / "bundle", configured(folds={"n_splits": 30}), time_limit="1h")
    assert list(tmp_path.iterdir()) == []


def test_members_that_had_no_time_are_left_out_with_a_sentence(tiny, tmp_path, monkeypatch):
    members = [{"features": ["descriptor"], "strategy": "flat"}]
    members += [{"features": ["one"], "strategy": "flat"}]
    monkeypatch.setattr(Clock, "deadline", property(lambda self: self.began))
    progress = Heard()
    config = configured(members=members)
    result = tiny.fit(tiny.photos, tmp_path / "bundle", config, time_limit="1h", progress=progress)
    bundle = read_bundle(tmp_path / "bundle")
    assert [member.name for member in bundle.fitted_ensemble.members] == ["descriptor-flat"]
    told = "time limit: left out one-flat, of which 3 of 3 folds were not fitted in time"
    assert bundle.info["time_limit"]["left_out"] == [told]
    assert progress.notes.count(told) == bundle.info["notes"].count(told) == 1
    assert {failure.reason for failure in result.failures} == {"time limit"}


def test_a_clock_leaves_time_to_combine_and_save():
    clock = Clock(1000.0, 100.0)
    assert 1000 < clock.deadline < 1100
    assert Clock(1000.0).deadline is None
    assert np.isfinite(clock.spent)
