"""Training the last layers alone: what the resting ones make of a view is constant, and computed once.

Of each photo k random views are taken through the resting front of the network; training draws from them and
goes through the rest alone. A view is computed when it is drawn for the first time, so that a fit never pays for
more views than it looks at, and is kept as float16 in a file that worker processes share.
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

_STORED_EPOCH = 0
"""Epochs count from 1: random views of this one are nobody else's."""


class ActivationCache:
    """What a resting module makes of pictures, by number: computed at the first look, kept within a limit.

    Values are those of float16 whether they were kept or are computed just now: the limit changes how long a fit
    takes and nothing else. Picklable: another process opens the same file.

    Attributes:
        shape: Of one entry.
        n_places: Entries that can be kept; those with higher numbers are computed every time.
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
        """Make room.

        Args:
            prefix: Pictures in [0, 1], (b, 3, h, w), to an inner layer (b, ...). Nothing in it may learn.
            size: Height and width of the pictures.
            n_wanted: Entries there may be.
            limit_mb: Megabytes that may be kept; never more than half of what is free on the disk.
            folder: Where the file lies as long as the store is there; None takes the system's for such files.
            precision: In which `prefix` is computed, `float32` or `bfloat16`.
        """
        self.prefix = prefix
        self.precision = precision
        self.device = next((tensor.device for tensor in prefix.parameters()), torch.device("cpu"))
        self.shape = self._computed(torch.zeros(3, *size)).shape
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        self._folder = Path(tempfile.mkdtemp(prefix="views-", dir=folder))
        # Maps take their room page by page, and a full disk in the midst of it ends the process without a word.
        limit = min(limit_mb << 20, shutil.disk_usage(self._folder).free // 2)
        self.n_places = min(n_wanted, limit // (int(np.prod(self.shape)) * 2 + 1))
        self._remove = weakref.finalize(self, _remove, self._folder, os.getpid())
        self._open("w+")

    def __getstate__(self) -> dict[str, Any]:
        return {
            name: value for name, value in vars(self).items() if name not in ("_values", "_kept", "_remove")
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open("r+")

    @property
    def n_kept(self) -> int:
        """Entries that are kept by now."""
        return int(self._kept.sum())

    def entry(self, number: int, image: Callable[[], Tensor]) -> Tensor:
        """One entry.

        Args:
            number: Its number.
            image: Gives (3, h, w), should it have to be computed.

        Returns:
            float32 of `shape`.

        Raises:
            FitError: If the inner layer holds values beyond float16.
        """
        if number >= self.n_places:
            return torch.from_numpy(self._computed(image())).float()
        if not self._kept[number]:
            self._values[number] = self._computed(image())
            self._kept[number] = True  # last: who reads it in another process finds the values in place
        return torch.from_numpy(self._values[number].astype(np.float32))

    def _computed(self, image: Tensor) -> NDArray[np.float16]:
        with torch.no_grad(), evaluating(self.prefix), computing_in(self.precision, self.device):
            inner: Tensor = self.prefix(image[None].to(self.device))[0]
        values = inner.to("cpu", torch.float16).numpy()
        if not np.isfinite(values).all():
            largest = float(inner.abs().max())
            raise FitError(
                f"the resting layers give values up to {largest:.3g}, too large to be kept; set prefix_views to 0"
            )
        return values

    def _open(self, mode: Literal["w+", "r+"]) -> None:
        n = max(self.n_places, 1)  # there are no empty maps
        values, kept = self._folder / "values", self._folder / "kept"
        self._values: NDArray[np.float16] = np.memmap(values, np.float16, mode, shape=(n, *self.shape))
        self._kept: NDArray[np.bool_] = np.memmap(kept, np.bool_, mode, shape=(n,))


class PrefixInputs:
    """Inner layers in place of photos, as inputs of the layers behind them.

    Attributes:
        store: Where they are kept.
        n_views: Random views of each training row: as many as wanted, or as fit into the limit, at least 1.
        note: What did not fit, for the user; empty if everything does.
    """

    def __init__(
        self,
        inputs: Inputs,
        prefix: nn.Module,
        size: tuple[int, int],
        *,
        rows: Sequence[int] | NDArray[np.intp],
        watched_rows: Sequence[int] | NDArray[np.intp],
        n_views: int,
        seed: int,
        limit_mb: int,
        folder: Path | None = None,
        precision: str = "float32",
    ) -> None:
        """Make room.

        Args:
            inputs: The photos.
            prefix: The front of the network, see `ActivationCache`.
            size: Height and width of the photos.
            rows: That are trained on, each once or oftener.
            watched_rows: That are only looked at.
            n_views: Random views of each training row.
            seed: Of the choice among them.
            limit_mb: Megabytes that may be kept.
            folder: Of the file that keeps them.
            precision: In which the front is computed.
        """
        self.inputs = inputs
        self.seed = seed
        self._watched = {int(row): place for place, row in enumerate(np.unique(watched_rows))}
        self._rows = {int(row): place for place, row in enumerate(np.unique(rows))}
        n_watched, n_rows = len(self._watched), len(self._rows)
        self.store = ActivationCache(
            prefix, size, n_watched + n_rows * n_views, limit_mb=limit_mb, folder=folder, precision=precision
        )
        fitting = (self.store.n_places - n_watched) // max(n_rows, 1)
        self.n_views = max(1, min(n_views, fitting))
        self.note = ""
        if fitting < n_views:
            room = f"{limit_mb} MB (memory), or half of the free disk"
            self.note = f"{max(fitting, 0)} of {n_views} kept views of each photo fit into {room}"

    def training_input(self, draw: Sample) -> Tensor:
        """The inner layer of one of the row's views; which one comes from (seed, epoch, row, number) alone."""
        view = key_seed(self.seed, draw.epoch, draw.row, draw.number) % self.n_views
        # View by view, so that where not even one of each photo fits, some photos' are kept all the same.
        place = len(self._watched) + view * len(self._rows) + self._rows[draw.row]
        kept = Sample(draw.row, draw.targets, _STORED_EPOCH, view)
        return self.store.entry(place, lambda: self.inputs.training_input(kept))

    def validation_input(self, row: int) -> Tensor:
        """The inner layer of a row's fixed view."""
        return self.store.entry(self._watched[row], lambda: self.inputs.validation_input(row))


def n_last_blocks(network: MultiHeadNetwork, train: Layers) -> int | None:
    """Blocks at the end of a network that hold all that learns; 0 if the head alone does, None if the stem does too.

    Args:
        network: The network.
        train: As in `PhaseConfig.train`.
    """
    depths = [network.depth(name) for name in trained_names(network, train) - network.head_names()]
    if not depths:
        return 0
    return network.blocks.n - min(depths) + 1 if min(depths) > 0 else None


def _remove(folder: Path, process: int) -> None:
    """Remove a folder, but not at the end of a worker that was forked off."""
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)
