"""Members x folds through joblib: every member predicts every row by a model that never saw it.

A task is one fold of one feature set: the fold's training rows are brought into their row space once, and every
member on those features is fitted there. Finished tasks are kept in a checkpoint folder; a fit that was killed
runs only what is missing.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from joblib import delayed
from numpy.typing import NDArray

from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.ensemble.checkpoints import load_task, save_task
from ensemble_minerals.ensemble.fitted import Blocks
from ensemble_minerals.ensemble.fold import fit_fold
from ensemble_minerals.ensemble.network_tasks import train_networks
from ensemble_minerals.ensemble.oof import OutOfFold
from ensemble_minerals.ensemble.tasks import (
    FittedFold,
    Member,
    MemberFailure,
    OutOfTime,
    Shared,
)
from ensemble_minerals.errors import FitError
from ensemble_minerals.members.network_member import NetworkStrategy
from ensemble_minerals.system.cpu import short_switch_interval
from ensemble_minerals.system.parallel import run_unordered, single_thread

FloatMatrix = NDArray[np.floating[Any]]


@dataclass
class CrossFit:
    """All members in all folds.

    Attributes:
        out_of_fold: Out-of-fold probabilities of the members that succeeded.
        fitted: For each member its fold models, in fold order.
        failures: Members that did not, fold by fold.
        notes: Distinct notes as (member, note).
        seconds: For each member the time of its fits.
    """

    out_of_fold: OutOfFold
    fitted: dict[str, list[FittedFold]]
    failures: list[MemberFailure] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


def cross_fit(
    members: Sequence[Member],
    blocks: Blocks,
    y: NDArray[np.intp],
    groups: NDArray[np.intp],
    folds: NDArray[np.intp],
    classes: NDArray[Any],
    *,
    n_jobs: int = 1,
    checkpoint: Path | None = None,
    allow_failures: bool = False,
    progress: Callable[[int, int], None] | None = None,
    deadline: float | None = None,
) -> CrossFit:
    """Fit every member in every fold and collect what it predicts for the held-out rows.

    Args:
        members: The base learners.
        blocks: Feature matrices by name, each of shape (n, n_features).
        y: Class positions, shape (n,).
        groups: Row groups, shape (n,).
        folds: Fold of each row, shape (n,); rows of a negative one are only trained on.
        classes: Labels of the positions.
        n_jobs: Concurrent tasks; answers do not depend on it.
        checkpoint: Folder for finished tasks; the caller names one folder for one set of inputs.
        allow_failures: Leave failed members out instead of raising.
        progress: Called with (steps done, of all): one for each member in each fold, or the epochs of its network.
        deadline: Seconds since the epoch after which no task begins; members that lack a fold then are left out,
            but for one, if no other is complete.

    Raises:
        FitError: If a member failed and that is not allowed, or all failed.
        ValueError: If two members have one name.
    """
    twice = [name for name, count in Counter(member.name for member in members).items() if count > 1]
    if twice:
        raise ValueError(f"two members are named {twice[0]!r}; every member needs a name of its own")
    numbers = [int(fold) for fold in np.unique(folds) if fold >= 0]
    names = tuple(str(label) for label in classes)
    outcomes: dict[tuple[str, int], FittedFold | MemberFailure] = {}
    steps = {member.name: member.steps for member in members}
    todo: list[tuple[Member, int]] = []
    for member in members:
        for fold in numbers:
            if (kept := load_task(checkpoint, member, fold, names)) is not None:
                outcomes[member.name, fold] = kept
            else:
                todo.append((member, fold))

    def report(under_way: int = 0) -> None:
        if progress:
            finished = [name for (name, _), one in outcomes.items() if not isinstance(one, OutOfTime)]
            done, total = sum(steps[name] for name in finished), sum(steps.values()) * len(numbers)
            # Separate specialists train more networks than their member counts for, and early stopping fewer epochs.
            progress(done + min(under_way, max(total - done - 1, 0)), total)

    def take(results: Sequence[FittedFold | MemberFailure]) -> None:
        for result in results:
            outcomes[result.member, result.fold] = result
            if isinstance(result, FittedFold):
                save_task(checkpoint, result)
            elif not (allow_failures or isinstance(result, OutOfTime)):
                raise FitError(
                    f"member {result.member!r} failed in fold {result.fold}: {result.reason}\n"
                    "Mend or remove the member, or leave failed members out with --allow-failures."
                )
        report()

    report()
    shared = Shared(blocks, y, groups, folds, classes, n_jobs)

    def run(tasks: Sequence[tuple[Member, int]], until: float | None) -> None:
        _fit_heads(tasks, shared, until, take)
        networks = [task for task in tasks if isinstance(task[0].strategy, NetworkStrategy)]
        if networks:
            train_networks(networks, shared, until, checkpoint, take, report)

    run(todo, deadline)
    if (spared := _spare(members, outcomes, numbers)) is not None:
        missing = [fold for fold in numbers if isinstance(outcomes[spared.name, fold], OutOfTime)]
        run([(spared, fold) for fold in missing], None)
    if progress and any(isinstance(one, OutOfTime) for one in outcomes.values()):
        progress(sum(steps.values()) * len(numbers), sum(steps.values()) * len(numbers))
    return _collect(members, outcomes, numbers, FoldInputs(y, groups, folds, classes))


def _fit_heads(
    tasks: Sequence[tuple[Member, int]],
    shared: Shared,
    deadline: float | None,
    take: Callable[[Sequence[FittedFold | MemberFailure]], None],
) -> None:
    """Fit members on features; those on the same features in one task a fold."""
    by_features: dict[tuple[tuple[str, ...], int], list[Member]] = defaultdict(list)
    for member, fold in tasks:
        if not isinstance(member.strategy, NetworkStrategy):
            by_features[member.features, fold].append(member)
    used = dict.fromkeys(name for features, _ in by_features for name in features)
    calls = [
        delayed(fit_task)(
            same,
            fold,
            deadline,
            shared.y,
            shared.groups,
            shared.folds,
            shared.classes,
            *(shared.blocks[name] for name in features),
        )
        for (features, fold), same in by_features.items()
    ]
    arrays = [*shared.rows, *(shared.blocks[name] for name in used)]
    heads = run_unordered(calls, n_jobs=shared.n_jobs, shared=arrays, threads=True)
    with single_thread, short_switch_interval(), closing(heads) as found:
        for results in found:
            take(results)


def fit_task(
    members: Sequence[Member],
    fold: int,
    deadline: float | None,
    y: NDArray[np.intp],
    groups: NDArray[np.intp],
    folds: NDArray[np.intp],
    classes: NDArray[Any],
    *matrices: FloatMatrix,
) -> list[FittedFold | MemberFailure]:
    """`fit_fold` as a task: arrays are arguments of their own, a late one is not begun, and it keeps to one core."""
    if deadline is not None and time.time() > deadline:
        return [OutOfTime(member.name, fold) for member in members]
    with single_thread:
        return fit_fold(members, matrices, y, groups, folds, fold, classes)


def _spare(
    members: Sequence[Member],
    outcomes: Mapping[tuple[str, int], FittedFold | MemberFailure],
    numbers: Sequence[int],
) -> Member | None:
    """The member that is fitted though time is up, as no other is complete; None if there is no need."""

    def done(member: Member) -> int:
        return sum(isinstance(outcomes[member.name, fold], FittedFold) for fold in numbers)

    late = [
        member
        for member in members
        if any(isinstance(outcomes[member.name, fold], OutOfTime) for fold in numbers)
        and all(isinstance(outcomes[member.name, fold], FittedFold | OutOfTime) for fold in numbers)
    ]
    if not late or any(done(member) == len(numbers) for member in members):
        return None
    return max(late, key=lambda member: (not isinstance(member.strategy, NetworkStrategy), done(member)))


def _collect(
    members: Sequence[Member],
    outcomes: Mapping[tuple[str, int], FittedFold | MemberFailure],
    numbers: Sequence[int],
    inputs: FoldInputs,
) -> CrossFit:
    """Bring outcomes into the order of members and folds, whatever order they finished in."""
    failures = [outcome for outcome in outcomes.values() if isinstance(outcome, MemberFailure)]
    failures.sort(key=lambda failure: (failure.member, failure.fold))
    failed = {failure.member for failure in failures}
    whole = [member for member in members if member.name not in failed]
    if not whole:
        raise FitError(f"every member failed; the first: {failures[0].member!r}: {failures[0].reason}")
    result = CrossFit(OutOfFold(inputs, [m.name for m in whole]), {}, failures)
    for member in whole:
        fits = [outcomes[member.name, fold] for fold in numbers]
        fitted = [fit for fit in fits if isinstance(fit, FittedFold)]
        for fit in fitted:
            result.out_of_fold.write(member.name, inputs.held_out(fit.fold), fit.proba)
        result.fitted[member.name] = fitted
        result.seconds[member.name] = sum(fit.seconds for fit in fitted)
        notes = dict.fromkeys(note for fit in fitted for note in fit.notes)
        result.notes += [(member.name, note) for note in notes]
    return result
