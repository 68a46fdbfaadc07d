"""Finished tasks on disk: an interrupted fit runs only the missing ones, and another fit none a second time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import load, save

from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.members.base import FittedFold, Member
from ensemble_minerals.members.cached_rows import CachedRows, describe_strategy
from ensemble_minerals.members.rows import RowData
from ensemble_minerals.members.serialization import predictor_from_arrays, predictor_to_arrays
from ensemble_minerals.system.digest import content_digest, file_checksum
from ensemble_minerals.system.sealed import damaged, not_kept, read_sealed_pair, write_sealed_pair

if TYPE_CHECKING:
    from ensemble_minerals.networks.models.state import NetworkState


def task_path(checkpoint: Path, member: str, fold: int) -> Path:
    """File of a task; its name is valid and differs between members on every file system, whatever their names."""
    if not re.fullmatch(r"[a-z0-9_+-][a-z0-9_.+-]{0,99}", member):
        digest = content_digest(member.encode(errors="surrogateescape"))
        member = f"{re.sub('[^A-Za-z0-9_+-]', '_', member[:60])}-{digest}"
    return checkpoint / f"{member}.{fold}.safetensors"


class TaskFiles:
    """Where finished tasks are kept.

    Tasks of seconds are kept in the cache, under a digest of all that decides them: features, labels, row groups and
    folds of the rows, the member and those that are solved with it, their seeds, the code of this program, and the
    versions of libraries. So any fit with the same task finds it. Others, and all where there is no cache, are kept
    in the checkpoint of one fit.

    Args:
        members: Of the fit.
        data: What they see of the rows.
        inputs: Labels, row groups and folds of the rows.
        checkpoint: Folder for one set of inputs; nowhere if None.
        cache_dir: The cache folder, if there is one.
    """

    def __init__(
        self,
        members: Sequence[Member],
        data: RowData,
        inputs: FoldInputs,
        *,
        checkpoint: Path | None,
        cache_dir: Path | None,
    ) -> None:
        self._checkpoint, self._decided_by = checkpoint, dict[str, tuple[object, ...]]()
        self._cached = CachedRows.open(cache_dir, data, inputs)
        described = {member.name: describe_strategy(member.strategy) for member in members}
        self._features = {member.name: member.features for member in members}
        for member in members:
            together = [described[one.name] for one in members if one.features == member.features]
            if member.is_quick and None not in together:
                self._decided_by[member.name] = "member", described[member.name], together

    def path(self, member: str, fold: int) -> Path | None:
        """File of a task; None where it is not kept."""
        if self._cached is not None and member in self._decided_by:
            return self._cached.file(self._features[member], *self._decided_by[member], fold)
        return None if self._checkpoint is None else task_path(self._checkpoint, member, fold)


def save_task(path: Path | None, fitted: FittedFold) -> None:
    """Save a finished task; the file appears whole or not at all."""
    if path is None:
        return
    networks = fitted.fitted.networks
    states = () if networks is None else networks.states
    files = [_state_path(path, number) for number in range(len(states))]
    try:
        for file, state in zip(files, states, strict=True):
            state.save(file)
        sums = [file_checksum(file) for file in files]
    except OSError as error:
        not_kept(path, error)
        return
    arrays, description = predictor_to_arrays(fitted.fitted.predictor, "scorer.")
    metadata = {
        "scorer": description,
        "notes": list(fitted.notes),
        "seconds": fitted.seconds,
        "states": sums,
        "logs": list(fitted.logs),
    }
    tensors = save({**arrays, "proba": np.ascontiguousarray(fitted.proba)})
    write_sealed_pair(path, metadata, tensors, durable=bool(states))  # others are soon computed again


def load_task(path: Path | None, member: Member, fold: int, names: tuple[str, ...]) -> FittedFold | None:
    """A finished task of an earlier run, or None where there is none, or a damaged one."""
    sealed = None if path is None else read_sealed_pair(path)
    if path is None or sealed is None:
        return None
    metadata, arrays = sealed[0], load(sealed[1])
    states = _load_states(path, metadata["states"])
    if states is None:
        return None
    predictor = predictor_from_arrays(arrays, metadata["scorer"], names, "scorer.")
    return FittedFold(
        fold,
        member.restore(predictor, states),
        arrays["proba"],
        tuple(metadata["notes"]),
        metadata["seconds"],
        tuple(metadata["logs"]),
    )


def _load_states(task: Path, sums: Sequence[int]) -> tuple[NetworkState, ...] | None:
    """The networks of a task; None, with a warning, where one is damaged."""
    files = [_state_path(task, number) for number in range(len(sums))]
    for file, noted in zip(files, sums, strict=True):
        try:
            whole = file_checksum(file) == noted
        except OSError:
            whole = False
        if not whole:
            damaged(file)
            return None
    if not files:
        return ()
    from ensemble_minerals.networks.models.state import NetworkState  # brings torch along

    return tuple(NetworkState.load(file) for file in files)


def _state_path(task: Path, number: int) -> Path:
    return task.with_suffix(f".{number}.state")
