"""Conformal sets: coverage on exchangeable data, overall and by class, and a state of plain arrays."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest

from ensemble_minerals.ensemble.conformal import (
    ConformalSets,
    groups_needed,
    leave_one_out_sets,
    set_coverage,
)

K = 3


def draw(rng, n, *, strength=1.5):
    y = rng.choice(K, p=[0.6, 0.3, 0.1], size=n)
    z = rng.normal(size=(n, K)) + np.log([0.6, 0.3, 0.1])
    z[np.arange(n), y] += strength
    p = np.exp(1.5 * z)
    return y, p / p.sum(axis=1, keepdims=True)


def test_sets_by_hand():
    own = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])  # nine rows of class 0
    sets = ConformalSets().fit(np.zeros(9, int), np.column_stack([own, 1 - own]))
    p = sets.p_values([[0.65, 0.35], [0.05, 0.95], [0.5, 0.5]])
    # scores at least as strange as 1 - 0.65: six of nine; (6 + 1) / (9 + 1); nothing is known of class 1
    np.testing.assert_allclose(p, [[0.7, 1.0], [0.1, 1.0], [0.6, 1.0]])
    sets = ConformalSets().fit(
        np.r_[np.zeros(9, int), np.ones(9, int)], np.r_[np.c_[own, 1 - own], np.c_[1 - own, own]]
    )
    assert sets.predict([[0.65, 0.35]], level=0.5).tolist() == [[True, False]]
    assert sets.predict([[0.65, 0.35]], level=0.65).tolist() == [[True, True]]
    # a p-value of exactly 1 - level rules out: the tenth of ten ranks is beyond 90 %
    assert sets.predict([[0.05, 0.95]], level=0.9).tolist() == [[False, True]]
    assert sets.predict([[0.05, 0.95]], level=0.91).tolist() == [[True, True]]


def test_every_class_is_covered_on_exchangeable_data():
    rng = np.random.default_rng(0)
    found = {0.8: [], 0.95: []}
    for _ in range(150):
        sets = ConformalSets().fit(*draw(rng, 250))
        y, p = draw(rng, 500)
        for level, covers in found.items():
            covers.append(set_coverage(y, sets.p_values(p) > 1 - level, level=level))
    for level, covers in found.items():
        assert level - 0.01 <= np.mean([c.coverage for c in covers]) <= level + 0.05
        each = np.mean([c.by_class for c in covers], axis=0)
        assert (each >= level - 0.015).all()
        assert (each <= level + 0.07).all()


def test_the_most_probable_class_is_in_every_set():
    rng = np.random.default_rng(2)
    sets = ConformalSets().fit(*draw(rng, 500, strength=6.0))
    _, p = draw(rng, 300)
    assert (sets.p_values(p).max(axis=1) < 0.1).any()
    assert sets.predict(p, 0.9)[np.arange(300), p.argmax(axis=1)].all()


def test_larger_confidence_gives_larger_sets():
    rng = np.random.default_rng(3)
    sets = ConformalSets().fit(*draw(rng, 300))
    _, p = draw(rng, 200)
    members = [sets.predict(p, level) for level in (0.5, 0.8, 0.9, 0.95, 0.99)]
    for small, large in itertools.pairwise(members):
        assert (large | ~small).all()


@pytest.mark.parametrize(("n", "always"), [(18, True), (19, False)])
def test_a_class_with_few_rows_cannot_be_ruled_out(n, always):
    y = np.r_[np.zeros(100, int), np.ones(n, int)]
    p = np.where(y[:, None] == [0, 1], 0.9, 0.1)
    sets = ConformalSets().fit(y, p)
    assert sets.predict([[0.999, 0.001]], 0.95).tolist() == [[True, always]]
    absent = ConformalSets().fit(np.zeros(100, int), p[:1].repeat(100, axis=0))
    assert absent.predict([[0.999, 0.001]], 0.99).tolist() == [[True, True]]


def test_copies_of_a_photo_count_once():
    rng = np.random.default_rng(4)
    y, p = draw(rng, 80)
    _, new = draw(rng, 50)
    times = rng.integers(1, 6, size=80)
    once = ConformalSets().fit(y, p)
    copied = ConformalSets().fit(
        np.repeat(y, times), np.repeat(p, times, axis=0), groups=np.repeat(np.arange(80), times)
    )
    np.testing.assert_allclose(copied.p_values(new), once.p_values(new))


def test_coverage_holds_for_new_groups_of_similar_photos():
    rng = np.random.default_rng(5)
    covered = []
    for _ in range(200):
        y, p = draw(rng, 200)
        y, p, group = (np.repeat(a, 1 + 9 * (p[:, 0] < 0.2), axis=0) for a in (y, p, np.arange(200)))
        y_new, p_new = draw(rng, 200)
        sets = ConformalSets().fit(y, p, group)
        covered.append(set_coverage(y_new, sets.predict(p_new, 0.9), level=0.9).coverage)
    assert np.mean(covered) == pytest.approx(0.92, abs=0.02)


def test_an_answer_depends_on_no_other_row():
    rng = np.random.default_rng(6)
    sets = ConformalSets().fit(*draw(rng, 100))
    _, p = draw(rng, 40)
    order = rng.permutation(40)
    np.testing.assert_array_equal(sets.p_values(p)[order], sets.p_values(p[order]))
    np.testing.assert_array_equal(sets.p_values(p)[7:8], sets.p_values(p[7:8]))


def test_answering_needs_numpy_alone():
    code = (
        "import sys; import ensemble_minerals.ensemble.conformal; "
        "print([m for m in ('scipy', 'sklearn', 'pandas', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_left_out_row_gets_the_set_of_a_calibration_without_its_group():
    rng = np.random.default_rng(8)
    y, p = draw(rng, 120)
    groups = rng.integers(0, 60, 120)
    found = leave_one_out_sets(y, p, level=0.9, groups=groups)
    for group in np.unique(groups):
        mine = groups == group
        without = ConformalSets().fit(y[~mine], p[~mine], groups[~mine])
        np.testing.assert_array_equal(found[mine], without.predict(p[mine], 0.9))


def test_a_class_can_be_ruled_out_from_as_many_groups_as_are_needed():
    for level in (0.8, 0.9, 0.95, 0.99):
        needed = groups_needed(level)
        for n, ruled_out in ((needed, True), (needed - 1, False)):
            sets = ConformalSets().fit(np.zeros(n, int), np.tile([0.9, 0.1], (n, 1)))
            assert bool(sets.predict([[0.1, 0.9]], level)[0, 0]) is not ruled_out
            assert (0 in sets.never_ruled_out(level)) is not ruled_out


def test_sets_of_the_rows_are_as_large_as_those_of_new_photos():
    """Twenty photos of a class: a calibration without a fold could rule out nothing at 0.95."""
    rng = np.random.default_rng(3)
    y = np.repeat(np.arange(K), 20)
    p = rng.dirichlet(np.ones(K), len(y)) * 0.2
    p[np.arange(len(y)), y] += 0.8
    own = leave_one_out_sets(y, p, level=0.95).sum(axis=1).mean()
    new = ConformalSets().fit(y, p).predict(p, 0.95).sum(axis=1).mean()
    assert own == pytest.approx(new, abs=0.15)
    assert own < 1.5


def test_set_coverage_by_hand():
    sets = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 0]], dtype=bool)
    found = set_coverage([0, 1, 0, 1], sets, level=0.9)
    assert found.coverage == 0.5
    np.testing.assert_array_equal(found.by_class, [0.5, 0.5, np.nan])
    assert found.support.tolist() == [2, 2, 0]
    assert found.mean_size == pytest.approx(5 / 4)
    assert found.sizes.tolist() == [1, 1, 2, 0]


def test_what_cannot_be_calibrated_or_answered_is_refused():
    y, p = draw(np.random.default_rng(9), 30)
    with pytest.raises(ValueError, match="never predicted"):
        ConformalSets().fit(y, np.full_like(p, np.nan))
    with pytest.raises(ValueError, match="expected labels"):
        ConformalSets().fit(y[:-1], p)
    fitted = ConformalSets().fit(y, p)
    with pytest.raises(ValueError, match="calibrated for 3 classes, got 2"):
        fitted.predict([[0.5, 0.5]])
    for level in (0.0, 1.0, 95):
        with pytest.raises(ValueError, match="between 0 and 1"):
            fitted.predict(p, level)


def test_agrees_with_crepes():
    crepes = pytest.importorskip("crepes", reason="NOT RUN: crepes, an independent implementation, is absent")
    rng = np.random.default_rng(10)
    y, p = draw(rng, 200)
    _, new = draw(rng, 100)
    ours = ConformalSets().fit(y, p).p_values(new)
    for k in range(K):
        one = crepes.ConformalClassifier().fit(1 - p[y == k, k])
        np.testing.assert_allclose(ours[:, k], one.predict_p(1 - new[:, [k]], smoothing=False)[:, 0])
