from __future__ import annotations

import time

import numpy as np
import pytest
from drawn.rows import overlapping

from ensemble_minerals.config.loading import build_config
from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.data.folds import assign_folds
from ensemble_minerals.ensemble.stacked import StackedEnsemble
from ensemble_minerals.errors import ConfigError, FitError
from ensemble_minerals.evaluation.metrics import row_log_loss
from ensemble_minerals.experiment.setup import build_members, build_meta_learner
from ensemble_minerals.system.runtime import Runtime
from ensemble_minerals.tuning import scoring
from ensemble_minerals.tuning.nested import NestedSearch
from ensemble_minerals.tuning.scoring import CachedFeatures, OutOfFoldLoss, member_keys
from ensemble_minerals.tuning.search import search
from ensemble_minerals.tuning.space import SearchSpace

NAMES = np.array(["bornite", "malachite", "pyrite", "quartz"])
VIEWS = ("squash", "top_left", "top_right")
START = build_config(
    {
        "backbones": [{"name": "net", "model": "resnet18", "weights": "random", "views": list(VIEWS)}],
        "members": [
            {"features": ["net"], "strategy": "flat", "head": {"kind": "logistic", "C": 3000.0}},
            {"features": ["descriptor"], "strategy": "flat", "head": {"kind": "logistic", "C": 30.0}},
        ],
        "meta": {"candidates": ["uniform", "log_pool"], "one_standard_error": False},
        "folds": {"n_splits": 3},
    }
)
SPACE = SearchSpace(START)


def known(seed=0):
    y = overlapping()[1]
    groups = np.arange(len(y)) // 2 + 1000 * y
    folds = assign_folds(y, groups, n_splits=3, seed=seed)
    return FoldInputs(y, groups, folds, NAMES)


def features(noise=1.5):
    X, _ = overlapping()
    rng = np.random.default_rng(5)
    views = X[:, None] + noise * rng.normal(size=(len(X), 3, X.shape[1]))
    color = X[:, :3] + rng.normal(size=(len(X), 3))
    return CachedFeatures({"descriptor": color}, {"net": views}, {"net": VIEWS})


def losses():
    return OutOfFoldLoss(features(), known(), "auto", Runtime())


def ending(seconds=60.0):
    return time.time() + seconds


@pytest.mark.parametrize("pooling", ["mean", "concat", "rows"])
def test_a_score_is_that_of_a_fit(pooling):
    backbone = START.backbones[0].model_copy(update={"pooling": pooling, "views": ("top_right", "squash")})
    config = START.model_copy(update={"backbones": (backbone,)})
    views = features().views["net"][:, [2, 0]]
    seen = features().of(config)
    expected = views.reshape(len(views), -1) if pooling == "concat" else views.mean(axis=1)
    np.testing.assert_array_equal(seen.matrices["net"], expected)
    assert set(seen.views) == ({"net"} if pooling == "rows" else set())
    ensemble = StackedEnsemble(build_members(config), meta=build_meta_learner(config))
    inputs = known()
    ensemble.fit(seen, NAMES[inputs.y], inputs.groups, inputs.folds)
    expected_loss = row_log_loss(inputs.y, ensemble.oof_proba_).mean()
    assert losses().of(config) == pytest.approx(expected_loss, abs=1e-6)


def test_members_are_fitted_once(monkeypatch):
    fitted: list[str] = []
    plain = scoring.cross_fit

    def spy(members, *rest):
        fitted.extend(member.name for member in members)
        return plain(members, *rest)

    monkeypatch.setattr(scoring, "cross_fit", spy)
    one = losses()
    assert one.of(START) == one.of(START)
    assert fitted == ["net-flat", "descriptor-flat"]
    changed = START.model_copy(update={"members": START.members[1:]})
    one.of(changed)
    assert len(fitted) == 2
    weaker = START.members[1].model_copy(update={"head": START.members[0].head})
    one.of(START.model_copy(update={"members": (START.members[0], weaker)}))
    assert fitted[2:] == ["descriptor-flat"]


def test_views_matter_to_members_that_see_them():
    fewer = START.backbones[0].model_copy(update={"views": ("squash",)})
    one, two = member_keys(START), member_keys(START.model_copy(update={"backbones": (fewer,)}))
    assert one["net-flat"] != two["net-flat"]
    assert one["descriptor-flat"] == two["descriptor-flat"]


def test_a_search_finds_better_ones_around_the_best_so_far():
    found = search(SPACE, losses().of, until=ending(), most=25, seed=3)
    assert found.trials[0].number == 0
    assert found.trials[0].changed == ()
    assert found.trials[1].changed == ("net",)
    assert found.trials[1].config.backbones[0].pooling == "rows"
    assert found.best.loss < found.trials[0].loss - 0.01
    assert len({trial.config.model_dump_json() for trial in found.trials}) == len(found.trials)
    for trial in found.trials[2:]:
        assert set(trial.changed) <= set(SPACE.parts)
        assert len(trial.changed) in (1, 2)
    again = search(SPACE, losses().of, until=ending(), most=25, seed=3)
    assert [trial.loss for trial in again.trials] == [trial.loss for trial in found.trials]


def test_time_ends_a_search_but_the_first_configuration_is_scored():
    reported: list[int] = []
    found = search(SPACE, lambda config: 1.0, until=time.time() - 1, report=reported.append)
    assert (len(found.trials), reported) == (1, [1])


def test_what_cannot_be_fitted_is_passed_over_unless_it_is_the_first():
    def fails_later(config):
        if len(config.members) != 2:
            raise FitError("a member failed")
        return 1.0

    found = search(SPACE, fails_later, until=ending(), most=12)
    assert all(len(trial.config.members) == 2 for trial in found.trials)
    with pytest.raises(FitError):
        search(SPACE, lambda config: fails_later(config.model_copy(update={"members": ()})), until=ending())


def test_a_drawn_configuration_that_does_not_fit_costs_nothing(monkeypatch):
    drawn = SPACE.draw

    class Picky(SearchSpace):
        def draw(self, chooser):
            config = drawn(chooser)
            if len(config.members) > 2:
                raise ConfigError(["too many"])
            return config

    found = search(Picky(START), lambda config: 1.0, until=ending(), most=12)
    assert max(len(trial.config.members) for trial in found.trials) <= 2


def nested(most, labels=None):
    inputs = known()
    if labels is not None:
        inputs = FoldInputs(labels, inputs.groups, inputs.folds, NAMES)
    outer = assign_folds(inputs.y, inputs.groups, n_splits=2, seed=9)
    told: list[tuple[int, int]] = []
    work = NestedSearch(
        SPACE, features(), inputs, "auto", outer, ending(), most, Runtime(), lambda *done: told.append(done)
    )
    return work.run(), told


def test_nested_rows_are_answered_by_searches_that_never_saw_them():
    tuning, told = nested(6)
    assert told[-1] == (18, 18)
    assert [len(search.trials) > 1 for search in (*tuning.of_folds, tuning.whole)] == [True] * 3
    score = tuning.paired.scores["log_loss"]
    assert tuning.paired.n == len(known())
    assert tuning.paired.row_groups == len(np.unique(known().groups))
    assert score.difference.low < score.difference.estimate < score.difference.high
    assert np.isfinite(score.first + score.second)


def test_a_search_that_finds_nothing_gains_exactly_nothing():
    tuning, _ = nested(1)
    for score in tuning.paired.scores.values():
        assert score.difference.estimate == 0


def test_what_a_search_believes_of_labels_of_chance_is_not_borne_out():
    inputs = known()
    own, first_of = np.unique(inputs.groups, return_index=True)
    drawn = np.random.default_rng(0).permutation(inputs.y[first_of])
    shuffled = drawn[np.searchsorted(own, inputs.groups)].astype(np.intp)
    tuning, _ = nested(12, shuffled)
    believed = tuning.whole.trials[0].loss - tuning.whole.best.loss
    score = tuning.paired.scores["log_loss"]
    assert believed > 0
    shares = np.bincount(shuffled) / len(shuffled)
    assert score.second > -np.log(shares) @ shares - 0.02  # who knows the shares alone
