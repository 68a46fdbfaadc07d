"""Finished tasks on disk, so that an interrupted fit runs only the missing ones."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import load, save

from ensemble_minerals.members.base import FittedFold, Member
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


def save_task(checkpoint: Path | None, fitted: FittedFold) -> None:
    """Save a finished task; the file appears whole or not at all."""
    if checkpoint is None:
        return
    path = task_path(checkpoint, fitted.member, fitted.fold)
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
    write_sealed_pair(path, metadata, tensors)


def load_task(
    checkpoint: Path | None, member: Member, fold: int, names: tuple[str, ...]
) -> FittedFold | None:
    """A finished task of an earlier run, or None where there is none, or a damaged one."""
    if checkpoint is None:
        return None
    path = task_path(checkpoint, member.name, fold)
    sealed = read_sealed_pair(path)
    if sealed is None:
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
