"""How far a training has come, in one file, so that an interrupted one goes on as if nothing had happened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ensemble_minerals.networks.models.tensor_file import read_tensors, write_tensors

FORMAT = 1


@dataclass(frozen=True)
class TrainingProgress:
    """The state after an epoch.

    Attributes:
        tensors: By part and name: ``("network", "body.conv.weight")``.
        metadata: Plain JSON; `phase`, counted from 1, and whether it is `over` among it.
    """

    tensors: Mapping[tuple[str, str], Tensor]
    metadata: Mapping[str, Any]

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors of one part, by name."""
        return {rest: tensor for (part, rest), tensor in self.tensors.items() if part == name}


class ProgressFile:
    """The file of a training's progress.

    Args:
        path: The file.
        task: Digest of all that decides the result; a file of another task is not taken up.
    """

    def __init__(self, path: Path, task: str) -> None:
        self.path = path
        self.task = task

    def read(self) -> TrainingProgress | None:
        """The progress so far; None if there is none, or that of another task, or what is no such file."""
        try:
            tensors, metadata = read_tensors(self.path)
        except (FileNotFoundError, ValueError):
            return None
        if (metadata.get("format"), metadata.get("task")) != (FORMAT, self.task):
            return None
        split = {(name.partition("/")[0], name.partition("/")[2]): tensor for name, tensor in tensors.items()}
        return TrainingProgress(split, metadata)

    def write(self, progress: TrainingProgress) -> None:
        """Replace the file."""
        tensors = {f"{part}/{name}": tensor for (part, name), tensor in progress.tensors.items()}
        write_tensors(self.path, tensors, {**progress.metadata, "format": FORMAT, "task": self.task})
