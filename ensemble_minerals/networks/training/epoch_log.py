"""Log of the epochs of a training, as CSV and JSON, and on request for TensorBoard."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import ConfigDict

from ensemble_minerals.config.fields import Many, Section
from ensemble_minerals.system.atomic import atomic_file
from ensemble_minerals.system.csv_file import write_csv

Record: TypeAlias = dict[str, float | int | None]


class Epoch(Section):
    """One epoch of one network; a value that was not recorded is None.

    Attributes:
        phase: From 1.
        epoch: From 1, over all phases.
        train_loss: The loss that is minimized, with its smoothing and augmentation.
        train_accuracy: On the training rows.
        train_macro_f1: On the training rows.
        validation_loss: Plain log-loss on the inner validation rows; None where there are none.
        validation_accuracy: On the inner validation rows.
        validation_macro_f1: On the inner validation rows.
        lr: Learning rate of the head when the epoch began.
        seconds: Duration.
    """

    model_config = ConfigDict(extra="ignore")  # a later version may record more

    phase: int
    epoch: int
    train_loss: float | None = None
    train_accuracy: float | None = None
    train_macro_f1: float | None = None
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    validation_macro_f1: float | None = None
    lr: float | None = None
    seconds: float | None = None


class Epochs(Section):
    """The epochs of one network."""

    epochs: Many[Epoch]


FIELDS = tuple(Epoch.model_fields)
"""Names of what is recorded of an epoch, in order."""


class TrainingLog:
    """Records of epochs; each is written at once.

    Args:
        folder: Folder for ``epochs.csv`` and ``epochs.json``; None writes no files.
        tensorboard: Folder for TensorBoard's event files; None writes none.

    Attributes:
        records: One record an epoch, see `FIELDS`.
    """

    def __init__(self, folder: Path | None = None, tensorboard: Path | None = None) -> None:
        self.folder = folder
        self.records: list[Record] = []
        self._writer: Any = None
        if tensorboard is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(tensorboard))

    def add(self, values: Mapping[str, float | None]) -> None:
        """Add an epoch.

        Args:
            values: By the names of `FIELDS`; values that are missing or not finite are None in the record.
        """
        record = {name: _finite(values.get(name)) for name in FIELDS}
        self.records.append(record)
        self._write()
        self._write_events(record)

    def restore(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Continue the records of an interrupted training."""
        self.records = [{name: record.get(name) for name in FIELDS} for record in records]
        self._write()

    def close(self) -> None:
        """Close TensorBoard's files."""
        if self._writer is not None:
            self._writer.close()

    def _write(self) -> None:
        if self.folder is None:
            return
        with atomic_file(self.folder / "epochs.csv", durable=False) as draft:
            write_csv(draft, FIELDS, self.records)
        with atomic_file(self.folder / "epochs.json", durable=False) as draft:
            draft.write_text(json.dumps(self.records, indent=1) + "\n", encoding="ascii")

    def _write_events(self, record: Record) -> None:
        if self._writer is None:
            return
        for name in FIELDS[2:]:
            if record[name] is not None:
                self._writer.add_scalar(name, record[name], record["epoch"])


def _finite(value: float | None) -> float | int | None:
    return value if isinstance(value, int) or (value is not None and math.isfinite(value)) else None
