"""Finished tasks on disk, so that an interrupted fit runs only the missing ones."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from ensemble_minerals.errors import WeightsError
from ensemble_minerals.members.base import FittedFold, Member
from ensemble_minerals.members.serialization import predictor_from_arrays, predictor_to_arrays
from ensemble_minerals.system.atomic import atomic_file

if TYPE_CHECKING:
    from ensemble_minerals.networks.models.state import NetworkState


def task_path(checkpoint: Path, member: str, fold: int) -> Path:
    """File of a task; its name is valid and differs between members on every file system, whatever their names."""
    if not re.fullmatch(r"[a-z0-9_+-][a-z0-9_.+-]{0,99}", member):
        digest = blake2b(member.encode(errors="surrogateescape"), digest_size=16).hexdigest()
        member = f"{re.sub('[^A-Za-z0-9_+-]', '_', member[:60])}-{digest}"
    return checkpoint / f"{member}.{fold}.safetensors"


def save_task(checkpoint: Path | None, fitted: FittedFold) -> None:
    """Save a finished task; the file appears whole or not at all."""
    if checkpoint is None:
        return
    path = task_path(checkpoint, fitted.member, fitted.fold)
    networks = fitted.fitted.networks
    states = () if networks is None else networks.states
    for number, state in enumerate(states):
        state.save(_state_path(path, number))
    arrays, description = predictor_to_arrays(fitted.fitted.predictor, "scorer.")
    metadata = {
        "scorer": description,
        "notes": list(fitted.notes),
        "seconds": fitted.seconds,
        "states": len(states),
        "logs": list(fitted.logs),
    }
    with atomic_file(path) as draft:
        save_file(
            {**arrays, "proba": np.ascontiguousarray(fitted.proba)},
            draft,
            metadata={"facts": json.dumps(metadata)},
        )


def load_task(
    checkpoint: Path | None, member: Member, fold: int, names: tuple[str, ...]
) -> FittedFold | None:
    """A finished task of an earlier run, or None where there is none, or a damaged one."""
    if checkpoint is None or not task_path(checkpoint, member.name, fold).is_file():
        return None
    path = task_path(checkpoint, member.name, fold)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = json.loads(file.metadata()["facts"])
        arrays = load_file(path)
    except SafetensorError:
        return None
    predictor = predictor_from_arrays(arrays, metadata["scorer"], names, "scorer.")
    try:
        states = _load_states([_state_path(path, number) for number in range(metadata["states"])])
    except (WeightsError, OSError):
        return None
    return FittedFold(
        fold,
        member.restore(predictor, states),
        arrays["proba"],
        tuple(metadata["notes"]),
        metadata["seconds"],
        tuple(metadata["logs"]),
    )


def _load_states(files: Sequence[Path]) -> tuple[NetworkState, ...]:
    if not files:
        return ()
    from ensemble_minerals.networks.models.state import NetworkState  # brings torch along

    return tuple(NetworkState.load(file) for file in files)


def _state_path(task: Path, number: int) -> Path:
    return task.with_suffix(f".{number}.state")
