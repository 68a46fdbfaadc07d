from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, softmax

from ensemble_minerals.log_space import log_proba_of_logits
from ensemble_minerals.members.predictor import (
    AveragedPredictor,
    ClassifierSpecialist,
    DenseSpecialist,
    MemberPredictor,
)
from ensemble_minerals.taxonomy import Taxonomy

CLASSES = ("bornite", "malachite", "pyrite")
FLAT = Taxonomy.flat(CLASSES)
METALLIC = Taxonomy.from_tree(CLASSES, {"metallic": ["bornite", "pyrite"]})
GREEN = Taxonomy.from_tree(CLASSES, {"bright": ["malachite", "pyrite"]})
X = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)


def linear(n_out, seed):
    rng = np.random.default_rng(seed)
    return DenseSpecialist(
        ((rng.normal(size=(4, n_out)).astype(np.float32), rng.normal(size=n_out).astype(np.float32)),)
    )


def deep(n_out, seed):
    rng = np.random.default_rng(seed)
    shapes = ((4, 6), (6, 5), (5, n_out))
    return DenseSpecialist(
        tuple(
            (rng.normal(size=shape).astype(np.float32), rng.normal(size=shape[1]).astype(np.float32))
            for shape in shapes
        )
    )


def one_fold(*specialists, tree=FLAT, one_vs_rest=False):
    return MemberPredictor(tree, one_vs_rest, (specialists,))


class Fixed:
    """A classifier that always gives the same answer."""

    def __init__(self, *proba):
        self.proba = proba

    def predict_proba(self, X):
        return np.tile(self.proba, (len(X), 1))


def test_layers_with_rectifiers_between_them():
    specialist = DenseSpecialist(
        (
            (np.array([[1.0, -1.0]], dtype=np.float32), np.array([0.0, 0.5], dtype=np.float32)),
            (np.array([[2.0], [3.0]], dtype=np.float32), np.array([-1.0], dtype=np.float32)),
        )
    )
    # x = 2: hidden (2, 0), 2*2 - 1 = 3; x = -2: hidden (0, 2.5), 3*2.5 - 1 = 6.5
    np.testing.assert_allclose(specialist.logits(np.array([[2.0], [-2.0]])), [[3.0], [6.5]])


def test_one_vs_rest_answers_are_normalized_to_one():
    specialists = [linear(1, seed) for seed in range(3)]
    positive = expit(np.concatenate([specialist.logits(X) for specialist in specialists], axis=1))
    proba = np.exp(one_fold(*specialists, one_vs_rest=True).log_proba(X))
    np.testing.assert_allclose(proba, positive / positive.sum(axis=1, keepdims=True))


def test_one_vs_rest_where_no_class_is_likely():
    unlikely = DenseSpecialist(((np.zeros((4, 1), np.float32), np.array([-800.0], np.float32)),))
    proba = np.exp(one_fold(unlikely, unlikely, unlikely, one_vs_rest=True).log_proba(X))
    np.testing.assert_allclose(proba, 1 / 3)


def test_branches_are_multiplied_down_the_tree():
    root, metallic = linear(1, 0), linear(1, 1)
    predictor = one_fold(root, metallic, tree=METALLIC)
    group = np.exp(log_proba_of_logits(root.logits(X)))  # metallic, malachite
    inside = np.exp(log_proba_of_logits(metallic.logits(X)))  # bornite, pyrite
    expected = np.column_stack([group[:, 0] * inside[:, 0], group[:, 1], group[:, 0] * inside[:, 1]])
    np.testing.assert_allclose(np.exp(predictor.log_proba(X)), expected, rtol=1e-12)


def test_a_foreign_classifier_is_shifted_by_its_prior_correction():
    shift = np.log([0.5, 2.0, 1.0])
    proba = np.exp(one_fold(ClassifierSpecialist(Fixed(0.2, 0.3, 0.5), shift)).log_proba(X))
    np.testing.assert_allclose(proba, np.tile(np.array([0.1, 0.6, 0.5]) / 1.2, (len(X), 1)))
    two = ClassifierSpecialist(Fixed(0.2, 0.8), np.log([3.0, 1.0]))
    np.testing.assert_allclose(two.logits(X), np.log(0.8 / 0.6))
    assert np.isfinite(ClassifierSpecialist(Fixed(0.0, 1.0), np.zeros(2)).logits(X)).all()


@pytest.mark.parametrize("make", [linear, deep])
def test_folds_are_averaged_as_log_odds(make):
    folds = [one_fold(make(3, seed)) for seed in range(5)]
    mean = np.mean([fold.specialists[0][0].logits(X) for fold in folds], axis=0)
    np.testing.assert_allclose(
        np.exp(AveragedPredictor.average(folds).log_proba(X)), softmax(mean, axis=1), atol=1e-6
    )


@pytest.mark.parametrize("one_vs_rest", [False, True])
def test_linear_folds_collapse_into_one_net_with_the_same_answers(one_vs_rest):
    tree, widths = (FLAT, (1, 1, 1)) if one_vs_rest else (METALLIC, (1, 1))
    folds = [
        one_fold(
            *(linear(width, 10 * fold + n) for n, width in enumerate(widths)),
            tree=tree,
            one_vs_rest=one_vs_rest,
        )
        for fold in range(4)
    ]
    separate = MemberPredictor(tree, one_vs_rest, tuple(fold.specialists[0] for fold in folds))
    collapsed = AveragedPredictor.average(folds)
    assert [len(part.specialists) for part in collapsed.parts] == [1]
    assert collapsed.weights == (4.0,)
    np.testing.assert_allclose(collapsed.log_proba(X), separate.log_proba(X), atol=2e-6)


def test_nets_with_hidden_layers_do_not_collapse():
    folds = [one_fold(deep(3, seed)) for seed in range(2)]
    assert not folds[0].is_linear
    assert len(AveragedPredictor.average(folds).parts[0].specialists) == 2


def test_different_trees_are_averaged_as_log_probabilities_each_fold_counting_once():
    metallic = [one_fold(linear(1, seed), linear(1, seed + 10), tree=METALLIC) for seed in range(2)]
    green = one_fold(linear(1, 5), linear(1, 6), tree=GREEN)
    average = AveragedPredictor.average([metallic[0], green, metallic[1]])
    assert sorted(average.weights) == [1.0, 2.0]
    both = AveragedPredictor.average(metallic).log_proba(X)
    expected = softmax((2 * both + green.log_proba(X)) / 3, axis=1)
    np.testing.assert_allclose(np.exp(average.log_proba(X)), expected, rtol=1e-9)


@pytest.mark.parametrize("make", [linear, deep])
def test_an_answer_does_not_depend_on_the_other_rows(make):
    rng = np.random.default_rng(3)
    weight = tuple((w.repeat(300, axis=0), b) if w.shape[0] == 4 else (w, b) for w, b in make(3, 0).layers)
    predictor = AveragedPredictor.average([one_fold(DenseSpecialist(weight))])
    rows = rng.normal(20, 3, size=(70, 1200)).astype(np.float32)
    together = predictor.log_proba(rows)
    np.testing.assert_allclose(predictor.log_proba(rows[::-1])[::-1], together, rtol=1e-10, atol=1e-10)
    for row in (0, 33, 69):
        np.testing.assert_allclose(predictor.log_proba(rows[[row]])[0], together[row], rtol=1e-10, atol=1e-10)
