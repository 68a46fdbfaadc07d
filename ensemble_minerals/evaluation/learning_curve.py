"""Accuracy against the share of the training rows: would more photos help?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.evaluation.intervals import GroupBootstrap, Interval
from ensemble_minerals.evaluation.metrics import Floats, weighted_metric
from ensemble_minerals.members.base import FittedFold, Member
from ensemble_minerals.members.rows import RowData
from ensemble_minerals.system.cpu import short_switch_interval
from ensemble_minerals.system.parallel import single_thread

SHARES = (0.25, 0.5, 0.75)
"""Shares that are trained anew; the fit itself gives the point of all rows."""


@dataclass(frozen=True)
class CurvePoint:
    """What members trained on a share of the rows answer.

    Attributes:
        share: Of the training rows.
        rows: Mean number of training rows.
        accuracy: Of the answers.
        log_loss: Of the answers.
    """

    share: float
    rows: float
    accuracy: Interval
    log_loss: Interval


@dataclass(frozen=True)
class LearningCurve:
    """Accuracy against the share of the training rows.

    Attributes:
        members: Names of the members that were trained.
        points: By rising share.
        last_step: Accuracy gained by the last step, paired; None if there is one point.
        notes: On shares that could not be trained.
    """

    members: tuple[str, ...]
    points: tuple[CurvePoint, ...]
    last_step: Interval | None
    notes: tuple[str, ...]

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """Read a curve from the JSON values that a fit kept."""
        return cls(
            members=tuple(values["members"]),
            points=tuple(
                CurvePoint(
                    share=point["share"],
                    rows=point["rows"],
                    accuracy=Interval.read(point["accuracy"]),
                    log_loss=Interval.read(point["log_loss"]),
                )
                for point in values["points"]
            ),
            last_step=None if values["last_step"] is None else Interval.read(values["last_step"]),
            notes=tuple(values["notes"]),
        )


def learning_curve(
    members: Sequence[Member],
    data: RowData,
    inputs: FoldInputs,
    whole: Floats,
    *,
    shares: Sequence[float] = SHARES,
    n_jobs: int = 1,
    seed: int = 0,
) -> LearningCurve:
    """Train on growing parts of each fold's training row groups and answer the same held-out rows.

    The parts are nested and drawn class by class, so every class keeps at least one row group. The answers of the
    members are averaged. Choose one or few members: it costs about as much as cross-fitting them again.

    Args:
        members: Base learners, unfitted.
        data: What members see of n rows.
        inputs: Labels, row groups and folds of the rows; groups do not straddle folds. Rows of a negative fold are
            only trained on.
        whole: (M, n, K) out-of-fold probabilities of the same members trained on all training rows.
        shares: Parts to train on, ascending, below 1.
        n_jobs: Concurrent tasks; the answer does not depend on it.
        seed: Of the order in which row groups join, and of the intervals.
    """
    predicted, numbers = inputs.predicted, inputs.numbers
    rank = _joining_rank(inputs, seed)
    tasks = [(share, fold) for share in shares for fold in numbers]
    with single_thread, short_switch_interval():
        results = Parallel(n_jobs=n_jobs, prefer="threads")(
            delayed(_answer)(members, data, inputs, fold, rank[fold] <= share) for share, fold in tasks
        )
    answered: dict[float, tuple[Floats, float]] = {}
    notes = []
    for share in shares:
        own = {fold: result for (part, fold), result in zip(tasks, results, strict=True) if part == share}
        failed = next((result for result in own.values() if isinstance(result, str)), None)
        if failed is not None:
            notes.append(f"{share:.0%} of the training rows: {failed}")
            continue
        proba = np.zeros((len(inputs), len(inputs.classes)))
        for fold, result in own.items():
            proba[inputs.held_out(fold)] = result
        answered[share] = (
            proba[predicted],
            float(np.mean([(rank[fold][inputs.training(fold)] <= share).sum() for fold in numbers])),
        )
    everything = float(np.mean([len(inputs.training(fold)) for fold in numbers]))
    answered[1.0] = np.asarray(whole[:, predicted].mean(axis=0)), everything
    return _summarize(members, answered, inputs.take(predicted), notes, seed)


def _joining_rank(inputs: FoldInputs, seed: int) -> dict[int, Floats]:
    """For each fold (n,) the share of the training part at which each row joins, 0 for its class's first group."""
    ranks = {}
    _, first, group_of = np.unique(inputs.groups, return_index=True, return_inverse=True)
    label = inputs.y[first]
    order = np.random.default_rng(seed).permutation(len(label))
    for fold in inputs.numbers:
        rank = np.zeros(len(label))
        for k in np.unique(label):
            own = [g for g in order if label[g] == k and inputs.folds[first[g]] != fold]
            rank[own] = np.arange(len(own)) / max(len(own), 1)
        ranks[fold] = np.asarray(rank[group_of.reshape(-1)] + 1e-9)
    return ranks


def _answer(
    members: Sequence[Member], data: RowData, inputs: FoldInputs, fold: int, joined: NDArray[np.bool_]
) -> Floats | str:
    """Mean answer of the members for the rows of a fold, trained on those that joined, or why there is none."""
    rows = np.flatnonzero((inputs.folds == fold) | joined)
    answers = []
    for member in members:
        fitted = member.fit_fold(data, inputs.take(rows), fold, rows=rows)
        if not isinstance(fitted, FittedFold):
            return f"{fitted.member} could not be trained in fold {fold}: {fitted.reason}"
        answers.append(fitted.proba)
    return np.asarray(np.mean(answers, axis=0))


def _summarize(
    members: Sequence[Member],
    answered: Mapping[float, tuple[Floats, float]],
    known: FoldInputs,
    notes: Sequence[str],
    seed: int,
) -> LearningCurve:
    bootstrap = GroupBootstrap(known.groups, seed=seed)
    scores = [
        weighted_metric(name, known.y, proba)
        for proba, _ in answered.values()
        for name in ("accuracy", "log_loss")
    ]
    intervals = bootstrap.intervals(lambda weights: np.stack([score(weights) for score in scores], axis=1))
    points = [
        CurvePoint(share, rows, accuracy, log_loss)
        for (share, (_, rows)), accuracy, log_loss in zip(
            answered.items(), intervals[::2], intervals[1::2], strict=True
        )
    ]
    last_step = None
    if len(answered) > 1:
        before, last = list(answered.values())[-2:]
        last_step = bootstrap.interval(
            weighted_metric("accuracy", known.y, last[0]),
            minus=weighted_metric("accuracy", known.y, before[0]),
        )
    return LearningCurve(tuple(member.name for member in members), tuple(points), last_step, tuple(notes))
