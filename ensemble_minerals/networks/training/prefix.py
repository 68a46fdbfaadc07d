"""Training the last blocks alone, on cached activations of the frozen first blocks.

The first blocks of a network are frozen, so the activations of a view never change. Each photo has k random views;
training draws among them and computes the last blocks alone. A view is computed when it is first drawn, so a fit
never pays for views that it does not use. The activations are kept as float16 in a file that worker processes share.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ensemble_minerals.config.networks import Layers
from ensemble_minerals.errors import FitError
from ensemble_minerals.networks.models.blocks import evaluating
from ensemble_minerals.networks.models.multi_head import MultiHeadNetwork
from ensemble_minerals.networks.models.transforms import key_seed
from ensemble_minerals.networks.precision import computing_in
from ensemble_minerals.networks.training.batches import Inputs, Sample
from ensemble_minerals.networks.training.freezing import trained_names
from ensemble_minerals.system.atomic import make_folder

_CACHED_EPOCH = 0
"""Epoch in the key of the cached random views. Training counts epochs from 1, so no other view has this key."""


class ActivationCache:
    """Activations of a frozen module by number, computed on first use and cached on disk up to a limit.

    Values are rounded to float16 whether they come from the cache or not, so the limit changes the time of a fit and
    nothing else. The cache can be pickled; another process then opens the same file.

    Attributes:
        shape: Shape of one entry.
        capacity: Number of entries that can be cached; those with higher numbers are computed every time.
    """

    def __init__(
        self,
        prefix: nn.Module,
        size: tuple[int, int],
        n_wanted: int,
        *,
        limit_mb: int,
        folder: Path | None = None,
        precision: str = "float32",
    ) -> None:
        """Reserve room on the disk.

        Args:
            prefix: From images in [0, 1], (b, 3, h, w), to activations (b, ...). All of it is frozen.
            size: Height and width of the images.
            n_wanted: Number of entries that may be needed.
            limit_mb: Megabytes on disk, at most; never more than half of what is free there.
            folder: Folder of the file, which exists as long as the cache does; None takes the system's folder for
                temporary files.
            precision: Precision in which `prefix` is computed, `float32` or `bfloat16`.
        """
        self.prefix = prefix
        self.precision = precision
        self.device = next((tensor.device for tensor in prefix.parameters()), torch.device("cpu"))
        self.shape = self._compute(torch.zeros(3, *size)).shape
        if folder is not None:
            make_folder(folder)
        self._folder = Path(tempfile.mkdtemp(prefix="views-", dir=folder))
        # A memory map takes room page by page, and a disk that fills up meanwhile kills the process without a
        # message.
        limit = min(limit_mb << 20, shutil.disk_usage(self._folder).free // 2)
        self.capacity = min(n_wanted, limit // (int(np.prod(self.shape)) * 2 + 1))
        self._remove = weakref.finalize(self, _remove, self._folder, os.getpid())
        self._open("w+")

    def __getstate__(self) -> dict[str, Any]:
        return {
            name: value for name, value in vars(self).items() if name not in ("_values", "_filled", "_remove")
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open("r+")

    def get(self, number: int, image: Callable[[], Tensor]) -> Tensor:
        """One entry.

        Args:
            number: Number of the entry.
            image: Returns its image (3, h, w); called only if the entry must be computed.

        Returns:
            float32 of `shape`.

        Raises:
            FitError: If an activation is too large for float16.
        """
        if number >= self.capacity:
            return torch.from_numpy(self._compute(image())).float()
        if not self._filled[number]:
            self._values[number] = self._compute(image())
            self._filled[number] = True  # after the values, for other processes that read them
        return torch.from_numpy(self._values[number].astype(np.float32))

    def _compute(self, image: Tensor) -> NDArray[np.float16]:
        with torch.no_grad(), evaluating(self.prefix), computing_in(self.precision, self.device):
            activations: Tensor = self.prefix(image[None].to(self.device))[0]
        values = activations.to("cpu", torch.float16).numpy()
        if not np.isfinite(values).all():
            largest = float(activations.abs().max())
            raise FitError(
                f"the frozen layers give values up to {largest:.3g}, too large to be cached; "
                "set prefix_views to 0"
            )
        return values

    def _open(self, mode: Literal["w+", "r+"]) -> None:
        n = max(self.capacity, 1)  # a memory map cannot be empty
        values, filled = self._folder / "values", self._folder / "kept"
        self._values: NDArray[np.float16] = np.memmap(values, np.float16, mode, shape=(n, *self.shape))
        self._filled: NDArray[np.bool_] = np.memmap(filled, np.bool_, mode, shape=(n,))


class PrefixInputs:
    """Cached activations of the first blocks, as inputs of the last ones.

    Attributes:
        cache: The activations.
        n_views: Random views of each training row: as many as wanted or as fit into the limit, at least 1.
        note: For the user: how many views did not fit; empty if all did.
    """

    def __init__(
        self,
        inputs: Inputs,
        prefix: nn.Module,
        size: tuple[int, int],
        *,
        rows: Sequence[int] | NDArray[np.intp],
        validation_rows: Sequence[int] | NDArray[np.intp],
        n_views: int,
        seed: int,
        limit_mb: int,
        folder: Path | None = None,
        precision: str = "float32",
    ) -> None:
        """Reserve room for the activations.

        Args:
            inputs: Inputs of the whole network.
            prefix: The first blocks of the network, see `ActivationCache`.
            size: Height and width of the images.
            rows: Training rows; rows may occur several times.
            validation_rows: Validation rows.
            n_views: Random views of each training row.
            seed: Seed of the choice among them.
            limit_mb: Megabytes on disk, at most.
            folder: Folder of the cache's file.
            precision: Precision in which the first blocks are computed.
        """
        self.inputs = inputs
        self.seed = seed
        self._validation = {int(row): number for number, row in enumerate(np.unique(validation_rows))}
        self._training = {int(row): number for number, row in enumerate(np.unique(rows))}
        n_validation, n_training = len(self._validation), len(self._training)
        self.cache = ActivationCache(
            prefix,
            size,
            n_validation + n_training * n_views,
            limit_mb=limit_mb,
            folder=folder,
            precision=precision,
        )
        fitting = (self.cache.capacity - n_validation) // max(n_training, 1)
        self.n_views = max(1, min(n_views, fitting))
        self.note = ""
        if fitting < n_views:
            room = f"{limit_mb} MB (memory), or half of the free disk"
            self.note = f"{max(fitting, 0)} of {n_views} kept views of each photo fit into {room}"

    def training_input(self, sample: Sample) -> Tensor:
        """Activations of one of the row's views, chosen by (seed, epoch, row, number) alone."""
        view = key_seed(self.seed, sample.epoch, sample.row, sample.number) % self.n_views
        # Numbered view by view: if not even one view of each photo fits, those of some photos are cached.
        entry = len(self._validation) + view * len(self._training) + self._training[sample.row]
        cached = Sample(sample.row, sample.targets, _CACHED_EPOCH, view)
        return self.cache.get(entry, lambda: self.inputs.training_input(cached))

    def validation_input(self, row: int) -> Tensor:
        """Activations of a row's fixed view."""
        return self.cache.get(self._validation[row], lambda: self.inputs.validation_input(row))


def n_last_blocks(network: MultiHeadNetwork, train: Layers) -> int | None:
    """Number of last blocks that contain all trained parameters: 0 for the head alone, None if the stem is trained.

    Args:
        network: The network.
        train: Trained layers, as in `PhaseConfig.train`.
    """
    depths = [network.depth(name) for name in trained_names(network, train) - network.head_names()]
    if not depths:
        return 0
    return network.blocks.n - min(depths) + 1 if min(depths) > 0 else None


def _remove(folder: Path, process: int) -> None:
    """Remove a folder, unless this is a forked worker process that ends."""
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)
