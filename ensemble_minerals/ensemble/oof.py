"""Out-of-fold probabilities: predicted by members that never saw the row."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.errors import BundleError, EnsembleMineralsError
from ensemble_minerals.log_space import clipped_log


class OutOfFoldError(EnsembleMineralsError):
    """A row was written twice, never, or with something that is no probability: a defect, not a mistake."""


class ProbabilityStore:
    """(member, row) -> probabilities of the classes; NaN where never predicted; every entry is written once.

    Args:
        members: Names of the members, in order.
        n_rows: Number of rows.
        classes: Names of the classes, in the order of the columns.

    Attributes:
        members: As given.
        classes: As given.
        proba: Shape (n_members, n_rows, n_classes), float64, not writable from outside.
    """

    def __init__(self, members: Sequence[str], n_rows: int, classes: Sequence[str]) -> None:
        self.members = tuple(members)
        self.classes = tuple(classes)
        self._proba = np.full((len(self.members), n_rows, len(self.classes)), np.nan)

    @property
    def proba(self) -> NDArray[np.float64]:
        """All probabilities, read-only, shape (n_members, n_rows, n_classes)."""
        view = self._proba.view()
        view.flags.writeable = False
        return view

    def write(self, member: str, rows: NDArray[np.intp], proba: NDArray[np.floating[Any]]) -> None:
        """Record what a member predicted for rows it never saw.

        Args:
            member: Its name.
            rows: Positions, shape (k,).
            proba: Shape (k, n_classes).

        Raises:
            OutOfFoldError: If a row was written before, stands twice in `rows`, or `proba` is no distribution.
        """
        index = self.members.index(member)
        if len(np.unique(rows)) != len(rows):
            raise OutOfFoldError(f"member {member!r}: a row stands twice in one fold")
        written = rows[~np.isnan(self._proba[index, rows, 0])]
        if written.size:
            raise OutOfFoldError(f"member {member!r}: row {written[0]} was predicted before, in another fold")
        if (
            not np.isfinite(proba).all()
            or (proba < 0).any()
            or np.abs(proba.sum(axis=1) - 1).max(initial=0) > 1e-4
        ):
            raise OutOfFoldError(
                f"member {member!r}: its answer is no probability distribution over the classes"
            )
        self._proba[index, rows] = proba

    def missing(self, member: str) -> NDArray[np.intp]:
        """Rows the member never predicted."""
        return np.flatnonzero(np.isnan(self._proba[self.members.index(member), :, 0]))

    def of(self, rows: NDArray[np.intp]) -> ProbabilityStore:
        """What is known of some rows alone, in their order."""
        part = ProbabilityStore(self.members, len(rows), self.classes)
        part._proba = self._proba[:, rows]
        return part

    def log_proba(self) -> NDArray[np.float64]:
        """Clipped log-probabilities, shape (n_rows, n_members, n_classes).

        Raises:
            OutOfFoldError: If any member lacks any row.
        """
        for member in self.members:
            missing = self.missing(member)
            if missing.size:
                raise OutOfFoldError(
                    f"member {member!r} never predicted row {missing[0]} ({missing.size} in all)"
                )
        return clipped_log(self._proba.transpose(1, 0, 2))

    def save(self, path: Path) -> None:
        """Write as safetensors, with member and class names beside the array."""
        from safetensors.numpy import save_file

        # One entry: safetensors writes several in an order that differs from run to run.
        names = json.dumps({"members": self.members, "classes": self.classes})
        save_file({"proba": np.ascontiguousarray(self._proba)}, path, metadata={"names": names})

    @classmethod
    def load(cls, path: Path) -> ProbabilityStore:
        """Read what `save` wrote.

        Raises:
            BundleError: If the file is not such a store.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="numpy") as file:
                names, proba = json.loads((file.metadata() or {})["names"]), file.get_tensor("proba")
            store = cls(names["members"], proba.shape[1], names["classes"])
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise BundleError(f"{path.name} holds no out-of-fold probabilities: {error}") from error
        if proba.shape != store._proba.shape:
            raise BundleError(f"{path.name}: {proba.shape} probabilities for {store._proba.shape} names")
        store._proba = proba.astype(np.float64)
        return store
