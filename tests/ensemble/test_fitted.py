from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from ensemble_minerals.ensemble.combination import Combination, centered
from ensemble_minerals.ensemble.fitted import FittedEnsemble
from ensemble_minerals.log_space import LOG_FLOOR
from ensemble_minerals.members.fitted import FittedMember
from ensemble_minerals.members.predictor import AveragedPredictor, DenseSpecialist, MemberPredictor
from ensemble_minerals.members.rows import RowData
from ensemble_minerals.taxonomy import Taxonomy

FLAT = Taxonomy.flat(("bornite", "pyrite", "quartz"))
RNG = np.random.default_rng(0)
BLOCKS = {"color": RNG.normal(size=(8, 2)), "lite0": RNG.normal(size=(8, 3))}
LOGS = log_softmax(RNG.normal(size=(8, 2, 3)), axis=2)


def member(name, *features):
    width = sum(BLOCKS[feature].shape[1] for feature in features)
    weight = np.random.default_rng(width).normal(size=(width, 3)).astype(np.float32)
    net = DenseSpecialist(((weight, np.zeros(3, np.float32)),))
    return FittedMember(name, features, AveragedPredictor.average([MemberPredictor(FLAT, False, ((net,),))]))


def fitted_ensemble(combination, temperature=1.0):
    members = (member("a", "color"), member("b", "lite0", "color"))
    return FittedEnsemble(members, combination, temperature)


UNIFORM = Combination("mean", np.array([0.5, 0.5]), np.zeros(3))


def test_members_answer_from_their_own_features():
    answers = fitted_ensemble(UNIFORM).member_log_proba(RowData(BLOCKS))
    assert answers.shape == (8, 2, 3)
    np.testing.assert_allclose(np.exp(answers).sum(axis=2), 1.0)
    ((net,),) = fitted_ensemble(UNIFORM).members[1].predictor.parts[0].specialists
    expected = np.hstack([BLOCKS["lite0"], BLOCKS["color"]]) @ net.layers[0][0]
    np.testing.assert_allclose(answers[:, 1], log_softmax(expected, axis=1), atol=1e-12)


def test_certain_answers_are_clipped_as_they_were_for_the_meta_learner():
    sure = {name: 1e4 * values for name, values in BLOCKS.items()}
    assert fitted_ensemble(UNIFORM).member_log_proba(RowData(sure)).min() == pytest.approx(np.log(LOG_FLOOR))


def test_kinds_of_combination():
    proba = np.exp(LOGS)
    weight = np.array([0.3, 0.7])
    mean = Combination("mean", weight, np.zeros(3)).log_proba(LOGS)
    np.testing.assert_allclose(np.exp(mean), 0.3 * proba[:, 0] + 0.7 * proba[:, 1])
    product = Combination("product", np.array([1.5, 0.2]), np.zeros(3)).log_proba(LOGS)
    np.testing.assert_allclose(np.exp(product), softmax(1.5 * LOGS[:, 0] + 0.2 * LOGS[:, 1], axis=1))
    matrix, bias = RNG.normal(size=(6, 3)), RNG.normal(size=3)
    linear = Combination("linear", matrix, bias).log_proba(LOGS)
    by_hand = np.hstack([LOGS[:, m] - LOGS[:, m].mean(axis=1, keepdims=True) for m in range(2)])
    np.testing.assert_allclose(centered(LOGS), by_hand)
    np.testing.assert_allclose(linear, log_softmax(by_hand @ matrix + bias, axis=1))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_divides_the_combined_log_probabilities(temperature):
    combined = UNIFORM.log_proba(LOGS)
    answers = fitted_ensemble(UNIFORM, temperature).combine(LOGS)
    np.testing.assert_allclose(answers, log_softmax(combined / temperature, axis=1))
    np.testing.assert_array_equal(answers.argmax(axis=1), combined.argmax(axis=1))


def test_a_member_that_never_says_anything_new_leaves_the_answer_as_it_is():
    twice = np.repeat(LOGS[:, :1], 2, axis=1)
    np.testing.assert_allclose(UNIFORM.log_proba(twice), LOGS[:, 0])


@pytest.mark.parametrize(
    "combination",
    [
        Combination("mean", np.array([0.0, 1.0]), np.zeros(3)),
        Combination("product", np.array([0.0, 1.3]), np.zeros(3)),
        Combination("linear", np.vstack([np.zeros((3, 3)), np.eye(3)]), np.array([0.1, 0.0, -0.1])),
    ],
)
def test_members_of_no_weight_are_left_out_and_the_answers_stay(combination):
    whole = fitted_ensemble(combination, temperature=1.4)
    small = whole.of_weight()
    assert [one.name for one in small.members] == ["b"]
    assert small.features == ("lite0", "color")
    expected = whole.combine(whole.member_log_proba(RowData(BLOCKS)))
    answers = small.combine(small.member_log_proba(RowData(BLOCKS)))
    np.testing.assert_allclose(answers, expected, rtol=0, atol=1e-12)


def test_where_all_or_no_members_count_none_is_left_out():
    by_class_alone = Combination("linear", np.zeros((6, 3)), np.array([1.0, 0.0, -1.0]))
    for combination in (UNIFORM, by_class_alone):
        whole = fitted_ensemble(combination)
        assert whole.of_weight() is whole
