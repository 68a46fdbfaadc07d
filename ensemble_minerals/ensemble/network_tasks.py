"""Networks in folds: processes of their own, so that seeds are, and a bar that moves with their epochs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
from joblib import delayed
from numpy.typing import NDArray

from ensemble_minerals.ensemble.checkpoints import task_path
from ensemble_minerals.ensemble.fitted import side_by_side
from ensemble_minerals.ensemble.tasks import (
    MEMBER_ERRORS,
    FittedFold,
    Member,
    MemberFailure,
    OutOfTime,
    Shared,
    lacking_classes,
)
from ensemble_minerals.members.network_member import NetworkStrategy
from ensemble_minerals.members.network_predictor import NetworkMemberPredictor
from ensemble_minerals.system.parallel import is_remote, run_unordered

FloatMatrix = NDArray[np.floating[Any]]

_GLANCE = 1.0
"""Seconds between two looks at the logs of networks in training."""


def train_networks(
    tasks: Sequence[tuple[Member, int]],
    shared: Shared,
    deadline: float | None,
    checkpoint: Path | None,
    take: Callable[[Sequence[FittedFold | MemberFailure]], None],
    report: Callable[[int], None],
) -> None:
    """Train networks, each in a process of its own: several on the cores of a processor, or one on each GPU."""
    places, remote = devices(), is_remote()
    on_gpus = places[0] != "cpu" and not remote
    at_once = min(len(tasks), len(places) if on_gpus else shared.n_jobs)
    n_threads = max(1, shared.n_jobs // at_once)
    works = [work_folder(checkpoint, member.name, fold) for member, fold in tasks]
    open_works = {
        (member.name, fold): work
        for (member, fold), work in zip(tasks, works, strict=True)
        if work is not None
    }

    def taken(results: Sequence[FittedFold | MemberFailure]) -> None:
        for result in results:
            work = open_works.pop((result.member, result.fold), None)
            if work is not None and isinstance(result, FittedFold):
                result.logs = read_logs(work)
            if (
                remote
                and isinstance(result, FittedFold)
                and isinstance(result.predictor, NetworkMemberPredictor)
            ):
                result.predictor = replace(result.predictor, device=places[0])  # it answers here from now on
        take(results)

    matrices = {member.features: side_by_side(shared.blocks, member.features) for member, _ in tasks}
    calls = [
        delayed(train_task)(
            member,
            matrices[member.features],
            shared.y,
            shared.groups,
            shared.folds,
            fold,
            shared.classes,
            deadline=deadline,
            work=work,
            n_threads=n_threads,
            device=None if remote else places[number % len(places)],
        )
        for number, ((member, fold), work) in enumerate(zip(tasks, works, strict=True))
    ]
    arrays = [*shared.rows, *matrices.values()]
    with (
        watched(lambda: sum(count_epochs(work) for work in list(open_works.values())), report),
        closing(run_unordered(calls, n_jobs=at_once, shared=arrays)) as found,
    ):
        for results in found:
            taken(results)


def train_task(
    member: Member, *arrays: Any, deadline: float | None, device: str | None, **settings: Any
) -> list[FittedFold | MemberFailure]:
    """`fit_network_fold` as a task; without a device it takes the first of the machine where it runs."""
    if deadline is not None and time.time() > deadline:
        return [OutOfTime(member.name, arrays[4])]
    return fit_network_fold(member, *arrays, device=device or devices()[0], **settings)


def fit_network_fold(
    member: Member,
    X: FloatMatrix,
    y: NDArray[np.intp],
    groups: NDArray[np.intp],
    folds: NDArray[np.intp],
    fold: int,
    classes: NDArray[Any],
    *,
    work: Path | None = None,
    n_threads: int = 1,
    device: str = "cpu",
) -> list[FittedFold | MemberFailure]:
    """Train one network member on the rows outside `fold`, and predict the rows in it.

    A `fold` that no row has trains on all rows and predicts none.

    Args:
        member: Its strategy is a `NetworkStrategy`.
        X: Positions of photos, see `NetworkStrategy.fit_rows`.
        y: Class positions, shape (n,).
        groups: Row groups, shape (n,).
        folds: Fold of each row, shape (n,).
        fold: The fold to be predicted.
        classes: Labels of the positions.
        work: Folder for logs and checkpoints.
        n_threads: Threads of this task.
        device: Where it trains.
    """
    if not isinstance(member.strategy, NetworkStrategy):
        raise TypeError(f"member {member.name!r} stands on features, not on a network")
    started = time.perf_counter()
    training, held_out = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
    if (reason := lacking_classes(y[training], classes)) is not None:
        return [MemberFailure(member.name, fold, reason)]
    try:
        predictor, notes = member.strategy.fit_rows(
            X[training], y[training], groups[training], classes, work=work, n_threads=n_threads, device=device
        )
        proba = np.exp(predictor.log_proba(X[held_out]).astype(np.float64))
    except MEMBER_ERRORS as error:
        return [MemberFailure(member.name, fold, f"{type(error).__name__}: {error}")]
    proba /= proba.sum(axis=1, keepdims=True)
    return [FittedFold(member.name, fold, predictor, proba, notes, time.perf_counter() - started)]


def work_folder(checkpoint: Path | None, member: str, fold: int) -> Path | None:
    """Where a task keeps its logs and checkpoints."""
    return None if checkpoint is None else task_path(checkpoint, member, fold).with_suffix(".work")


def devices() -> tuple[str, ...]:
    """Where networks can train: every GPU that torch sees, else the processor."""
    from ensemble_minerals.networks import devices as found  # brings torch along

    return found.devices()


@contextmanager
def watched(count: Callable[[], int], report: Callable[[int], None]) -> Iterator[None]:
    """Report, while networks train, how many epochs of tasks under way are done.

    Args:
        count: Gives the number.
        report: Called with it from another thread.
    """
    done = Event()

    def look() -> None:
        while not done.wait(_GLANCE):
            report(count())

    thread = Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def count_epochs(folder: Path) -> int:
    """Finished epochs that the logs in a task's folder show."""
    return sum(max(0, log.read_bytes().count(b"\n") - 1) for log in folder.glob("*/epochs.csv"))


def read_logs(folder: Path) -> tuple[list[dict[str, Any]], ...]:
    """The records of every epoch, network by network."""
    logs = sorted(folder.glob("*/epochs.json"), key=lambda log: int(log.parent.name))
    return tuple(json.loads(log.read_text(encoding="utf-8")) for log in logs)
