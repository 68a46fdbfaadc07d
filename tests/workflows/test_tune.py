"""`tune` from photos to a configuration that can be fitted."""

from __future__ import annotations

import json

import pytest

from ensemble_minerals.config.loading import load_config
from ensemble_minerals.errors import DataError, UserError
from ensemble_minerals.workflows.tune import tune


@pytest.fixture(scope="module")
def tuned(tiny, tmp_path_factory):
    out = tmp_path_factory.mktemp("tuned") / "out"
    return tune(tiny.photos, out, tiny.config(), trials=3, n_splits=2, n_jobs=1, cache_dir=tiny.cache)


def test_it_writes_a_configuration_that_fit_takes(tuned, tiny, tmp_path):
    config = load_config(tuned.config)
    assert config == tuned.report.best.config
    assert config.folds == tiny.config().folds
    tiny.fit(tiny.photos, tmp_path / "bundle", config)


def test_the_page_and_its_data_say_the_same(tuned):
    content = json.loads((tuned.out / "tune.json").read_text(encoding="ascii"))
    page = tuned.html.read_text(encoding="utf-8")
    paired = content["paired"]["scores"]["log_loss"]
    assert f"{paired['second']:.3f}" in page
    assert content["title"] in page
    assert content["claimed_log_loss"] >= 0
    assert content["trials"][0]["number"] == 0
    assert [one["trials"] for one in content["searches"]] == [3, 3, 3]
    for sentence in tuned.report.sentences():
        assert sentence.split(" (")[0] in page
    for part, before, after in tuned.report.changes:
        assert all(words in page for words in (part, before, after))
    assert "<svg" in page
    assert "http" not in page.replace("http-equiv", "")
    assert (tuned.out / "trials.png").is_file()
    assert (tuned.out / "trials.csv").read_text(encoding="utf-8-sig").startswith("number,log_loss")


def test_a_tuning_is_no_photo_and_is_not_replaced_unasked(tuned, tiny):
    with pytest.raises(UserError, match="--overwrite"):
        tune(tiny.photos, tuned.out, tiny.config(), trials=1, cache_dir=tiny.cache)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trials": 0}, "0 trials were asked for"),
        ({"n_splits": 1}, "1 outer folds were asked for"),
        ({"time_limit": "soon"}, "--time-limit"),
        ({"config": {"folds": {"n_splits": 1, "holdout": 0.2}}}, "tuning needs 2 or more folds"),
    ],
)
def test_mistakes_are_told_before_the_work(tiny, tmp_path, changes, message):
    options = {"trials": 1, **changes}
    config = tiny.config(**options.pop("config", {}))
    with pytest.raises(UserError, match=message):
        tune(tmp_path / "no photos", tmp_path / "out", config, **options)
    assert not (tmp_path / "out").exists()


def test_too_few_objects_for_the_inner_folds(tiny, tmp_path):
    config = tiny.config(folds={"n_splits": 10})
    with pytest.raises(DataError, match="row groups left to learn from, fewer than the 10 inner folds"):
        tune(tiny.photos, tmp_path / "out", config, trials=1, n_splits=2, cache_dir=tiny.cache)


def test_without_optuna_it_says_what_to_install(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("ensemble_minerals.workflows.tune.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'ensemble-minerals\[tune\]'"):
        tune(tiny.photos, tmp_path / "out", tiny.config())
