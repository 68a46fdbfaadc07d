"""Checks that compare settings with each other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from drawn.configurations import SMALL, the_problem

from ensemble_minerals.config.loading import load_config

Write = Callable[[str], Path]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("members=[]", "members: at least one is needed"),
        ("backbones=[]", "members.0.features: 'each' makes one member for each backbone, and there is none"),
        ("backbones.0.name=descriptor", "backbones.0.name: 'descriptor' is the name of something else"),
        ("backbones.1.name=a", "backbones.1.name: 'a' is already the name at backbones.0.name"),
        ("members.0.features=[a, a]", "members.0.features: 'a' is listed twice"),
        ("classes=[x, y, x]", "classes: 'x' is listed twice; list each once"),
        ("classes=[x]", "classes: must be a list of at least two classes, got ['x']"),
        ("classes=x", "classes: must be a list, got 'x'"),
        ("meta.candidates=[greedy, greedy]", "meta.candidates: 'greedy' is listed twice"),
        ("taxonomy=learned", "taxonomy: must be default, auto, or groups such as"),
        ("taxonomy={}", "taxonomy: must be default, auto, or groups such as"),
        ("taxonomy={mica: [1, x]}", "taxonomy.mica: must name classes as text, got 1"),
        ("taxonomy={mica: [x, x]}", "taxonomy.mica: 'x' is already in taxonomy.mica"),
        (
            "taxonomy.mica={deep: }",
            "taxonomy.mica.deep: must be a list of classes or a mapping of groups, got null",
        ),
        (
            "members.1={features: [a, b], strategy: flat, head: {kind: logistic, C: auto}, sampler: adasyn}",
            "members.1.head.C: auto goes with the sampler none, random or smote; give C as a number with adasyn",
        ),
        ("backbones.0.weights='package:'", "backbones.0.weights: 'package:' is no source of weights"),
        ("backbones.0.weights=model.onnx", "backbones.0.weights: 'model.onnx' is no source of weights"),
        ("backbones.0.size=224.0", "backbones.0.size: must be a whole number, got 224.0"),
        (
            "backbones.0.preprocessing.mean=[1, 2, 3, 4]",
            "backbones.0.preprocessing.mean: must be a list of 3",
        ),
        ("folds.n_splits=1", "folds.holdout: one fold is a plain hold-out, and needs its share"),
        ("folds={n_splits: 1, holdout: 0}", "folds.holdout: one fold is a plain hold-out"),
        ("folds.n_splits=true", "folds.n_splits: must be a whole number, got true"),
        ("folds.holdout=.inf", "folds.holdout: must be a number, got '.inf'"),
        ("duplicates.cosine=0.9", "duplicates.cosine: gone; photos are now compared by what they show"),
        ("refit=1", "refit: must be true or false, got 1"),
        ("refit=yes", "refit: must be true or false, got 'yes'"),
        ("n_splits=3", "n_splits: unknown key (did you mean 'folds.n_splits'?)"),
        ("members.0.sampler.ratio=0.5", "members.0.sampler.ratio: unknown key; known here: none but kind"),
    ],
)
def test_each_check(write: Write, override: str, words: str) -> None:
    assert the_problem(write(SMALL), [override]).startswith(words)


ROWS = "backbones.0.pooling=rows"


@pytest.mark.parametrize(
    ("member", "words"),
    [
        (
            "{features: [a], strategy: flat, head: mlp}",
            "members.0.head: mlp cannot learn from views as rows (pooling of a)",
        ),
        (
            "{features: each, strategy: flat, sampler: svm_smote}",
            "members.0.sampler: 'svm_smote' cannot top up views that",
        ),
        (
            "{features: a, strategy: flat, head: discriminant, sampler: random}",
            "members.0.sampler: 'random' cannot top up views that are rows (pooling of a); logistic heads take none",
        ),
    ],
)
def test_views_as_rows_are_refused_to_heads_and_samplers_that_cannot_learn_from_them(
    write: Write, member: str, words: str
):
    assert words in the_problem(write(SMALL), [ROWS, f"members=[{member}]"])


@pytest.mark.parametrize(
    "member",
    [
        "{features: each, strategy: flat, head: {kind: logistic, C: auto}, sampler: smote}",
        "{features: a, strategy: flat, head: discriminant}",
        "{features: b, strategy: flat, head: mlp}",
        "{features: [a, b], strategy: flat, head: mlp, sampler: adasyn}",  # sees the mean of the views
    ],
)
def test_views_as_rows_are_taken_otherwise(write: Write, member: str):
    assert load_config(write(SMALL), [ROWS, f"members=[{member}]"]).backbones[0].pooling == "rows"
