"""Networks in folds: processes of their own, so that seeds are, and a bar that moves with their epochs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.ensemble.checkpoints import task_path
from ensemble_minerals.ensemble.tasks import FittedFold, Member, MemberFailure
from ensemble_minerals.errors import EnsembleMineralsError
from ensemble_minerals.members.network import NetworkStrategy

FloatMatrix = NDArray[np.floating[Any]]

_GLANCE = 1.0
"""Seconds between two looks at the logs of networks in training."""


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
    lacking = np.setdiff1d(np.arange(len(classes)), y[training])
    if lacking.size:
        names = ", ".join(str(classes[k]) for k in lacking)
        return [MemberFailure(member.name, fold, f"no training row of class {names}")]
    try:
        scorer, notes = member.strategy.fit_rows(
            X[training], y[training], groups[training], classes, work=work, n_threads=n_threads, device=device
        )
        proba = np.exp(scorer.log_proba(X[held_out]).astype(np.float64))
    except (
        EnsembleMineralsError,
        ValueError,
        FloatingPointError,
        MemoryError,
        RuntimeError,  # how torch says that memory ran out
    ) as error:
        return [MemberFailure(member.name, fold, f"{type(error).__name__}: {error}")]
    proba /= proba.sum(axis=1, keepdims=True)
    return [FittedFold(member.name, fold, scorer, proba, notes, time.perf_counter() - started)]


def work_folder(checkpoint: Path | None, member: str, fold: int) -> Path | None:
    """Where a task keeps its logs and checkpoints."""
    return None if checkpoint is None else task_path(checkpoint, member, fold).with_suffix(".work")


def devices() -> tuple[str, ...]:
    """Where networks can train: every GPU that torch sees, else the processor."""
    import torch

    return tuple(f"cuda:{n}" for n in range(torch.cuda.device_count())) or ("cpu",)


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
