"""Diversity of members: hand-worked pairs, the oracle bound, and what a member is worth."""

from __future__ import annotations

import numpy as np
import pytest

from ensemble_minerals.evaluation.diversity import diversity, leave_one_member_out


def answering(right, y, k=2):
    """Probabilities of a member that is right where told, else wrong by one class."""
    answer = np.where(right, y, (y + 1) % k)
    return 0.8 * np.eye(k)[answer] + 0.2 / k


Y = np.array([0, 1, 0, 1, 0])
MEMBERS = {
    "a": answering([1, 1, 1, 0, 0], Y),
    "b": answering([1, 1, 0, 1, 0], Y),
    "c": answering([1, 1, 1, 1, 1], Y),
}


def test_pairs_by_hand():
    found = diversity(Y, MEMBERS)
    assert found.members == ("a", "b", "c")
    np.testing.assert_allclose(found.accuracy, [0.6, 0.6, 1.0])
    np.testing.assert_allclose(found.double_fault, [[0.4, 0.2, 0], [0.2, 0.4, 0], [0, 0, 0]])
    np.testing.assert_allclose(found.disagreement, [[0, 0.4, 0.4], [0.4, 0, 0.4], [0.4, 0.4, 0]], atol=1e-12)
    phi = (0.2 - 0.16) / 0.24
    np.testing.assert_allclose(found.error_correlation[:2, :2], [[1, phi], [phi, 1]])
    assert np.isnan(found.error_correlation[2]).all()  # c never errs
    assert found.oracle == 1.0
    assert found.all_right == pytest.approx(0.4)


def test_the_correlation_is_pearsons_and_the_oracle_bounds_every_member():
    rng = np.random.default_rng(0)
    y = rng.integers(5, size=300)
    probas = {f"m{i}": rng.dirichlet(np.ones(5), size=300) for i in range(4)}
    found = diversity(y, probas)
    wrong = np.array([p.argmax(axis=1) != y for p in probas.values()], dtype=float)
    np.testing.assert_allclose(found.error_correlation, np.corrcoef(wrong))
    np.testing.assert_allclose(found.disagreement, np.abs(wrong[:, None] - wrong[None]).mean(axis=2))
    assert found.oracle == pytest.approx((wrong.min(axis=0) == 0).mean())
    assert found.all_right <= found.accuracy.min() <= found.accuracy.max() <= found.oracle


def test_a_copy_adds_no_diversity():
    found = diversity(Y, {"a": MEMBERS["a"], "again": MEMBERS["a"]})
    assert found.error_correlation[0, 1] == pytest.approx(1.0)
    assert found.disagreement[0, 1] == 0.0
    assert found.oracle == pytest.approx(0.6)


def test_leaving_out_the_useful_member_costs_and_the_misleading_one_gains():
    rng = np.random.default_rng(1)
    y = rng.integers(3, size=400)
    good, fair = (rng.dirichlet(np.ones(3), size=400) + strength * np.eye(3)[y] for strength in (1.0, 0.3))
    bad = rng.dirichlet(np.ones(3), size=400) + 0.6 * np.eye(3)[(y + 1) % 3]
    members = {
        n: p / p.sum(axis=1, keepdims=True) for n, p in {"good": good, "fair": fair, "bad": bad}.items()
    }
    change = leave_one_member_out(y, members)
    assert change["good"]["accuracy"] < -0.05
    assert change["good"]["log_loss"] > 0
    assert change["bad"]["accuracy"] > 0.02
    assert change["bad"]["log_loss"] < 0


def test_too_few_members_and_missing_rows_are_refused():
    with pytest.raises(ValueError, match="leaving one of 1 members out"):
        leave_one_member_out(Y, {"a": MEMBERS["a"]})
    with pytest.raises(ValueError, match="no members"):
        diversity(Y, {})
    with pytest.raises(ValueError, match="NaN"):
        diversity(Y, {"a": MEMBERS["a"], "failed": np.full((5, 2), np.nan)})
