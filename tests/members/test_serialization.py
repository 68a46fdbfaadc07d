from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from sklearn.naive_bayes import GaussianNB

from ensemble_minerals.data.oversampling import OverSampler
from ensemble_minerals.errors import BundleError
from ensemble_minerals.members.flat import FlatClassifier
from ensemble_minerals.members.heads.mlp import MLPHead
from ensemble_minerals.members.hierarchical import HierarchicalClassifier
from ensemble_minerals.members.one_vs_rest import OneVsRestClassifier
from ensemble_minerals.members.predictor import AveragedPredictor
from ensemble_minerals.members.serialization import predictor_from_arrays, predictor_to_arrays

CLASSES = ("bornite", "malachite", "muscovite", "pyrite", "quartz")
NESTED = {
    "shiny": {"metallic": ["bornite", "pyrite"], "mica": ["muscovite"]},
    "dull": ["malachite", "quartz"],
}
OTHER = {"green": ["malachite", "bornite"]}


def specimens(seed=0):
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(5), (20, 16, 14, 12, 10))
    centers = np.random.default_rng(8).normal(size=(5, 6))
    return (centers[codes] + rng.normal(size=(72, 6))).astype(np.float32), np.array(CLASSES)[codes]


STRATEGIES = {
    "flat": FlatClassifier(),
    "one_vs_rest": OneVsRestClassifier(sampler=OverSampler("random")),
    "nested": HierarchicalClassifier(NESTED),
    "mlp": HierarchicalClassifier(NESTED, head=MLPHead(hidden=(8, 4), max_epochs=3)),
}


def folds_of(strategy):
    parts = []
    for fold in range(3):
        X, y = specimens(seed=fold)
        parts.append(strategy.fit(X, y).predictor_)
    return AveragedPredictor.average(parts)


@pytest.mark.parametrize("name", STRATEGIES)
def test_round_trip_through_a_file_gives_the_same_bytes(name, tmp_path):
    predictor = folds_of(STRATEGIES[name])
    arrays, description = predictor_to_arrays(predictor, "member.3.")
    assert all(key.startswith("member.3.") for key in arrays)
    save_file({**arrays, "somebody else's": np.zeros(2)}, tmp_path / "arrays.safetensors")
    restored = predictor_from_arrays(
        load_file(tmp_path / "arrays.safetensors"),
        json.loads(json.dumps(description)),
        CLASSES,
        "member.3.",
    )
    X, _ = specimens(seed=7)
    assert [part.taxonomy for part in restored.parts] == [part.taxonomy for part in predictor.parts]
    np.testing.assert_array_equal(restored.log_proba(X), predictor.log_proba(X))


def test_folds_with_trees_of_their_own_keep_them():
    X, y = specimens()
    trees = [NESTED, OTHER, NESTED]
    predictor = AveragedPredictor.average(
        [HierarchicalClassifier(tree).fit(X, y).predictor_ for tree in trees]
    )
    restored = predictor_from_arrays(*predictor_to_arrays(predictor), CLASSES)
    assert len(restored.parts) == 2
    assert restored.weights == predictor.weights == (2.0, 1.0)
    np.testing.assert_array_equal(restored.log_proba(X), predictor.log_proba(X))


def test_a_foreign_head_has_no_plain_form():
    X, y = specimens()
    predictor = AveragedPredictor.average([FlatClassifier(head=GaussianNB()).fit(X, y).predictor_])
    with pytest.raises(BundleError, match="foreign classifier"):
        predictor_to_arrays(predictor)


@pytest.mark.parametrize("part", ["weight", "bias"])
def test_a_missing_array_is_named(part):
    X, y = specimens()
    predictor = AveragedPredictor.average([FlatClassifier().fit(X, y).predictor_])
    arrays, description = predictor_to_arrays(predictor, "a.")
    name = next(key for key in arrays if key.endswith(part))
    del arrays[name]
    with pytest.raises(ValueError, match=f"{name} is missing"):
        predictor_from_arrays(arrays, description, CLASSES, "a.")
