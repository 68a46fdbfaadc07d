"""The progress of a training in one file, so that an interrupted training continues as if nothing had happened."""

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
    """State of a training after an epoch.

    Attributes:
        tensors: By part and name: ``("network", "body.conv.weight")``.
        metadata: Plain JSON. It holds the number of the `phase`, counted from 1, and whether that is `over`.
    """

    tensors: Mapping[tuple[str, str], Tensor]
    metadata: Mapping[str, Any]

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors of one part, by name."""
        return {rest: tensor for (part, rest), tensor in self.tensors.items() if part == name}


class ProgressFile:
    """The file that holds the progress of a training.

    Args:
        path: The file.
        job: Digest of all that decides the result. The file of another job is ignored.
    """

    def __init__(self, path: Path, job: str) -> None:
        self.path = path
        self.job = job

    def read(self) -> TrainingProgress | None:
        """The progress so far; None if there is none, it belongs to another job, or the file is damaged."""
        try:
            tensors, metadata = read_tensors(self.path)
        except (FileNotFoundError, ValueError):
            return None
        if (metadata.get("format"), metadata.get("task")) != (FORMAT, self.job):
            return None
        split = {(name.partition("/")[0], name.partition("/")[2]): tensor for name, tensor in tensors.items()}
        return TrainingProgress(split, metadata)

    def write(self, progress: TrainingProgress) -> None:
        """Replace the file."""
        tensors = {f"{part}/{name}": tensor for (part, name), tensor in progress.tensors.items()}
        write_tensors(self.path, tensors, {**progress.metadata, "format": FORMAT, "task": self.job})
