"""Folds: a hold-out, and stratified folds that keep row groups together.

Folds are a column of the manifest, written once. All rows of a row group are in one fold.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ensemble_minerals.errors import DataError

HOLDOUT_FOLD = 0
"""Fold of the rows that a plain hold-out predicts. No other fold is predicted then."""

NO_FOLD = -1
"""Fold of a row that is in no fold. No row of a fit is, so holding out this fold means training on all rows."""

TEST_FOLD = -2
"""Fold of a row that is set aside before the folds are drawn, and scored at the end."""

TRAINING_FOLD = -3
"""Fold of a row that is only trained on, never predicted: there is a plain hold-out instead of folds."""

_SHUFFLES = 10
_STEPS = 2000


def assign_folds(labels: ArrayLike, groups: ArrayLike, *, n_splits: int, seed: int) -> NDArray[np.intp]:
    """Stratified and shuffled folds that keep groups together, with every class in every fold.

    scikit-learn's `StratifiedGroupKFold` assigns groups greedily; with large groups, a fold may lack a class (a gap).
    Then further shuffles are tried, with seeds derived from `seed`. The best balanced of those with the fewest gaps
    is used, and its gaps are filled by moving groups.

    Args:
        labels: Shape (n,), class of each row.
        groups: Shape (n,), row group of each row.
        n_splits: Number of folds, at least 2.
        seed: Same seed, same folds.

    Returns:
        Fold of each row, 0 to n_splits - 1, shape (n,).

    Raises:
        DataError: If a class has fewer row groups than there are folds, or if no way was found to give every fold
            every class.

    Example:
        >>> assign_folds(["a", "a", "a", "b", "b"], [0, 0, 1, 2, 3], n_splits=2, seed=0).tolist()
        [0, 0, 1, 1, 0]
    """
    if n_splits < 2:
        raise DataError(f"n_splits is {n_splits}; at least 2 folds are needed")
    table = _Table(labels, groups)
    table.require_groups(n_splits, f"{n_splits} folds need")
    candidates = [table.deal(n_splits, seed)]
    if table.gaps(candidates[0], n_splits):
        candidates.extend(table.deal(n_splits, derived) for derived in _derived_seeds(seed))
        candidates.sort(key=lambda fold: (table.gaps(fold, n_splits), table.imbalance(fold, n_splits)))
    for fold in candidates:
        table.fill_gaps(fold, n_splits)
        if table.gaps(fold, n_splits):
            table.search(fold, n_splits, seed)
        if not table.gaps(fold, n_splits):
            return fold[table.group]
    lacking = np.flatnonzero((table.per_fold(candidates[0], n_splits) == 0).any(axis=0))
    names = ", ".join(repr(str(table.classes[position])) for position in lacking)
    raise DataError(
        f"no way was found to give each of {n_splits} folds a row of {names}: too many of its row groups hold "
        "other classes too; use fewer folds or smaller groups"
    )


def hold_out(labels: ArrayLike, groups: ArrayLike, *, fraction: float, seed: int) -> NDArray[np.bool_]:
    """Choose test rows: whole groups, and about the same fraction of every class.

    Args:
        labels: Shape (n,), class of each row.
        groups: Shape (n,), row group of each row.
        fraction: Share of the rows to hold out, between 0 and 1.
        seed: Same seed, same rows.

    Returns:
        True for the test rows, shape (n,). Every class is among the test rows and among the others.

    Raises:
        DataError: If the fraction is not between 0 and 1, or a class cannot be divided.
    """
    table = _Table(labels, groups)
    table.require_groups(2, "a hold-out needs")
    chosen = table.draw(fraction, seed)
    lacking = chosen @ table.counts == 0
    if lacking.any():
        names = ", ".join(repr(str(name)) for name in table.classes[lacking])
        raise DataError(
            f"no way was found to hold out rows of {names} and to keep some: its row groups hold other classes "
            "too; use smaller groups"
        )
    return chosen[table.group]


def inner_split(
    labels: ArrayLike, groups: ArrayLike, *, fraction: float, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Divide the training rows of a fold into rows to train on and validation rows for early stopping.

    A class with a single row group is only trained on. Every other class is in both parts if its groups allow it.

    Args:
        labels: Shape (n,), class of each row.
        groups: Shape (n,), row group of each row.
        fraction: Share of the validation rows, between 0 and 1.
        seed: Same seed, same rows.

    Returns:
        Positions of the training rows and of the validation rows, both ascending.

    Raises:
        DataError: If the fraction is not between 0 and 1, or no class has a second row group.
    """
    table = _Table(labels, groups)
    chosen = table.draw(fraction, seed)[table.group]
    if not chosen.any():
        raise DataError(
            f"an inner split needs a class with at least 2 row groups; here {len(table.classes)} classes have "
            "one each; collect more photos, or use a head without early stopping"
        )
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def is_holdout(folds: NDArray[np.intp]) -> bool:
    """Whether folds are those of a plain hold-out: some rows are only trained on, and one fold is predicted.

    Raises:
        ValueError: If some rows are only trained on, and several folds are predicted.

    Example:
        >>> is_holdout(np.array([HOLDOUT_FOLD, TRAINING_FOLD])), is_holdout(np.array([0, 1]))
        (True, False)
    """
    numbers = np.unique(folds[folds >= 0])
    if len(numbers) < len(np.unique(folds)) and len(numbers) != 1:
        raise ValueError(
            f"rows of a negative fold are only trained on, and want one fold to be predicted, not {len(numbers)}"
        )
    return bool((folds < 0).any())


def check_no_straddling(groups: NDArray[np.intp], folds: NDArray[np.intp]) -> None:
    """Make sure that all rows of a group are in one fold.

    Args:
        groups: Row groups, (n,).
        folds: Fold of each row, (n,).

    Raises:
        ValueError: If a group has rows in two folds; the message names it.
    """
    order = np.lexsort((folds, groups))
    same = groups[order][1:] == groups[order][:-1]
    split = same & (folds[order][1:] != folds[order][:-1])
    if split.any():
        row = int(order[1:][split][0])
        raise ValueError(f"row group {groups[row]} straddles two folds; rows of a group must share one fold")


def _derived_seeds(seed: int) -> Iterator[int]:
    yield from np.random.SeedSequence(seed).generate_state(_SHUFFLES - 1).tolist()


class _Table:
    """Number of rows of each class in each group. Groups are assigned to folds, not rows.

    Attributes:
        classes: Shape (n_classes,), sorted.
        label: Shape (n,), class number of each row.
        group: Shape (n,), group number of each row.
        counts: Number of rows, shape (n_groups, n_classes).
    """

    def __init__(self, labels: ArrayLike, groups: ArrayLike) -> None:
        self.classes, self.label = np.unique(np.asarray(labels), return_inverse=True)
        names, self.group = np.unique(np.asarray(groups), return_inverse=True)
        if self.label.shape != self.group.shape:
            raise ValueError(f"{len(self.label)} labels, but {len(self.group)} groups")
        if not len(self.label):
            raise DataError("there are no usable rows to divide; see the reasons in the manifest")
        self.counts = np.zeros((len(names), len(self.classes)), dtype=np.intp)
        np.add.at(self.counts, (self.group, self.label), 1)

    def require_groups(self, least: int, purpose: str) -> None:
        """Raise a DataError naming each class with fewer groups than `least`."""
        n_groups = (self.counts > 0).sum(axis=0)
        short = np.flatnonzero(n_groups < least)
        if len(short):
            numbers = ", ".join(
                f"{str(self.classes[position])!r} has {n_groups[position]}" for position in short
            )
            fewest = int(n_groups.min())
            fewer = f"use at most {fewest} folds, " if least > 2 and fewest >= 2 else ""
            raise DataError(
                f"{purpose} at least {least} row groups of every class (photos of one object are one), but "
                f"{numbers}; {fewer}add photos, or leave the class out"
            )

    def deal(self, n_splits: int, seed: int) -> NDArray[np.intp]:
        """Fold of each group by scikit-learn's greedy rule, shape (n_groups,)."""
        # Imported here: it takes a second, see `experiment.preparation`.
        from sklearn.model_selection import StratifiedGroupKFold

        splitter = StratifiedGroupKFold(n_splits, shuffle=True, random_state=seed)
        row_fold = np.full(len(self.label), -1, dtype=np.intp)
        for number, (_, test) in enumerate(splitter.split(self.label, self.label, self.group)):
            row_fold[test] = number
        fold = np.full(len(self.counts), -1, dtype=np.intp)
        fold[self.group] = row_fold
        if (row_fold < 0).any() or not np.array_equal(fold[self.group], row_fold):
            raise RuntimeError("a row group straddles folds, or a row has none")
        return fold

    def per_fold(self, fold: NDArray[np.intp], n_splits: int) -> NDArray[np.intp]:
        """Number of rows of each class in each fold, shape (n_splits, n_classes)."""
        table = np.zeros((n_splits, len(self.classes)), dtype=np.intp)
        np.add.at(table, fold, self.counts)
        return table

    def gaps(self, fold: NDArray[np.intp], n_splits: int) -> int:
        """Number of gaps: pairs of a fold and a class without a row."""
        return int((self.per_fold(fold, n_splits) == 0).sum())

    def imbalance(self, fold: NDArray[np.intp], n_splits: int) -> float:
        """Sum of the squared differences between the class shares of the folds and equal shares."""
        shares = self.per_fold(fold, n_splits) / self.counts.sum(axis=0)
        return float(((shares - 1 / n_splits) ** 2).sum())

    def fill_gaps(self, fold: NDArray[np.intp], n_splits: int) -> None:
        """Fill gaps in place: move the smallest group that fills a gap and opens no other, for each gap.

        If every group has one class, all gaps are filled: a class with at least as many groups as folds has two
        groups in some fold.
        """
        table = self.per_fold(fold, n_splits)
        for number, position in np.argwhere(table == 0):
            if table[number, position]:  # filled by an earlier move
                continue
            left = table[fold] - self.counts
            movable = (self.counts[:, position] > 0) & ((left > 0) | (self.counts == 0)).all(axis=1)
            candidates = np.flatnonzero(movable)
            if len(candidates):
                group = candidates[np.argmin(self.counts[candidates].sum(axis=1))]
                table[fold[group]] -= self.counts[group]
                table[number] += self.counts[group]
                fold[group] = number

    def search(self, fold: NDArray[np.intp], n_splits: int, seed: int) -> None:
        """Fill, in place, gaps that single moves cannot fill, by a short random walk.

        Only groups with several classes make it necessary. A random gap gets a random group of its class. A move that
        makes more gaps is rejected nine times in ten.
        """
        rng = np.random.default_rng(seed)
        table = self.per_fold(fold, n_splits)
        for _ in range(_STEPS):
            gaps = np.argwhere(table == 0)
            if not len(gaps):
                return
            number, position = gaps[rng.integers(len(gaps))]
            group = rng.choice(np.flatnonzero(self.counts[:, position] > 0))
            moved = table.copy()
            moved[fold[group]] -= self.counts[group]
            moved[number] += self.counts[group]
            if (moved == 0).sum() <= len(gaps) or rng.random() < 0.1:
                fold[group], table = number, moved

    def draw(self, fraction: float, seed: int) -> NDArray[np.bool_]:
        """Choose groups with about a fraction of the rows of every class: the best choice of several shuffles.

        Every class keeps a group that is not chosen. Every class with a second group has one that is chosen, unless
        groups with several classes forbid it.

        Returns:
            True for the chosen groups, shape (n_groups,).
        """
        if not 0 < fraction < 1:
            raise DataError(f"the fraction of a split must lie between 0 and 1, got {fraction}")
        draws = [self._draw_once(fraction, derived) for derived in (seed, *_derived_seeds(seed))]
        totals = self.counts.sum(axis=0)

        def key(chosen: NDArray[np.bool_]) -> tuple[int, float]:
            held = chosen @ self.counts
            return int((held == 0).sum()), float(((held / totals - fraction) ** 2).sum())

        return min(draws, key=key)

    def _draw_once(self, fraction: float, seed: int) -> NDArray[np.bool_]:
        totals = self.counts.sum(axis=0)
        shares = self.counts / totals
        order = np.random.default_rng(seed).permutation(len(self.counts))
        chosen = np.zeros(len(self.counts), dtype=bool)
        held = np.zeros(len(totals))
        rows = np.zeros(len(totals), dtype=np.intp)
        for position in np.argsort((self.counts > 0).sum(axis=0), kind="stable"):  # rarest class first
            if rows[position]:
                continue
            candidates = order[self.counts[order, position] > 0]
            candidates = candidates[(rows + self.counts[candidates] < totals).all(axis=1)]
            if len(candidates):
                error = ((held + shares[candidates] - fraction) ** 2).sum(axis=1)
                group = candidates[np.argmin(error)]
                chosen[group] = True
                held += shares[group]
                rows += self.counts[group]
        for group in order[~chosen[order]]:
            change = float(shares[group] @ (2 * (held - fraction) + shares[group]))  # of the squared error
            if change < 0 and (rows + self.counts[group] < totals).all():
                chosen[group] = True
                held += shares[group]
                rows += self.counts[group]
        return chosen
