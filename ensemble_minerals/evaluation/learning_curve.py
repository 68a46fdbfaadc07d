"""Accuracy against the share of the training rows: would more photos help?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ensemble_minerals.ensemble.fold import fit_fold
from ensemble_minerals.ensemble.tasks import FittedFold, Member
from ensemble_minerals.evaluation.intervals import GroupBootstrap
from ensemble_minerals.evaluation.metrics import Floats, jsonable, weighted_metric
from ensemble_minerals.system.cpu import short_switch_interval

SHARES = (0.25, 0.5, 0.75)
"""Shares that are trained anew; all rows are there from the fit itself."""


def learning_curve(
    members: Sequence[Member],
    blocks: Mapping[str, NDArray[np.floating[Any]]],
    y: NDArray[np.intp],
    groups: NDArray[np.intp],
    folds: NDArray[np.intp],
    classes: NDArray[Any],
    whole: Floats,
    *,
    shares: Sequence[float] = SHARES,
    n_jobs: int = 1,
    seed: int = 0,
) -> dict[str, Any]:
    """Train on growing parts of each fold's training row groups and answer the same held-out rows.

    The parts are nested and drawn class by class, so every class keeps at least one row group. What the members
    answer is averaged; choose one or few members, the cost is about that of cross-fitting them once more.

    Args:
        members: Base learners, unfitted.
        blocks: Feature matrices by name, each (n, n_features).
        y: (n,) class positions.
        groups: (n,) row groups.
        folds: (n,) folds; groups do not straddle them. Rows of a negative fold are only trained on.
        classes: Labels of the positions.
        whole: (M, n, K) out-of-fold probabilities of the same members trained on all training rows.
        shares: Parts to train on, ascending, below 1.
        n_jobs: Concurrent tasks; the answer does not depend on it.
        seed: Of the order in which row groups join, and of the intervals.

    Returns:
        JSON values: ``members``; ``points`` with share, mean number of training ``rows``, ``accuracy`` and
        ``log_loss`` with group-bootstrap intervals; ``last_step``: the paired gain in accuracy of the last point
        over the one before; ``notes`` on shares that could not be trained.
    """
    held_out = folds >= 0
    numbers = np.unique(folds[held_out])
    rank = _joining_rank(y, groups, folds, seed)
    tasks = [(share, int(fold)) for share in shares for fold in numbers]
    with threadpool_limits(1), short_switch_interval():
        results = Parallel(n_jobs=n_jobs, prefer="threads")(
            delayed(_answer)(members, blocks, y, groups, folds, fold, classes, rank[fold] <= share)
            for share, fold in tasks
        )
    answered: dict[float, tuple[Floats, float]] = {}
    notes = []
    for share in shares:
        own = {fold: result for (part, fold), result in zip(tasks, results, strict=True) if part == share}
        failed = next((result for result in own.values() if isinstance(result, str)), None)
        if failed is not None:
            notes.append(f"{share:.0%} of the training rows: {failed}")
            continue
        proba = np.zeros((len(y), len(classes)))
        for fold, result in own.items():
            proba[folds == fold] = result
        answered[share] = (
            proba[held_out],
            float(np.mean([(rank[fold][folds != fold] <= share).sum() for fold in numbers])),
        )
    everything = float(np.mean([(folds != fold).sum() for fold in numbers]))
    answered[1.0] = np.asarray(whole[:, held_out].mean(axis=0)), everything
    return _summarize(members, answered, y[held_out], groups[held_out], notes, seed)


def _joining_rank(
    y: NDArray[np.intp], groups: NDArray[np.intp], folds: NDArray[np.intp], seed: int
) -> dict[int, Floats]:
    """For each fold (n,) the share of the training part at which each row joins, 0 for its class's first group."""
    ranks = {}
    _, first, group_of = np.unique(groups, return_index=True, return_inverse=True)
    label = y[first]
    order = np.random.default_rng(seed).permutation(len(label))
    for fold in np.unique(folds[folds >= 0]):
        rank = np.zeros(len(label))
        for k in np.unique(label):
            own = [g for g in order if label[g] == k and folds[first[g]] != fold]
            rank[own] = np.arange(len(own)) / max(len(own), 1)
        ranks[int(fold)] = np.asarray(rank[group_of.reshape(-1)] + 1e-9)
    return ranks


def _answer(
    members: Sequence[Member],
    blocks: Mapping[str, NDArray[np.floating[Any]]],
    y: NDArray[np.intp],
    groups: NDArray[np.intp],
    folds: NDArray[np.intp],
    fold: int,
    classes: NDArray[Any],
    joined: NDArray[np.bool_],
) -> Floats | str:
    """Mean answer of the members for the rows of `fold`, or why there is none."""
    rows = np.flatnonzero((folds == fold) | joined)
    answers = []
    for member in members:
        (fitted,) = fit_fold(
            [member],
            [blocks[name] for name in member.features],
            y[rows],
            groups[rows],
            folds[rows],
            fold,
            classes,
            rows,
        )
        if not isinstance(fitted, FittedFold):
            return f"{fitted.member} could not be trained in fold {fold}: {fitted.reason}"
        answers.append(fitted.proba)
    return np.asarray(np.mean(answers, axis=0))


def _summarize(
    members: Sequence[Member],
    answered: Mapping[float, tuple[Floats, float]],
    y: NDArray[np.intp],
    groups: NDArray[np.intp],
    notes: Sequence[str],
    seed: int,
) -> dict[str, Any]:
    bootstrap = GroupBootstrap(groups, seed=seed)
    names = ("accuracy", "log_loss")
    scores = [weighted_metric(name, y, proba) for proba, _ in answered.values() for name in names]
    found = iter(bootstrap.intervals(lambda weights: np.stack([score(weights) for score in scores], axis=1)))
    points = [
        {"share": share, "rows": rows, **{name: next(found) for name in names}}
        for share, (_, rows) in answered.items()
    ]
    last_step = None
    if len(answered) > 1:
        before, last = list(answered.values())[-2:]
        last_step = bootstrap.interval(
            weighted_metric("accuracy", y, last[0]), minus=weighted_metric("accuracy", y, before[0])
        )
    summary: dict[str, Any] = jsonable(
        {
            "members": [member.name for member in members],
            "points": points,
            "last_step": last_step,
            "notes": list(notes),
        }
    )
    return summary
