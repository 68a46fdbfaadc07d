"""Networks in folds: each is trained in a process of its own, and a bar of progress moves with their epochs."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from typing import Any, Protocol

import numpy as np
from joblib import delayed
from numpy.typing import NDArray

from ensemble_minerals.config.messages import validated
from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.members.base import FittedFold, FoldResult, OutOfTime
from ensemble_minerals.members.checkpoints import task_path
from ensemble_minerals.members.rows import RowData
from ensemble_minerals.networks.training.epoch_log import Epochs
from ensemble_minerals.system.parallel import run_unordered
from ensemble_minerals.system.plain_json import parse_json
from ensemble_minerals.system.runtime import Runtime
from ensemble_minerals.system.sealed import damaged

FloatMatrix = NDArray[np.floating[Any]]

_INTERVAL = 1.0
"""Seconds after which the logs of networks in training are read again."""


class TrainsNetworks(Protocol):
    """A member whose fit without one fold takes where to train and where to keep its logs."""

    @property
    def name(self) -> str:
        """See `Member`."""
        ...

    @property
    def features(self) -> tuple[str, ...]:
        """See `Member`."""
        ...

    def fit_fold(
        self,
        data: RowData,
        inputs: FoldInputs,
        fold: int,
        *,
        work: Path | None,
        n_threads: int,
        device: str,
    ) -> FoldResult:
        """See `NetworkMember.fit_fold`."""
        ...


def train_in_processes(
    tasks: Sequence[tuple[TrainsNetworks, int]],
    data: RowData,
    inputs: FoldInputs,
    runtime: Runtime,
    *,
    checkpoint: Path | None,
    on_epochs: Callable[[int], None],
) -> Generator[Sequence[FoldResult]]:
    """Train networks, each in a process of its own: several on the cores of the machine, or one on each GPU.

    Args:
        tasks: Members on networks, and folds.
        data: With the photos of the rows.
        inputs: Labels, row groups and folds of the rows.
        runtime: Processes at once, and the time after which no task starts.
        checkpoint: Folder where each task keeps its logs and takes up what was interrupted.
        on_epochs: Called from another thread with the epochs that tasks under way have done.
    """
    available, remote = devices(), not runtime.is_local
    on_gpus = available[0] != "cpu" and not remote
    at_once = min(len(tasks), len(available) if on_gpus else runtime.n_tasks)
    n_threads = max(1, runtime.n_tasks // at_once)
    works = [work_folder(checkpoint, member.name, fold) for member, fold in tasks]
    under_way = {
        (member.name, fold): work
        for (member, fold), work in zip(tasks, works, strict=True)
        if work is not None
    }
    photos = data.photos()
    calls = [
        delayed(_train_task)(
            member,
            fold,
            inputs,
            photos,
            *(data.matrices[name] for name in member.features),
            deadline=runtime.deadline,
            work=work,
            n_threads=n_threads,
            device=None if remote else available[number % len(available)],
        )
        for number, ((member, fold), work) in enumerate(zip(tasks, works, strict=True))
    ]
    used = dict.fromkeys(name for member, _ in tasks for name in member.features)
    shared = [inputs, photos, *(data.matrices[name] for name in used)]
    with (
        reported(lambda: sum(count_epochs(work) for work in list(under_way.values())), on_epochs),
        closing(run_unordered(calls, n_jobs=at_once, shared=shared, cluster=runtime.cluster)) as results,
    ):
        for result in results:
            work = under_way.pop((result.member, result.fold), None)
            if isinstance(result, FittedFold):
                if work is not None:
                    result.logs = read_logs(work)
                if remote and (networks := result.fitted.networks) is not None:
                    # It answers on this machine from now on.
                    result.fitted = replace(result.fitted, networks=replace(networks, device=available[0]))
            yield [result]


def _train_task(
    member: TrainsNetworks,
    fold: int,
    inputs: FoldInputs,
    photos: NDArray[np.intp],
    *matrices: FloatMatrix,
    deadline: float | None,
    work: Path | None,
    n_threads: int,
    device: str | None,
) -> FoldResult:
    """`TrainsNetworks.fit_fold` as a task; without a device it takes the first of the machine where it runs."""
    if deadline is not None and time.time() > deadline:
        return OutOfTime(member.name, fold)
    data = RowData(dict(zip(member.features, matrices, strict=True)), photos)
    return member.fit_fold(data, inputs, fold, work=work, n_threads=n_threads, device=device or devices()[0])


def work_folder(checkpoint: Path | None, member: str, fold: int) -> Path | None:
    """Where a task keeps its logs and checkpoints."""
    return None if checkpoint is None else task_path(checkpoint, member, fold).with_suffix(".work")


def devices() -> tuple[str, ...]:
    """Where networks can train: every GPU that torch sees, else the CPU."""
    from ensemble_minerals.networks import devices as module  # brings torch along

    return module.devices()


@contextmanager
def reported(count: Callable[[], int], on_epochs: Callable[[int], None]) -> Iterator[None]:
    """Report, while networks train, how many epochs of tasks under way are done.

    Args:
        count: Gives the number.
        on_epochs: Called with it from another thread.
    """
    done = Event()

    def report() -> None:
        while not done.wait(_INTERVAL):
            on_epochs(count())

    thread = Thread(target=report, daemon=True)
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
    """The records of every epoch, network by network; none, with a warning, where a log is damaged."""
    return tuple(
        _records(log) for log in sorted(folder.glob("*/epochs.json"), key=lambda log: int(log.parent.name))
    )


def _records(log: Path) -> list[dict[str, Any]]:
    try:
        stated = validated(Epochs, {"epochs": parse_json(log.read_bytes())})
    except ValueError:
        damaged(log)
        return []
    return [epoch.model_dump() for epoch in stated.epochs]
