"""Specialists along a tree of groups: P(group) x P(class given group)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from ensemble_minerals.data.oversampling import OverSampler
from ensemble_minerals.data.subproblem import Subproblem
from ensemble_minerals.log_space import log_proba_of_logits
from ensemble_minerals.members.heads.logistic_solver import solve_logistic
from ensemble_minerals.members.inner_folds import inner_folds
from ensemble_minerals.members.strategy import Decomposition, Strategy
from ensemble_minerals.members.training_rows import TrainingRows
from ensemble_minerals.taxonomy import Taxonomy, Tree

FloatMatrix = NDArray[np.floating[Any]]

_C = 300.0
"""Inverse strength of their penalty."""

_FOLDS = 3
"""In which confusions are counted; fewer where a class has fewer row groups."""

_TOLERANCE = 1e-3
"""Of the solver for confusions: they need fewer digits than answers."""


class HierarchicalClassifier(Strategy):
    """One head at every node of a taxonomy; a group of one class needs none.

    Args:
        taxonomy: Nested groups of labels as ``{"mica": ["biotite", "muscovite"], ...}``, or ``"auto"``: groups
            learned from the training rows alone, as classes that an inner cross-validation confuses.
        n_groups: How many groups ``"auto"`` makes; half the number of classes, rounded up, if None.
        head: See `Strategy`.
        sampler: See `Strategy`.
        prior_correction: See `Strategy`.
        random_state: See `Strategy`.

    Attributes:
        taxonomy_: The tree that was used.
    """

    kind = "hierarchical"

    def __init__(
        self,
        taxonomy: Tree | str = "auto",
        n_groups: int | None = None,
        head: Any = None,
        sampler: OverSampler | None = None,
        prior_correction: bool = True,
        random_state: int = 0,
    ) -> None:
        super().__init__(head, sampler, prior_correction, random_state)
        self.taxonomy = taxonomy
        self.n_groups = n_groups

    def decompose(
        self, y: NDArray[np.intp], names: tuple[str, ...], rows: TrainingRows, groups: NDArray[np.intp]
    ) -> Decomposition:
        """A subproblem for each node of the tree, with the rows below it."""
        if isinstance(self.taxonomy, str):
            if self.taxonomy != "auto":
                raise ValueError(f"taxonomy={self.taxonomy!r}: give nested groups of labels, or 'auto'")
            self.taxonomy_ = learn_taxonomy(
                rows, y, groups, names, n_groups=self.n_groups, seed=self.random_state
            )
        else:
            self.taxonomy_ = Taxonomy.from_tree(names, self.taxonomy)
        subproblems = []
        for node in self.taxonomy_.nodes:
            targets = node.targets(y)
            below = np.flatnonzero(targets >= 0)
            subproblems.append(Subproblem(node.name, below, targets[below], len(node.branches)))
        return Decomposition(self.taxonomy_, False, tuple(subproblems))


def learn_taxonomy(
    rows: TrainingRows,
    y: NDArray[np.intp],
    groups: NDArray[np.intp],
    names: tuple[str, ...],
    *,
    n_groups: int | None = None,
    seed: int = 0,
) -> Taxonomy:
    """Group the classes that an inner cross-validation confuses.

    Two classes are as similar as the mean probability that rows of one give to the other, averaged over both
    directions. Average linkage of these similarities gives the groups (Silla & Freitas 2011, section 6, on learned
    hierarchies).

    Args:
        rows: Training rows.
        y: Class positions, shape (n,).
        groups: Row groups, shape (n,).
        names: Class names.
        n_groups: Number of groups; half the number of classes, rounded up, if None.
        seed: Of the inner folds.

    Returns:
        A tree of two levels; without groups for two classes, or where a class has a single row group.
    """
    n_classes = len(names)
    wanted = -(-n_classes // 2) if n_groups is None else n_groups
    folds = inner_folds(y, groups, _FOLDS, seed)
    if n_classes < 3 or folds is None or not 1 < wanted < n_classes:
        return Taxonomy.flat(names)
    confusion = np.zeros((n_classes, n_classes))
    for number in range(folds.max() + 1):
        inner, held_out = np.flatnonzero(folds != number), np.flatnonzero(folds == number)
        if len(np.unique(y[inner])) < n_classes:
            continue
        trained, asked = rows.split(inner, held_out)
        problem = rows.problem(y[inner], np.ones(len(inner)), n_classes, _C)
        (solution,) = solve_logistic(trained, [problem], tol=_TOLERANCE)
        proba = np.exp(log_proba_of_logits(asked @ solution.weight + solution.bias))
        for position in range(n_classes):
            confusion[position] += proba[y[held_out] == position].sum(axis=0)
    confusion /= np.maximum(confusion.sum(axis=1, keepdims=True), 1e-12)
    similarity = (confusion + confusion.T) / 2.0
    distance = similarity.max() - similarity
    np.fill_diagonal(distance, 0.0)
    cluster = fcluster(linkage(squareform(distance, checks=False), "average"), wanted, criterion="maxclust")
    return Taxonomy.from_merges(names, [np.flatnonzero(cluster == c).tolist() for c in np.unique(cluster)])
