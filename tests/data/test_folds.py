from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ensemble_minerals.data import folds as module
from ensemble_minerals.data.folds import assign_folds, hold_out, inner_split
from ensemble_minerals.errors import DataError


def photos(counts=(54, 136, 130, 186, 62, 77, 110), seed=0, share_grouped=0.3):
    """Unequal classes, some rows in groups of two to eight."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([f"class{number}" for number in range(len(counts))], counts)
    groups = np.arange(len(labels))
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        taken = 0
        while taken < share_grouped * len(rows):
            size = int(rng.integers(2, 9))
            groups[rows[taken : taken + size]] = rows[taken]
            taken += size
    order = rng.permutation(len(labels))
    return labels[order], groups[order]


def straddles(part, groups) -> bool:
    return any(len(set(part[groups == group].tolist())) > 1 for group in np.unique(groups))


def shares(labels, part) -> np.ndarray:
    """For each class and part, the share of the class that lies in the part."""
    return np.array(
        [[np.mean(part[labels == name] == each) for each in np.unique(part)] for name in np.unique(labels)]
    )


@pytest.mark.parametrize("n_splits", [2, 3, 5, 10])
def test_folds_are_stratified_and_grouped(n_splits):
    labels, groups = photos()
    fold = assign_folds(labels, groups, n_splits=n_splits, seed=0)
    assert fold.shape == labels.shape
    assert sorted(set(fold.tolist())) == list(range(n_splits))
    assert not straddles(fold, groups)
    assert np.abs(shares(labels, fold) - 1 / n_splits).max() < 0.06


def test_folds_are_shuffled_and_seeded():
    labels, groups = photos()
    fold = assign_folds(labels, groups, n_splits=5, seed=3)
    assert np.array_equal(fold, assign_folds(labels, groups, n_splits=5, seed=3))
    assert np.mean(fold == assign_folds(labels, groups, n_splits=5, seed=4)) < 0.5


def test_names_of_labels_and_groups_do_not_matter():
    labels, groups = photos()
    fold = assign_folds(labels, groups, n_splits=5, seed=3)
    _, numbers = np.unique(labels, return_inverse=True)
    assert np.array_equal(fold, assign_folds(numbers, groups * 10 + 4, n_splits=5, seed=3))


def test_too_few_groups_names_class_groups_folds_and_way_out():
    labels = ["a"] * 9 + ["rare"] * 8
    groups = [*range(9), 20, 20, 20, 21, 21, 22, 22, 22]
    with pytest.raises(DataError) as caught:
        assign_folds(labels, groups, n_splits=5, seed=0)
    text = str(caught.value)
    assert "5 folds" in text
    assert "'rare' has 3" in text
    assert "'a'" not in text
    assert "at most 3 folds" in text
    assert set(assign_folds(labels, groups, n_splits=3, seed=0).tolist()) == {0, 1, 2}


def test_a_class_in_one_group_cannot_be_folded_at_all():
    with pytest.raises(DataError, match="add photos, or leave the class out") as caught:
        assign_folds(list("aab"), [0, 1, 2], n_splits=2, seed=0)
    assert "use at most" not in str(caught.value)


@pytest.mark.parametrize("n_splits", [1, 0, -3])
def test_at_least_two_folds(n_splits):
    with pytest.raises(DataError, match="at least 2"):
        assign_folds(list("aabb"), range(4), n_splits=n_splits, seed=0)


def test_no_rows():
    with pytest.raises(DataError, match="no usable rows"):
        assign_folds([], [], n_splits=2, seed=0)
    with pytest.raises(ValueError, match="3 labels, but 2 groups"):
        assign_folds(list("aab"), [0, 1], n_splits=2, seed=0)


def lopsided(seed: int):
    """A class of as many groups as folds, of very unequal sizes, beside large groups of other classes."""
    rng = np.random.default_rng(seed)
    labels, groups = [], []
    for name, sizes in {
        "a": [60, 1, 1, 1, 1],
        "b": rng.integers(1, 40, 6),
        "c": rng.integers(1, 40, 5),
        "d": [30, 30, 1, 1, 1, 1],
    }.items():
        for size in sizes:
            labels += [name] * int(size)
            groups += [len(set(groups))] * int(size)
    return np.array(labels), np.array(groups)


def mixed(seed: int):
    """A few groups, some of two classes, as given groups and near-duplicates make them."""
    rng = np.random.default_rng(seed)
    labels, groups = [], []
    for group in range(int(rng.integers(4, 9))):
        for name in set(rng.integers(0, 3, rng.integers(1, 3)).tolist()):
            size = int(rng.integers(1, rng.choice([2, 30])))
            labels += [name] * size
            groups += [group] * size
    return np.array(labels), np.array(groups)


def test_every_fold_holds_every_class_also_where_scikit_learn_leaves_gaps():
    gaps = 0
    for seed in range(100):
        labels, groups = mixed(seed)
        table = module._Table(labels, groups)
        if ((table.counts > 0).sum(axis=0) < 3).any():
            continue
        fold = assign_folds(labels, groups, n_splits=3, seed=seed)
        assert shares(labels, fold).min() > 0
        assert not straddles(fold, groups)
        if table.gaps(table.deal(3, seed), 3):
            gaps += 1
            assert np.array_equal(fold, assign_folds(labels, groups, n_splits=3, seed=seed))
    assert gaps, "scikit-learn leaves no gaps any more: the case is not tested"


def test_gaps_that_no_shuffle_closes_are_filled_by_moving_groups(monkeypatch):
    def all_in_one(table, n_splits, seed):
        return np.zeros(len(table.counts), dtype=np.intp)

    monkeypatch.setattr(module._Table, "deal", all_in_one)
    labels, groups = lopsided(0)
    fold = assign_folds(labels, groups, n_splits=5, seed=0)
    assert shares(labels, fold).shape == (4, 5)
    assert shares(labels, fold).min() > 0
    assert not straddles(fold, groups)


def test_a_gap_is_filled_with_the_smallest_group_that_can_go():
    table = module._Table([*"aaaaaa", *"bbb"], [0, 0, 0, 1, 1, 2, 3, 4, 5])
    fold = np.array([0, 0, 0, 0, 1, 1])
    table.fill_gaps(fold, 2)
    assert fold.tolist() == [0, 0, 1, 0, 1, 1]


def test_groups_of_several_classes_that_forbid_it_are_an_error():
    # a and b have 3 groups each, but two of a's also hold all of the others' rows
    labels = list("abc" * 2 + "a" + "b" + "c")
    groups = [0, 0, 0, 1, 1, 1, 2, 3, 4]
    fold = assign_folds(labels, groups, n_splits=3, seed=0)
    assert shares(np.array(labels), fold).min() > 0
    labels, groups = list("abacbc"), [0, 0, 1, 1, 2, 2]
    with pytest.raises(DataError, match="hold other classes too"):
        assign_folds(labels, groups, n_splits=2, seed=0)


def test_a_straddling_group_is_noticed(monkeypatch):
    class Careless:
        def __init__(self, n_splits, **_):
            self.n_splits = n_splits

        def split(self, X, y, groups):
            for number in range(self.n_splits):
                yield None, np.arange(number, len(y), self.n_splits)

    monkeypatch.setattr("sklearn.model_selection.StratifiedGroupKFold", Careless)
    labels, groups = photos()
    with pytest.raises(RuntimeError, match="straddles"):
        assign_folds(labels, groups, n_splits=5, seed=0)


@pytest.mark.parametrize("fraction", [0.1, 0.15, 0.2, 0.4, 0.5, 0.8])
def test_hold_out_takes_the_fraction_of_every_class(fraction):
    labels, groups = photos()
    held = hold_out(labels, groups, fraction=fraction, seed=0)
    assert held.dtype == bool
    assert not straddles(held, groups)
    assert abs(held.mean() - fraction) < 0.01
    for name in np.unique(labels):
        assert abs(held[labels == name].mean() - fraction) < 0.02


def test_hold_out_is_shuffled_and_seeded():
    labels, groups = photos()
    held = hold_out(labels, groups, fraction=0.2, seed=1)
    assert np.array_equal(held, hold_out(labels, groups, fraction=0.2, seed=1))
    other = hold_out(labels, groups, fraction=0.2, seed=2)
    assert (held & other).sum() < 0.6 * held.sum()


def test_hold_out_has_every_class_on_both_sides():
    labels, groups = lopsided(0)
    for fraction in (0.01, 0.2, 0.9, 0.99):
        held = hold_out(labels, groups, fraction=fraction, seed=0)
        for name in "abcd":
            assert set(held[labels == name].tolist()) == {False, True}
        assert not straddles(held, groups)


def test_hold_out_prefers_not_to_take_a_huge_group():
    labels = np.array(["a"] * 100 + ["b"] * 40)
    groups = np.concatenate([np.zeros(60, dtype=int), np.arange(1, 81)])
    for seed in range(5):
        held = hold_out(labels, groups, fraction=0.2, seed=seed)
        assert held[labels == "a"].sum() == 20
        assert held[labels == "b"].sum() == 8


def test_hold_out_needs_two_groups_of_every_class():
    with pytest.raises(DataError, match="'rare' has 1"):
        hold_out(["a", "a", "rare", "rare"], [0, 1, 2, 2], fraction=0.2, seed=0)
    with pytest.raises(DataError, match=r"no way was found to hold out rows of '[abc]'"):
        hold_out(list("abacbc"), [0, 0, 1, 1, 2, 2], fraction=0.3, seed=0)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_fractions_lie_between_0_and_1(fraction):
    labels, groups = photos()
    with pytest.raises(DataError, match="between 0 and 1"):
        hold_out(labels, groups, fraction=fraction, seed=0)
    with pytest.raises(DataError, match="between 0 and 1"):
        inner_split(labels, groups, fraction=fraction, seed=0)


def test_inner_split_divides_the_rows():
    labels, groups = photos()
    training, validation = inner_split(labels, groups, fraction=0.15, seed=0)
    assert sorted([*training, *validation]) == list(range(len(labels)))
    assert np.all(np.diff(training) > 0)
    assert np.all(np.diff(validation) > 0)
    assert not set(groups[training]) & set(groups[validation])
    assert abs(len(validation) / len(labels) - 0.15) < 0.01
    assert set(labels[training]) == set(labels[validation]) == set(labels)
    again = inner_split(labels, groups, fraction=0.15, seed=0)
    assert np.array_equal(again[1], validation)


def test_inner_split_keeps_a_class_of_one_group_in_training():
    labels = np.array(["a"] * 10 + ["b"] * 10 + ["rare"] * 3)
    groups = np.array([*range(20), 20, 20, 20])
    training, validation = inner_split(labels, groups, fraction=0.3, seed=0)
    assert set(labels[validation]) == {"a", "b"}
    assert (labels[training] == "rare").sum() == 3
    with pytest.raises(DataError, match="at least 2 row groups"):
        inner_split(["a", "b", "b"], [0, 1, 1], fraction=0.5, seed=0)


@st.composite
def sorted_photos(draw):
    """Labels, and row groups that may hold several classes, in any order."""
    sizes = draw(st.lists(st.lists(st.integers(1, 4), min_size=3, max_size=9), min_size=2, max_size=4))
    labels = np.concatenate([np.full(sum(of_class), name) for name, of_class in enumerate(sizes)])
    groups = np.repeat(np.arange(sum(map(len, sizes))), np.concatenate(sizes))
    for _ in range(draw(st.integers(0, 2))):  # an object with two labels
        one, other = draw(st.tuples(st.integers(0, groups.max()), st.integers(0, groups.max())))
        groups[groups == other] = one
    order = np.array(draw(st.permutations(range(len(labels)))))
    return labels[order], groups[order]


@given(sorted_photos(), st.integers(2, 3), st.integers(0, 5))
def test_folds_of_any_photos_divide_no_group_and_lack_no_class(photos, n_splits, seed):
    labels, groups = photos
    try:
        folds = assign_folds(labels, groups, n_splits=n_splits, seed=seed)
    except DataError:  # too many groups of two labels
        assume(False)
    assert set(folds) == set(range(n_splits))
    assert not straddles(folds, groups)
    for fold in range(n_splits):
        assert set(labels[folds == fold]) == set(labels)
    assert (folds == assign_folds(labels, groups, n_splits=n_splits, seed=seed)).all()


@given(sorted_photos(), st.floats(0.05, 0.7), st.integers(0, 5))
def test_parts_of_any_photos_divide_no_group(photos, fraction, seed):
    labels, groups = photos
    training, validation = inner_split(labels, groups, fraction=fraction, seed=seed)
    assert sorted([*training, *validation]) == list(range(len(labels)))
    assert not set(groups[training]) & set(groups[validation])
    assert set(labels[training]) == set(labels)
    try:
        held = hold_out(labels, groups, fraction=fraction, seed=seed)
    except DataError:
        assume(False)
    assert not straddles(held, groups)
    assert set(labels[held]) == set(labels[~held]) == set(labels)
