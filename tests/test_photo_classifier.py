"""The ensemble as a scikit-learn estimator."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks

from ensemble_minerals import PhotoClassifier, UserError
from ensemble_minerals.data.decoding import decode
from ensemble_minerals.errors import DataError

pytestmark = pytest.mark.usefixtures("one_thread")

CHECKS = (
    "check_estimator_cloneable",
    "check_estimator_tags_renamed",
    "check_valid_tag_types",
    "check_estimator_repr",
    "check_no_attributes_set_in_init",
    "check_get_params_invariance",
    "check_set_params",
    "check_do_not_raise_errors_in_init_or_set_param",
    "check_mixin_order",
    "check_parameters_default_constructible",
)
"""Checks of scikit-learn that need no matrix. All others fit on one, of random numbers: its rows are no photos."""


@pytest.fixture(scope="module")
def photos(tiny):
    paths = sorted(tiny.photos.rglob("*.*"))
    return paths, np.array([path.parent.name for path in paths])


@pytest.fixture(scope="module")
def fitted(tiny, photos):
    return PhotoClassifier(tiny.config(), cache_dir=tiny.cache).fit(*photos)


@pytest.mark.parametrize("name", [name for name in CHECKS if hasattr(estimator_checks, name)])
def test_checks_of_scikit_learn_that_apply(name):
    getattr(estimator_checks, name)("PhotoClassifier", PhotoClassifier())


def test_it_answers_as_the_ensemble_does(tiny, photos, fitted):
    new = sorted(tiny.new.iterdir())
    proba = fitted.predict_proba(new)
    np.testing.assert_array_equal(proba, fitted.predictor_.predict(new).proba)
    assert fitted.classes_.tolist() == sorted(set(photos[1]))
    np.testing.assert_array_equal(fitted.predict(new), fitted.classes_[proba.argmax(axis=1)])
    assert fitted.score(*photos) > 0.6
    assert fitted.metrics_["oof"]["accuracy"] > 0.4


def test_images_are_photos_and_labels_may_be_numbers(tiny, photos, fitted):
    paths, labels = photos
    images = [decode(path).pixels for path in paths]
    numbers = np.unique(labels, return_inverse=True)[1] + 9  # '10' sorts before '9'
    other = clone(fitted).fit(images, numbers)
    assert other.classes_.tolist() == [9, 10, 11]
    assert (other.predict(images) == numbers).mean() > 0.6


def test_it_can_be_pickled(tiny, fitted):
    new = sorted(tiny.new.iterdir())
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(new), fitted.predict_proba(new))
    assert isinstance(pickle.loads(pickle.dumps(clone(fitted))), PhotoClassifier)


def test_it_works_in_a_pipeline_and_in_cross_validation(photos, fitted):
    paths, labels = photos
    groups = np.arange(len(labels)) // 2
    flow = make_pipeline(FunctionTransformer(list), clone(fitted))
    scores = cross_val_score(flow, paths, labels, groups=groups, cv=GroupKFold(2))
    assert scores.mean() > 0.4


def test_groups_stay_together(photos, fitted, monkeypatch):
    paths, labels = photos
    with pytest.raises(DataError, match="row groups"):
        clone(fitted).fit(paths, labels, groups=labels)


def test_mistakes_are_told(photos, fitted):
    paths, labels = photos
    with pytest.raises(ValueError, match=r"y has the shape \(35,\); there are 36 photos"):
        clone(fitted).fit(paths, labels[1:])
    with pytest.raises(DataError, match="photo 0 cannot be read: empty"):
        fitted.predict([b""])
    with pytest.raises(NotFittedError):
        clone(fitted).predict(paths)
    with pytest.raises(UserError, match="is no photo"):
        fitted.predict([3])
