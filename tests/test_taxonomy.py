from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ensemble_minerals.errors import TaxonomyError
from ensemble_minerals.taxonomy import MINERAL_GROUPS, Taxonomy

SEVEN = ("biotite", "bornite", "chrysocolla", "malachite", "muscovite", "pyrite", "quartz")
NESTED = {
    "green": {"copper": ["chrysocolla", "malachite"], "other": ["quartz"]},
    "mica": ["biotite", "muscovite"],
}


def random_branches(taxonomy: Taxonomy, n: int = 6) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [np.log(rng.dirichlet(np.ones(len(node.branches)), size=n)) for node in taxonomy.nodes]


@pytest.mark.parametrize("tree", [{}, MINERAL_GROUPS, NESTED])
def test_expanded_probabilities_sum_to_one_and_roll_up_to_the_root(tree: dict) -> None:
    taxonomy = Taxonomy.from_tree(SEVEN, tree)
    branches = random_branches(taxonomy)
    proba = np.exp(taxonomy.expand_log(branches))
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)
    np.testing.assert_allclose(taxonomy.roll_up(proba), np.exp(branches[0]))


def test_probability_of_a_class_is_the_product_along_its_path() -> None:
    taxonomy = Taxonomy.from_tree(SEVEN, NESTED)
    branches = random_branches(taxonomy)
    by_name = {
        node.name: (node, np.exp(branch)) for node, branch in zip(taxonomy.nodes, branches, strict=True)
    }
    path = [("root", "green"), ("green", "copper"), ("copper", "malachite")]
    expected = np.prod(
        [by_name[node][1][:, by_name[node][0].labels.index(branch)] for node, branch in path], axis=0
    )
    proba = np.exp(taxonomy.expand_log(branches))
    np.testing.assert_allclose(proba[:, SEVEN.index("malachite")], expected)


def test_a_group_of_one_class_needs_no_node() -> None:
    taxonomy = Taxonomy.for_minerals(SEVEN)
    assert taxonomy is not None
    assert [node.name for node in taxonomy.nodes] == ["root", "mica", "copper-green", "metallic"]
    assert taxonomy.group_names == ("mica", "copper-green", "metallic", "quartz")


def test_targets_name_the_branch_and_minus_one_elsewhere() -> None:
    taxonomy = Taxonomy.from_tree(SEVEN, MINERAL_GROUPS)
    mica = next(node for node in taxonomy.nodes if node.name == "mica")
    assert mica.targets(np.array([0, 4, 6, 0])).tolist() == [0, 1, -1, 0]


@pytest.mark.parametrize("tree", [{}, MINERAL_GROUPS, NESTED])
def test_tree_round_trips(tree: dict) -> None:
    taxonomy = Taxonomy.from_tree(SEVEN, tree)
    assert Taxonomy.from_tree(SEVEN, taxonomy.to_tree()) == taxonomy


def test_unknown_classes_have_no_built_in_groups() -> None:
    assert Taxonomy.for_minerals(["quartz", "feldspar"]) is None
    restricted = Taxonomy.for_minerals(["biotite", "muscovite", "quartz"])
    assert restricted is not None
    assert restricted.group_names == ("mica", "quartz")


@pytest.mark.parametrize(
    ("tree", "needle"),
    [
        ({"mica": ["biotit"]}, "'biotit'"),
        ({"a": ["quartz"], "b": ["quartz"]}, "is already in 'a'"),
        ({"a": []}, "is empty"),
        ({"quartz": ["biotite", "muscovite"]}, "bears the name of the class 'quartz'"),
        ({"a": 3}, "must be a list"),
    ],
)
def test_wrong_trees_say_what_and_where(tree: dict, needle: str) -> None:
    with pytest.raises(TaxonomyError, match=needle):
        Taxonomy.from_tree(SEVEN, tree)


def test_two_classes_of_one_group_collapse_to_the_root() -> None:
    taxonomy = Taxonomy.from_tree(["biotite", "muscovite"], {"mica": ["biotite", "muscovite"]})
    proba = np.exp(taxonomy.expand_log(random_branches(taxonomy)))
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)


@pytest.mark.parametrize("groups", [[[0, 1], [2], [3]], [[2], [0, 1], [3]], [[0, 1], [2, 3]], [[0, 1, 2, 3]]])
def test_learned_groups_next_to_a_class_that_is_called_like_one(groups):
    taxonomy = Taxonomy.from_merges(("a", "b", "a+b", "a+b+"), groups)
    found = [sorted(branch) for branch in taxonomy.nodes[0].branches]
    assert found == (groups if len(groups) > 1 else [[0], [1], [2], [3]])
    assert len(set(taxonomy.group_names)) == len(found)
    assert Taxonomy.from_tree(taxonomy.classes, taxonomy.to_tree()) == taxonomy


@st.composite
def any_taxonomy(draw) -> Taxonomy:
    """Classes in groups of groups."""
    classes = draw(st.lists(st.text(min_size=1), min_size=1, max_size=8, unique=True))
    branches: list = list(draw(st.permutations(classes)))
    number = 0
    while len(branches) > 1 and draw(st.booleans()):
        at = draw(st.integers(0, len(branches) - 1))
        taken = branches[at : at + draw(st.integers(2, 4))]
        number += 1
        branches[at : at + len(taken)] = [(f"group {number} of {len(classes)} classes", taken)]

    def tree(content: list) -> dict:
        return {one if isinstance(one, str) else one[0]: [one] if isinstance(one, str) else tree(one[1])
                for one in content}  # fmt: skip

    return Taxonomy.from_tree(classes, tree(branches))


@given(any_taxonomy())
def test_any_tree_is_written_and_read_and_its_probabilities_sum_to_one(taxonomy: Taxonomy) -> None:
    assert Taxonomy.from_tree(taxonomy.classes, taxonomy.to_tree()) == taxonomy
    assert sorted(taxonomy.nodes[0].members) == list(range(len(taxonomy.classes)))
    branches = random_branches(taxonomy)
    proba = np.exp(taxonomy.expand_log(branches))
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)
    np.testing.assert_allclose(taxonomy.roll_up(proba), np.exp(branches[0]))
