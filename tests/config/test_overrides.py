"""Single values set from the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from drawn.configurations import SMALL, the_problem

from ensemble_minerals.config.loading import load_config
from ensemble_minerals.config.members import (
    LogisticHeadConfig,
    MlpHeadConfig,
    NeighborSamplerConfig,
)
from ensemble_minerals.config.networks import FocalLoss, LayersHeadConfig

Write = Callable[[str], Path]


def test_overrides(write: Write) -> None:
    config = load_config(
        write(SMALL),
        [
            "folds.n_splits=3",
            "backbones.1.size=260",
            "backbones.0.preprocessing.order=bgr",
            "members.0.head=mlp",
            "members.0.head.dropout=0.1",
            "members.1.sampler.k_neighbors=2",
            "members.+={features: [descriptor], strategy: hierarchical}",
            "members.2.head.C=7",
            "taxonomy.mica=[biotite, muscovite]",
            "seed=1",
            "seed=2",
        ],
    )
    assert config.folds.n_splits == 3
    assert config.backbones[1].size == 260
    assert config.backbones[0].preprocessing is not None
    assert config.backbones[0].preprocessing.order == "bgr"
    assert config.members[0].head == MlpHeadConfig(dropout=0.1)
    assert config.members[1].sampler == NeighborSamplerConfig(kind="smote", k_neighbors=2)
    assert config.members[2].features == ("descriptor",)
    assert config.members[2].head == LogisticHeadConfig(C=7.0)
    assert config.taxonomy == {"mica": ["biotite", "muscovite"]}
    assert config.seed == 2


def test_overrides_below_a_kind_that_is_a_name_or_left_out(write: Write) -> None:
    path = write(
        "networks: [{name: n, model: m, weights: random, loss: focal}]\n"
        "members: [{network: n, strategy: flat}]\n"
    )
    config = load_config(path, ["networks.0.head.dropout=0.1", "networks.0.loss.gamma=1"])
    assert config.networks[0].head == LayersHeadConfig(dropout=0.1)
    assert config.networks[0].loss == FocalLoss(gamma=1.0)


def test_override_appends_to_a_list_that_is_not_there(write: Write) -> None:
    path = write("seed: 0\n")
    assert len(load_config(path, ["members.+={features: all, strategy: flat}"]).members) == 1


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("fold.n_splits=3", "fold: unknown key (did you mean 'folds'?)"),
        ("folds.nsplits=3", "folds.nsplits: unknown key (did you mean 'n_splits'?)"),
        ("members.0.head.hiden=[3]", "members.0.head.hiden: unknown key; known here: C"),
        ("members.1.head.hiden=[3]", "members.1.head.hiden: unknown key (did you mean 'hidden'?)"),
        ("members.0.head=mlpp", "members.0.head.kind: 'mlpp' is not known (did you mean 'mlp'?)"),
        ("members.2.head=mlp", "members.2: '2' is no position in members; positions 0 to 1 exist"),
        ("members.first.head=mlp", "members.first: 'first' is no position in members"),
        ("members.-1=null", "members.-1: '-1' is no position in members"),
        (
            "backbones.0.views.3=squash",
            "backbones.0.views.3: backbones.0.views is not written out; set it whole, backbones.0.",
        ),
        ("backbones.0.model.x=1", "backbones.0.model.x: backbones.0.model is the single value 'resnet18'"),
        (
            "backbones.0.model.x.y=1",
            "backbones.0.model.x.y: backbones.0.model is the single value 'resnet18'",
        ),
        ("meta.candidates.+=greedy", "meta.candidates.+: meta.candidates is not written out; set it whole"),
        ("seed", "'seed': write an override as path=value"),
        ("=3", "'=3': write an override as path=value"),
        ("folds..n_splits=3", "'folds..n_splits=3': write an override as path=value"),
        ("classes=[a", "'classes=[a': line 1, column 3: not readable as YAML"),
        (
            "folds={n_splits: 2, n_splits: 3}",
            "'folds={n_splits: 2, n_splits: 3}': line 1: the key 'n_splits'",
        ),
    ],
)
def test_overrides_that_do_not_fit(write: Write, override: str, words: str) -> None:
    assert the_problem(write(SMALL), [override]).startswith(words)
