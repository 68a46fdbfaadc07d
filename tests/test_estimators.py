"""One contract for every estimator of the package, found by walking through it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.utils.estimator_checks import check_estimator

import ensemble_minerals
from ensemble_minerals.ensemble.stacked import StackedEnsemble
from ensemble_minerals.members.heads.logistic import LogisticHead
from ensemble_minerals.members.heads.mlp import MLPHead
from ensemble_minerals.networks.training.estimator import FineTunedNetwork
from ensemble_minerals.networks.training.skorch_net import FineTuningNet
from ensemble_minerals.photo_classifier import PhotoClassifier

SETTINGS = {
    LogisticHead: {"tol": 1e-9},  # weights and copies must agree to 1e-7, the default stops at less
    MLPHead: {"hidden": (32,), "max_epochs": 25},
    StackedEnsemble: {"n_splits": 2},  # some of scikit-learn's checks have three rows of a class
}
"""Other than the defaults, where those are for real data."""

EXPECTED_FAILURES = {
    MLPHead: {
        "check_sample_weight_equivalence_on_dense_data": (
            "mini-batches, batch statistics and dropout of a repeated row differ from those of a doubled weight"
        )
    }
}


def classes_of_the_package():
    classes = set()
    for module in pkgutil.walk_packages(ensemble_minerals.__path__, "ensemble_minerals."):
        if module.name.endswith("__main__"):
            continue
        for _, thing in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if thing.__module__ == module.name and issubclass(thing, BaseEstimator):
                classes.add(thing)
    return sorted(classes, key=lambda cls: cls.__name__)


FOREIGN = {FineTuningNet: "skorch's own net, whose base class keeps what it is given in its own way"}
"""Classes whose contract is another library's."""

NOT_OVER_FEATURES = {
    FineTunedNetwork: "X holds rows of an image cache; tests/networks/training/test_estimator.py has its contract",
    PhotoClassifier: "X holds photos; tests/test_photo_classifier.py has the checks that apply",
}
"""Estimators that scikit-learn's checks cannot feed: every one of them draws a matrix of numbers."""

REQUIRED = {FineTunedNetwork: {"network": object(), "images": object()}}
"""What has no default."""

PARTS = [cls for cls in classes_of_the_package() if not inspect.isabstract(cls) and cls not in FOREIGN]
ESTIMATORS = [cls for cls in PARTS if hasattr(cls, "fit") and cls not in NOT_OVER_FEATURES]


def test_the_known_ones_are_found():
    assert {cls.__name__ for cls in ESTIMATORS} >= {
        "FlatClassifier",
        "HierarchicalClassifier",
        "LogisticHead",
        "MLPHead",
        "OneVsRestClassifier",
        "RowSpace",
        "StackedEnsemble",
    }
    assert "OverSampler" in {cls.__name__ for cls in PARTS}


@pytest.mark.parametrize("cls", ESTIMATORS, ids=lambda cls: cls.__name__)
def test_keeps_scikit_learns_contract(cls):
    expected = EXPECTED_FAILURES.get(cls, {})
    results = check_estimator(
        cls(**SETTINGS.get(cls, {})), expected_failed_checks=expected, on_skip=None, on_fail="raise"
    )
    assert len(results) > 30
    assert {result["check_name"] for result in results if result["status"] == "xfail"} == set(expected)


@pytest.mark.parametrize("cls", PARTS, ids=lambda cls: cls.__name__)
def test_init_stores_and_does_nothing_else(cls):
    fresh = cls(**REQUIRED.get(cls, {}))
    names = set(inspect.signature(cls.__init__).parameters) - {"self"}
    assert set(vars(fresh)) == names
    marks = {name: object() for name in names}
    assert all(getattr(cls(**marks), name) is mark for name, mark in marks.items())
    assert clone(fresh).get_params(deep=False).keys() == names
