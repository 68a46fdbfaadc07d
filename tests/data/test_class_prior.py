from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from ensemble_minerals.data.class_prior import class_prior, prior_shift
from ensemble_minerals.data.oversampling import OverSampler


def test_class_prior():
    np.testing.assert_allclose(class_prior([0, 2, 2, 0, 0], 4), [0.6, 0, 0.4, 0])
    with pytest.raises(ValueError, match="run from 0 to 2"):
        class_prior([0, 2], 2)
    with pytest.raises(ValueError, match="no rows"):
        class_prior([], 2)


NATURAL = np.array([0.6, 0.3, 0.1])
MEANS = np.array([-1.0, 0.5, 2.0])


def gaussian_logits(x, prior):
    """Logits of the exact Bayes posterior for unit Gaussians around MEANS."""
    return -0.5 * (x[:, None] - MEANS) ** 2 + np.log(prior)


def test_correction_recovers_the_exact_posterior_of_gaussian_classes():
    x = np.linspace(-5, 6, 200)
    trained = np.array([0.2, 0.35, 0.45])
    learned = gaussian_logits(x, trained)
    expected = softmax(gaussian_logits(x, NATURAL), axis=1)

    corrected = softmax(learned + prior_shift(trained, NATURAL), axis=1)

    np.testing.assert_allclose(corrected, expected, atol=1e-12)
    np.testing.assert_allclose(corrected.sum(axis=1), 1)
    assert np.abs(softmax(learned, axis=1) - expected).max() > 0.1


def test_correction_restores_the_natural_shares_of_a_learner_fitted_on_oversampled_rows():
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(3), (NATURAL * 4000).astype(int))
    x = (MEANS[y] + rng.normal(size=len(y)))[:, None]
    resampled = OverSampler(kind="random").resample(x, y)
    learner = LogisticRegression(C=1e6).fit(resampled.X, resampled.y)

    biased = learner.predict_proba(x)
    shift = prior_shift(class_prior(resampled.y, 3), class_prior(y, 3))
    corrected = softmax(learner.decision_function(x) + shift, axis=1)

    np.testing.assert_allclose(corrected.mean(axis=0), NATURAL, atol=0.02)
    assert np.abs(biased.mean(axis=0) - NATURAL).max() > 0.1


def test_classes_absent_from_a_prior():
    np.testing.assert_array_equal(
        prior_shift([0.5, 0.5, 0.0], [1.0, 0.0, 0.0]), [np.log(2), -np.inf, -np.inf]
    )
    with pytest.raises(ValueError, match=r"positions \[1\]"):
        prior_shift([1.0, 0.0], [0.5, 0.5])


def test_wrong_priors():
    with pytest.raises(ValueError, match="has 2 classes"):
        prior_shift([0.5, 0.5], [0.2, 0.3, 0.5])
    with pytest.raises(ValueError, match="natural_prior"):
        prior_shift([0.5, 0.5], [1.5, -0.5])
