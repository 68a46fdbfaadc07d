"""Problems of a configuration in plain words, all at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from drawn.configurations import SMALL, problems_of

from ensemble_minerals.config.loading import load_config
from ensemble_minerals.errors import UserError

Write = Callable[[str], Path]


def test_all_problems_are_reported_at_once(write: Write) -> None:
    path = write(
        """
seed: "3"
taxonmy: auto
classes: [biotite, pyrite, 1]
taxonomy: {mica: [biotite, pirite], other: {more: [biotite]}, none: []}
folds: {n_split: 3, n_splits: 4, n_splits: 0, holdout: 1.0}
backbones:
  - {name: a b, model: x, weights: hup, views: [squsah]}
  - {name: lite0, layers: [], preprocessing: {mean: 3, std: [0, 1, 1]}}
  - {name: lite0, model: y, weights: z.pth, preprocessing: {std: [1, 1]}}
members:
  - {features: [litee0, descriptor], strategy: flatt, head: mpl}
  - {features: each, strategy: flat, head: {kind: logistic, c: 3, C: "1"}, sampler: {k_neighbors: 3}}
  - {features: eech, strategy: flat, name: q, head: 3, prior_correction: yes}
  - {features: [], name: q, k_neighbors: 3}
meta: {candidates: []}
calibration: null
"""
    )
    expected = [
        "line 6: the key 'n_splits' occurs twice in one mapping, first on line 6",
        "'nonsense': write an override as path=value",
        "members.9: '9' is no position in members; positions 0 to 3 exist",
        "seed: must be a whole number, got '3'",
        "taxonmy: unknown key (did you mean 'taxonomy'?); known here: seed, classes,",
        "classes.2: must be text, got 1; in quotes it is text: '1'",
        "taxonomy.mica: 'pirite' is not among classes (did you mean 'pyrite'?)",
        "taxonomy.other.more: 'biotite' is already in taxonomy.mica",
        "taxonomy.none: must be a list of classes or a mapping of groups, got []",
        "folds.n_split: unknown key (did you mean 'n_splits'?); known here: n_splits, holdout",
        "folds.n_splits: must be at least 1, got 0",
        "folds.holdout: must be less than 1, got 1.0",
        "backbones.0.name: must be a name of letters and digits",
        "backbones.0.weights: 'hup' is no source of weights (did you mean 'hub'?); write hub, random,",
        "backbones.0.views.0: 'squsah' is not known (did you mean 'squash'?); choose from squash,",
        "backbones.1.model: is needed but missing",
        "backbones.1.layers: must be a list of at least one entry, got []",
        "backbones.1.preprocessing.mean: must be a list, got 3",
        "backbones.1.preprocessing.std.0: must be greater than 0, got 0",
        "backbones.2.preprocessing.std.2: is needed but missing",
        "backbones.2.name: 'lite0' is already the name at backbones.1.name",
        "members.0.features: no feature extractor is called 'litee0' (did you mean 'lite0'?)",
        "members.0.strategy: 'flatt' is not known (did you mean 'flat'?); choose from flat,",
        "members.0.head.kind: 'mpl' is not known (did you mean 'mlp'?); choose from logistic, mlp, discriminant,",
        "members.1.head.c: unknown key (did you mean 'C'?); known here: C",
        "members.1.head.C: must be a number, got '1'; or write auto",
        "members.1.sampler.kind: is needed but missing",
        "members.2.features: no feature extractor is called 'eech' (did you mean 'each'?)",
        "members.2.head: must be a name or a mapping with the key 'kind', got 3",
        "members.2.prior_correction: must be true or false, got 'yes'",
        "members.3.features: must be each, all, or a list of feature extractors",
        "members.3.strategy: is needed but missing",
        "members.3.name: 'q' is already the name at members.2.name",
        "members.3.k_neighbors: unknown key (did you mean 'sampler.k_neighbors'?)",
        "meta.candidates: must be a list of at least one entry, got []",
        "calibration: must be a mapping of keys to values, got null",
    ]
    problems = problems_of(path, ["nonsense", "members.9.head=mlp"])
    unmet = [start for start in expected if not any(problem.startswith(start) for problem in problems)]
    extra = [problem for problem in problems if not any(problem.startswith(start) for start in expected)]
    assert (unmet, extra) == ([], [])
    assert len(problems) == len(expected)


def test_the_error_says_where_and_how_many(write: Write) -> None:
    path = write(SMALL + "sed: 1\nfold: {}\n")
    with pytest.raises(
        UserError, match=r"^2 problems in .*mine\.yaml:\n  - sed: .*'seed'.*\n  - fold: .*'folds'"
    ):
        load_config(path)


def test_advice_quotes_what_was_written():
    for written in ("001", "010", "1_000", "+5", "7", "true"):
        with pytest.raises(UserError) as caught:
            load_config(None, [f"classes=[{written},b]"])
        assert f"in quotes it is text: '{written}'" in str(caught.value)
    assert load_config(None, ["classes=['001','010']"]).classes == ("001", "010")
    seed = load_config(None, ["seed=010"]).seed
    assert type(seed) is int
