"""Configuration kinds and the estimators they stand for."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from ensemble_minerals.config.loading import build_config
from ensemble_minerals.config.members import MemberConfig
from ensemble_minerals.data.oversampling import OverSampler
from ensemble_minerals.members.base import Strategy
from ensemble_minerals.members.flat import FlatClassifier
from ensemble_minerals.members.heads.logistic import LogisticHead
from ensemble_minerals.members.heads.mlp import MLPHead
from ensemble_minerals.members.hierarchical import HierarchicalClassifier
from ensemble_minerals.members.registry import HEADS, STRATEGIES, build_strategy

SAMPLERS = ["none", "random", "smote", "borderline_smote", "svm_smote", "adasyn"]


def member(**settings) -> MemberConfig:
    written = {"features": ["descriptor"], "strategy": "flat", **settings}
    return build_config({"members": [written]}).members[0]


def test_every_kind_of_the_schema_is_in_the_tables():
    assert set(get_args(MemberConfig.model_fields["strategy"].annotation)) == set(STRATEGIES)
    for kind in HEADS:
        assert isinstance(build_strategy(member(head=kind), "auto", 0).head, HEADS[kind])
    assert set(HEADS) == {"logistic", "mlp", "discriminant", "random_features"}


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_each_pair_of_strategy_and_sampler_learns(strategy, sampler):
    made = build_strategy(member(strategy=strategy, sampler=sampler), "auto", 3)
    assert type(made) is STRATEGIES[strategy]
    assert isinstance(made, Strategy)
    assert (made.sampler.kind, made.random_state, made.prior_correction) == (sampler, 3, True)
    rng = np.random.default_rng(0)
    y = np.repeat(["a", "b", "c"], [20, 14, 10])
    X = rng.normal(size=(44, 4)) + 2 * np.searchsorted(["a", "b", "c"], y)[:, None]
    proba = made.fit(X, y).predict_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-5)
    assert np.mean(made.predict(X) == y) > 0.8


def test_every_setting_arrives():
    head = {"kind": "mlp", "hidden": [9, 8], "dropout": 0.25, "learning_rate": 0.02, "weight_decay": 0.5,
            "label_smoothing": 0.125, "batch_size": 7, "max_epochs": 6, "patience": 5, "validation_fraction": 0.375,
            "noise": 0.0625}  # fmt: skip
    made = build_strategy(
        member(head=head, sampler={"kind": "smote", "k_neighbors": 4, "ratio": 0.5}, prior_correction=False),
        {},
        11,
    )
    assert isinstance(made, FlatClassifier)
    assert isinstance(made.head, MLPHead)
    expected = {key: value for key, value in head.items() if key != "kind"} | {"hidden": (9, 8)}
    assert {key: made.head.get_params()[key] for key in expected} == expected
    assert isinstance(made.sampler, OverSampler)
    assert (made.sampler.k_neighbors, made.sampler.ratio, made.prior_correction) == (4, 0.5, False)
    logistic = build_strategy(member(head={"kind": "logistic", "C": 2.5}), {}, 0).head
    assert isinstance(logistic, LogisticHead)
    assert logistic.C == 2.5


def test_only_hierarchical_members_are_given_groups():
    tree = {"metallic": ["bornite", "pyrite"]}
    grouped = build_strategy(member(strategy="hierarchical"), tree, 0)
    assert isinstance(grouped, HierarchicalClassifier)
    assert grouped.taxonomy == tree
    assert build_strategy(member(strategy="hierarchical"), "auto", 0).taxonomy == "auto"
    for kind in ("flat", "one_vs_rest"):
        assert "taxonomy" not in build_strategy(member(strategy=kind), tree, 0).get_params()
