"""Class names in order, the tree of their groups, and probabilities along that tree.

A taxonomy is a tree whose leaves are the classes. A *node* is an inner vertex: the root, or a group with two or more
children. The probability of a class is the product of the branch probabilities on the path to it (Silla and Freitas
2011, Data Mining and Knowledge Discovery 22, section 4: local classifier per parent node).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.errors import TaxonomyError

Tree = Mapping[str, Any]
"""Nested groups in a configuration: ``{"mica": ["biotite", "muscovite"], "quartz": ["quartz"]}``."""

MINERAL_GROUPS: dict[str, list[str]] = {
    "mica": ["biotite", "muscovite"],
    "copper-green": ["chrysocolla", "malachite"],
    "metallic": ["bornite", "pyrite"],
    "quartz": ["quartz"],
}
"""The built-in groups of the seven minerals."""


@dataclass(frozen=True)
class Node:
    """An inner vertex of the tree.

    Attributes:
        name: Name of the group; ``"root"`` for the root.
        parent: Index of the parent node, -1 for the root.
        branch: Number of the parent's branch that leads to this node, -1 for the root.
        branches: For each branch, the positions of the classes below it, in class order.
        labels: Names of the branches: the name of a class or of a group.
    """

    name: str
    parent: int
    branch: int
    branches: tuple[tuple[int, ...], ...]
    labels: tuple[str, ...]

    @property
    def members(self) -> tuple[int, ...]:
        """Positions of all classes below this node, ascending."""
        return tuple(sorted(position for branch in self.branches for position in branch))

    def targets(self, y: NDArray[np.intp]) -> NDArray[np.intp]:
        """Branch of each row.

        Args:
            y: Class positions, shape (n,).

        Returns:
            Branch of each row, -1 for a class that is not below this node, shape (n,).
        """
        size = max(int(y.max(initial=-1)), *self.members) + 1
        lookup = np.full(size, -1, dtype=np.intp)
        for branch, positions in enumerate(self.branches):
            lookup[list(positions)] = branch
        return lookup[y]


@dataclass(frozen=True)
class Taxonomy:
    """Class names in order, and the tree of their groups.

    Attributes:
        classes: Class names, in the order of all probability columns.
        nodes: Inner vertices, parents before children; ``nodes[0]`` is the root.

    Example:
        >>> taxonomy = Taxonomy.from_tree(("biotite", "muscovite", "quartz"), {"mica": ["biotite", "muscovite"]})
        >>> taxonomy.group_names
        ('mica', 'quartz')
        >>> taxonomy.roll_up(np.array([[0.5, 0.25, 0.25]])).tolist()
        [[0.75, 0.25]]
    """

    classes: tuple[str, ...]
    nodes: tuple[Node, ...]

    @classmethod
    def from_tree(cls, classes: Sequence[str], tree: Tree) -> Taxonomy:
        """Build a taxonomy from nested groups of class names.

        Args:
            classes: All class names, in the order of the probability columns.
            tree: Groups by name; a value is a list of class names or a nested mapping of groups. Classes in no group
                become branches of the root.

        Raises:
            TaxonomyError: If a name is no class or is there twice, or a group is empty.
        """
        ordered = tuple(classes)
        if len(set(ordered)) != len(ordered):
            raise TaxonomyError(f"class names must differ from each other, got {list(ordered)}")
        seen: dict[str, str] = {}
        root = _prune(tree, ordered, seen, "root")
        root.extend(name for name in ordered if name not in seen)
        while len(root) == 1 and not isinstance(root[0], str):  # a single group with all classes is the root
            root = root[0][1]
        nodes: list[Node] = []
        _grow("root", root, {name: position for position, name in enumerate(ordered)}, -1, -1, nodes)
        return cls(ordered, tuple(nodes))

    @classmethod
    def flat(cls, classes: Sequence[str]) -> Taxonomy:
        """A taxonomy without groups: every class is a branch of the root."""
        return cls.from_tree(classes, {})

    @classmethod
    def from_merges(cls, classes: Sequence[str], groups: Sequence[Sequence[int]]) -> Taxonomy:
        """Build a taxonomy with one level of groups, named after their classes.

        Args:
            classes: All class names.
            groups: Positions of the classes of each group.

        Example:
            >>> Taxonomy.from_merges(("a", "b", "c"), [[0, 2], [1]]).group_names
            ('a+c', 'b')
        """
        tree: dict[str, list[str]] = {}
        for group in groups:
            below = [classes[position] for position in sorted(group)]
            name = "+".join(below)
            while name in tree or (len(below) > 1 and name in classes):  # a class can have the name "a+b"
                name += "+"
            tree[name] = below
        return cls.from_tree(classes, tree)

    @classmethod
    def for_minerals(cls, classes: Sequence[str]) -> Taxonomy | None:
        """The built-in groups of some of the seven minerals; None if another class is among `classes`."""
        known = {name for members in MINERAL_GROUPS.values() for name in members}
        if not set(classes) <= known:
            return None
        tree = {
            group: [name for name in members if name in classes]
            for group, members in MINERAL_GROUPS.items()
            if any(name in classes for name in members)
        }
        return cls.from_tree(classes, tree)

    @property
    def group_names(self) -> tuple[str, ...]:
        """Names of the root's branches."""
        return self.nodes[0].labels

    @property
    def is_flat(self) -> bool:
        """Whether there is no group at all."""
        return len(self.nodes) == 1

    def group_of(self) -> NDArray[np.intp]:
        """The branch of the root that leads to each class, shape (n_classes,)."""
        group = np.empty(len(self.classes), dtype=np.intp)
        for branch, positions in enumerate(self.nodes[0].branches):
            group[list(positions)] = branch
        return group

    def roll_up(self, proba: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """Sum the class probabilities, shape (n, n_classes), of each root group; shape (n, n_groups)."""
        return np.stack([proba[:, list(b)].sum(axis=1) for b in self.nodes[0].branches], axis=1)

    def expand_log(self, branch_log_proba: Sequence[NDArray[np.floating[Any]]]) -> NDArray[np.floating[Any]]:
        """Log-probabilities of the classes: sums of the log-probabilities of the branches on the path to each class.

        Args:
            branch_log_proba: An array for each node, in the order of `nodes`, of shape (n, n_branches).

        Returns:
            Shape (n, n_classes). The probabilities of a row sum to 1 if those of the branches of every node do.
        """
        n = branch_log_proba[0].shape[0]
        out = np.zeros((n, len(self.classes)), dtype=branch_log_proba[0].dtype)
        for node, log_proba in zip(self.nodes, branch_log_proba, strict=True):
            for branch, positions in enumerate(node.branches):
                out[:, list(positions)] += log_proba[:, [branch]]
        return out

    def to_tree(self) -> dict[str, Any]:
        """The nested groups, from which `from_tree` makes the same taxonomy."""
        return self._subtree(0)

    def _subtree(self, index: int) -> dict[str, Any]:
        node = self.nodes[index]
        children = {child.branch: i for i, child in enumerate(self.nodes) if child.parent == index}
        tree: dict[str, Any] = {}
        for branch, label in enumerate(node.labels):
            if branch in children:
                below = self._subtree(children[branch])
                nested = any(isinstance(value, dict) or value != [key] for key, value in below.items())
                tree[label] = below if nested else list(below)
            else:
                tree[label] = [self.classes[node.branches[branch][0]]]
        return tree


def _prune(tree: Tree, classes: tuple[str, ...], seen: dict[str, str], where: str) -> list[Any]:
    """Check names, and turn nested mappings into [(group, [...]), class, ...]; a group of one becomes its class."""
    branches: list[Any] = []
    for group, content in tree.items():
        path = f"{where}.{group}" if where != "root" else str(group)
        listed = [content] if isinstance(content, str) else content
        if isinstance(listed, Mapping):
            below = _prune(listed, classes, seen, path)
        elif isinstance(listed, Sequence):
            below = []
            for name in listed:
                if name not in classes:
                    raise TaxonomyError(
                        f"taxonomy.{path} names {name!r}, which is no class here; the classes are "
                        f"{', '.join(classes)}"
                    )
                if name in seen:
                    raise TaxonomyError(
                        f"taxonomy.{path} names {name!r} again; it is already in {seen[name]!r}: "
                        "a class belongs to one group"
                    )
                seen[name] = path
                below.append(name)
        else:
            raise TaxonomyError(f"taxonomy.{path} must be a list of classes or a mapping, got {content!r}")
        if group in classes and group not in _names(below):
            raise TaxonomyError(
                f"taxonomy.{path} bears the name of the class {group!r}, which is not in it; give the group "
                "another name"
            )
        if not below:
            raise TaxonomyError(f"taxonomy.{path} is empty; list its classes or remove the group")
        branches.append(below[0] if len(below) == 1 else (str(group), below))
    return branches


def _names(content: list[Any]) -> set[str]:
    """Names of all classes in a group."""
    return {name for child in content for name in ([child] if isinstance(child, str) else _names(child[1]))}


def _grow(
    name: str, content: list[Any], position: Mapping[str, int], parent: int, branch: int, nodes: list[Node]
) -> tuple[int, ...]:
    """Append a node and all nodes below it to `nodes`; return the positions of its classes."""
    index = len(nodes)
    nodes.append(Node(name, parent, branch, (), ()))
    branches: list[tuple[int, ...]] = []
    labels: list[str] = []
    for number, child in enumerate(content):
        if isinstance(child, str):
            branches.append((position[child],))
            labels.append(child)
        else:
            branches.append(_grow(child[0], child[1], position, index, number, nodes))
            labels.append(child[0])
    nodes[index] = Node(name, parent, branch, tuple(branches), tuple(labels))
    return nodes[index].members
