"""The progress of a training in one file, so that an interrupted training continues as if nothing had happened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from ensemble_minerals.networks.models.tensor_file import to_plain
from ensemble_minerals.system.sealed import read_sealed_pair, write_sealed_pair

FORMAT = 2


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
        sealed = read_sealed_pair(self.path)
        if sealed is None:
            return None
        metadata, tensors = sealed[0], load(sealed[1])
        if (metadata.get("format"), metadata.get("task")) != (FORMAT, self.job):
            return None
        split = {(name.partition("/")[0], name.partition("/")[2]): tensor for name, tensor in tensors.items()}
        return TrainingProgress(split, metadata)

    def write(self, progress: TrainingProgress) -> None:
        """Replace the file."""
        tensors = {f"{part}/{name}": to_plain(tensor) for (part, name), tensor in progress.tensors.items()}
        metadata = {**progress.metadata, "format": FORMAT, "task": self.job}
        write_sealed_pair(self.path, metadata, save(tensors))
