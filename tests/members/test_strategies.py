"""Flat, one-vs-rest and hierarchical classifiers, and what they share."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from ensemble_minerals.config.schema import Config
from ensemble_minerals.data.oversampling import OverSampler
from ensemble_minerals.errors import TaxonomyError
from ensemble_minerals.members.flat import FlatClassifier
from ensemble_minerals.members.heads.logistic import LogisticHead
from ensemble_minerals.members.heads.mlp import MLPHead
from ensemble_minerals.members.hierarchical import HierarchicalClassifier, learn_taxonomy
from ensemble_minerals.members.one_vs_rest import OneVsRestClassifier
from ensemble_minerals.members.registry import STRATEGIES, build_strategy
from ensemble_minerals.members.row_space import RowSpace
from ensemble_minerals.members.training_rows import TrainingRows
from ensemble_minerals.taxonomy import Taxonomy

NAMES = np.array(["biotite", "bornite", "muscovite", "pyrite", "quartz"])
COUNTS = (30, 24, 20, 16, 10)
TREE = {"mica": ["biotite", "muscovite"], "metallic": ["bornite", "pyrite"], "clear": ["quartz"]}
NESTED = {"shiny": {"mica": ["biotite", "muscovite"], "metallic": ["bornite", "pyrite"]}}
QUICK = MLPHead(hidden=(8,), max_epochs=25, learning_rate=0.03, dropout=0.0)

ALL = [
    FlatClassifier(),
    OneVsRestClassifier(sampler=OverSampler("random")),
    HierarchicalClassifier(TREE, sampler=OverSampler("smote")),
    HierarchicalClassifier(NESTED, head=LogisticRegression()),
    HierarchicalClassifier("auto", head=QUICK),
    OneVsRestClassifier(head=QUICK, sampler=OverSampler("random")),
]
IDS = ["flat", "one_vs_rest", "tree", "nested", "auto-mlp", "one_vs_rest-mlp"]
each = pytest.mark.parametrize("strategy", ALL, ids=IDS)


def specimens(counts=COUNTS, d=7, seed=0, spread=1.0):
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(len(counts)), counts)
    centers = 1.3 * np.random.default_rng(17).normal(size=(len(counts), d))
    order = rng.permutation(len(codes))
    X = 5 + 3 * (centers[codes] + spread * rng.normal(size=(len(codes), d)))
    return X[order], NAMES[codes][order]


def by_hand(X, y, new, targets, branches, C=300.0):
    """Answers of a plain logistic regression for one decision, in the row space of all rows."""
    space = RowSpace()
    Z = space.fit_transform(X)
    known = np.isin(y, [name for branch in branches for name in branch])
    codes = np.array([next(b for b, names in enumerate(branches) if name in names) for name in y[known]])
    head = LogisticRegression(C=C, tol=1e-9, max_iter=5000).fit(Z[known], codes)
    assert len(branches) == targets
    return head.predict_proba(space.transform(new))


@each
def test_answers_are_distributions_over_the_sorted_classes(strategy):
    X, y = specimens()
    new, truth = specimens(seed=1)
    fitted = clone(strategy).fit(X, y)
    proba = fitted.predict_proba(new)
    assert fitted.classes_.tolist() == sorted(NAMES)
    assert proba.shape == (100, 5)
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)
    np.testing.assert_allclose(np.exp(fitted.predict_log_proba(new)), proba)
    np.testing.assert_array_equal(fitted.predict(new), fitted.classes_[proba.argmax(axis=1)])
    assert fitted.score(new, truth) > 0.6


@each
def test_one_seed_one_result(strategy):
    X, y = specimens()
    first, second = (clone(strategy).fit(X, y).predict_proba(X) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    if strategy.sampler is not None or isinstance(strategy.head, MLPHead):
        other = clone(strategy).set_params(random_state=1).fit(X, y).predict_proba(X)
        assert not np.array_equal(first, other)


@each
def test_columns_belong_to_names_and_not_to_positions(strategy):
    X, y = specimens()
    mirror = dict(zip(NAMES, NAMES[::-1], strict=True))

    def mirrored(tree):
        if isinstance(tree, dict):
            return {group: mirrored(below) for group, below in tree.items()}
        return tree if isinstance(tree, str) else [mirror[name] for name in tree]

    other = clone(strategy)
    if isinstance(strategy, HierarchicalClassifier):
        other.set_params(taxonomy=mirrored(strategy.taxonomy))
    names = np.array([mirror[name] for name in y])
    fitted, other = clone(strategy).fit(X, y), other.fit(X, names)
    assert other.score(X, names) > 0.8
    if strategy.sampler is None and not isinstance(strategy.head, MLPHead):  # nothing is drawn
        np.testing.assert_allclose(other.predict_proba(X)[:, ::-1], fitted.predict_proba(X), atol=1e-3)


@each
def test_two_classes(strategy):
    X, y = specimens((30, 15))
    if not isinstance(getattr(strategy, "taxonomy", "auto"), str):
        strategy = clone(strategy).set_params(taxonomy={"all": ["biotite", "bornite"]})
    fitted = clone(strategy).fit(X, y)
    assert fitted.predict_proba(X).shape == (45, 2)
    assert fitted.score(X, y) > 0.8


def test_flat_is_one_head_over_all_classes():
    X, y = specimens()
    new, _ = specimens(seed=1)
    expected = by_hand(X, y, new, 5, [[name] for name in NAMES])
    fitted = FlatClassifier().fit(X, y)
    np.testing.assert_allclose(fitted.predict_proba(new), expected, atol=2e-4)
    assert len(fitted.predictor_.specialists[0]) == 1


def test_one_vs_rest_is_a_normalized_binary_head_a_class():
    X, y = specimens()
    new, _ = specimens(seed=1)
    positive = np.column_stack(
        [by_hand(X, y, new, 2, [[other for other in NAMES if other != name], [name]])[:, 1] for name in NAMES]
    )
    fitted = OneVsRestClassifier().fit(X, y)
    expected = positive / positive.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(fitted.predict_proba(new), expected, atol=5e-4)
    assert len(fitted.predictor_.specialists[0]) == 5


def test_hierarchical_is_the_product_of_group_and_class_in_group():
    X, y = specimens()
    new, _ = specimens(seed=1)
    group = by_hand(X, y, new, 3, [["biotite", "muscovite"], ["bornite", "pyrite"], ["quartz"]])
    mica = by_hand(X, y, new, 2, [["biotite"], ["muscovite"]])
    metallic = by_hand(X, y, new, 2, [["bornite"], ["pyrite"]])
    expected = np.column_stack(
        [
            group[:, 0] * mica[:, 0],
            group[:, 1] * metallic[:, 0],
            group[:, 0] * mica[:, 1],
            group[:, 1] * metallic[:, 1],
            group[:, 2],
        ]
    )
    fitted = HierarchicalClassifier(TREE).fit(X, y)
    np.testing.assert_allclose(fitted.predict_proba(new), expected, atol=2e-4)
    assert len(fitted.predictor_.specialists[0]) == 3  # a group of one class needs no specialist


def test_nested_groups_are_multiplied_all_the_way_down():
    X, y = specimens()
    new, _ = specimens(seed=1)
    micas, metals = ["biotite", "muscovite"], ["bornite", "pyrite"]
    shiny = by_hand(X, y, new, 2, [micas + metals, ["quartz"]])
    kind = by_hand(X, y, new, 2, [micas, metals])
    mica = by_hand(X, y, new, 2, [["biotite"], ["muscovite"]])
    fitted = HierarchicalClassifier(NESTED).fit(X, y)
    proba = fitted.predict_proba(new)
    np.testing.assert_allclose(proba[:, 2], shiny[:, 0] * kind[:, 0] * mica[:, 1], atol=2e-4)
    np.testing.assert_allclose(proba[:, 4], shiny[:, 1], atol=2e-4)
    assert [node.name for node in fitted.taxonomy_.nodes] == ["root", "shiny", "mica", "metallic"]


def test_groups_of_one_class_each_are_a_flat_classifier():
    X, y = specimens()
    tree = {name.upper(): [name] for name in NAMES}
    fitted = HierarchicalClassifier(tree).fit(X, y)
    assert fitted.taxonomy_.is_flat
    np.testing.assert_array_equal(fitted.predict_proba(X), FlatClassifier().fit(X, y).predict_proba(X))


def test_wrong_trees():
    X, y = specimens()
    with pytest.raises(TaxonomyError, match="'biotit'"):
        HierarchicalClassifier({"mica": ["biotit", "muscovite"]}).fit(X, y)
    with pytest.raises(ValueError, match=r"taxonomy='automatic'.*'auto'"):
        HierarchicalClassifier("automatic").fit(X, y)


def twins(seed=0, n=24):
    """Classes 0 and 3 look alike, so do 1 and 2; each row has a partner in its row group."""
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(4), n)
    centers = 4 * np.array([[1.0, 0], [-1, 0], [-1, 0.12], [1, 0.12]])
    return centers[codes] + rng.normal(size=(4 * n, 2)), codes, np.arange(4 * n) // 2


def test_auto_groups_are_the_classes_that_are_confused():
    X, y, groups = twins()
    rows = TrainingRows.of(X)
    names = ("a", "b", "c", "d")
    learned = learn_taxonomy(rows, y, groups, names)
    assert {node.name for node in learned.nodes} == {"root", "a+d", "b+c"}
    assert learned == Taxonomy.from_merges(names, [[0, 3], [1, 2]])
    three = learn_taxonomy(rows, y, groups, names, n_groups=3)
    assert len(three.group_names) == 3
    fitted = HierarchicalClassifier("auto").fit(X, np.array(names)[y], groups=groups)
    assert fitted.taxonomy_.nodes[0].labels == learned.nodes[0].labels
    np.testing.assert_allclose(fitted.predict_proba(X).sum(axis=1), 1.0)


def test_inner_folds_of_auto_groups_do_not_split_row_groups():
    X, y, groups = twins()
    seen = []

    class Spy(TrainingRows):
        def split(self, trained, held_out):
            seen.append((trained, held_out))
            return super().split(trained, held_out)

    learn_taxonomy(Spy.of(X), y, groups, ("a", "b", "c", "d"))
    predicted = []
    for trained, held_out in seen:
        assert not set(groups[trained]) & set(groups[held_out])
        predicted += held_out.tolist()
    assert sorted(predicted) == list(range(len(X)))


def test_inner_folds_of_auto_groups_are_found_once_for_all_features(monkeypatch):
    X, y, groups = twins()
    asked = []

    def spy(n_splits, **settings):
        asked.append(settings["random_state"])
        return StratifiedGroupKFold(n_splits, **settings)

    monkeypatch.setattr("ensemble_minerals.members.inner_folds.StratifiedGroupKFold", spy)
    for rows in (TrainingRows.of(X), TrainingRows.of(X[:, ::-1].copy())):
        for seed in (71, 72):
            learn_taxonomy(rows, y, groups, ("a", "b", "c", "d"), seed=seed)
    assert asked == [71, 72]


@pytest.mark.parametrize(
    ("change", "n_groups"),
    [
        ("two classes", None),
        ("one row group", None),
        ("asked for one", 1),
        ("asked for as many as classes", 4),
    ],
)
def test_auto_without_anything_to_group_is_flat(change, n_groups):
    X, y, groups = twins()
    names = ("a", "b", "c", "d")
    if change == "two classes":
        X, y, groups, names = X[y < 2], y[y < 2], groups[y < 2], names[:2]
    if change == "one row group":
        groups = np.where(y == 2, 1000, groups)
    assert learn_taxonomy(TrainingRows.of(X), y, groups, names, n_groups=n_groups).is_flat


def test_auto_uses_fewer_inner_folds_for_a_class_of_two_row_groups(monkeypatch):
    X, y, groups = twins()
    groups = np.where(y == 1, 1000 + np.arange(len(y)) % 2, groups)
    asked = []

    def spy(n_splits, **settings):
        asked.append(n_splits)
        return StratifiedGroupKFold(n_splits, **settings)

    monkeypatch.setattr("ensemble_minerals.members.inner_folds.StratifiedGroupKFold", spy)
    learned = learn_taxonomy(TrainingRows.of(X), y, groups, ("a", "b", "c", "d"))
    assert asked == [2]
    assert {position for node in learned.nodes for position in node.members} == {0, 1, 2, 3}


@each
def test_labels_may_be_numbers(strategy):
    X, y = specimens()
    numbers = np.searchsorted(NAMES, y) * 10
    tree = {"even": ["0", "20"], "odd": {"low": ["10", "30"], "high": ["40"]}}
    if not isinstance(getattr(strategy, "taxonomy", "auto"), str):
        strategy = clone(strategy).set_params(taxonomy=tree)
    fitted = clone(strategy).fit(X, numbers)
    assert fitted.classes_.tolist() == [0, 10, 20, 30, 40]
    assert fitted.score(X, numbers) > 0.7


@each
def test_an_answer_does_not_depend_on_the_other_rows(strategy):
    X, y = specimens(d=300)
    fitted = clone(strategy).fit(X.astype(np.float32), y)
    new = specimens(d=300, seed=1)[0].astype(np.float32)
    together = fitted.predict_proba(new)
    np.testing.assert_allclose(fitted.predict_proba(new[::-1])[::-1], together, rtol=1e-8, atol=1e-12)
    for row in (0, 57, 99):
        np.testing.assert_allclose(fitted.predict_proba(new[[row]])[0], together[row], rtol=1e-8, atol=1e-12)


def test_notes_tell_of_samplers_that_were_replaced():
    X, y = specimens((30, 20, 20, 20, 4))
    fitted = OneVsRestClassifier(sampler=OverSampler("smote")).fit(X, y)
    assert len(fitted.notes_) == 1
    assert fitted.notes_[0].startswith("quartz against the rest: class 1 has 4 rows")
    assert HierarchicalClassifier(TREE, sampler=OverSampler("smote")).fit(*specimens()).notes_ == ()


def test_groups_must_be_one_a_row():
    X, y = specimens()
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        FlatClassifier().fit(X, y, groups=np.arange(99))


def test_one_class_is_an_error():
    X, _ = specimens()
    with pytest.raises(ValueError, match="at least two classes; the data has one class: 'quartz'"):
        FlatClassifier().fit(X, ["quartz"] * len(X))


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("head", ["logistic", "mlp"])
def test_configuration_becomes_an_estimator(strategy, head):
    member = {
        "name": "one",
        "features": ["descriptor"],
        "strategy": strategy,
        "head": {"kind": head},
        "sampler": {"kind": "smote", "k_neighbors": 3, "ratio": 0.8},
        "prior_correction": False,
    }
    (configured,) = Config.model_validate({"members": [member]}).expanded_members()
    built = build_strategy(configured, TREE, seed=5)
    assert type(built) is STRATEGIES[strategy]
    assert type(built.head) is {"logistic": LogisticHead, "mlp": MLPHead}[head]
    assert built.sampler.get_params() == {
        "kind": "smote", "k_neighbors": 3, "ratio": 0.8, "random_state": 0,
    }  # fmt: skip
    assert (built.random_state, built.prior_correction) == (5, False)
    assert getattr(built, "taxonomy", TREE) == TREE
    assert clone(built).fit(*specimens()).predict_proba(specimens()[0]).shape == (100, 5)
