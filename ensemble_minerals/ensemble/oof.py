"""Out-of-fold answers: of models that never saw the row."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.config.fields import Many, Section
from ensemble_minerals.config.messages import validated
from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.errors import EnsembleMineralsError
from ensemble_minerals.log_space import clipped_log
from ensemble_minerals.system.arrays import checked_array, read_arrays
from ensemble_minerals.system.held_file import HeldFile
from ensemble_minerals.system.plain_json import parse_json

Proba = NDArray[np.floating[Any]]


class OutOfFoldError(EnsembleMineralsError):
    """A row was written twice, never, or with something that is no probability: a defect, not a mistake."""


class OutOfFold:
    """Answers for n known rows by models that never saw them: those of each member, and those of the whole.

    A row that was never predicted is NaN. Every entry is written once.

    Args:
        known: What is known of the rows: class positions, row groups, folds, and names of the classes.
        members: Names of the members, in order; none for a model that has no members.
        row: Position of each row in the manifest, shape (n,); its position here if None.
        member_proba: What the members answered, shape (n_members, n, n_classes); NaN if None.
        proba: What the whole answered, shape (n, n_classes); NaN if None.

    Example:
        >>> known = FoldInputs(np.array([0, 1]), np.arange(2), np.array([0, 1]), np.array(["mica", "quartz"]))
        >>> answers = OutOfFold(known, ["flat"])
        >>> answers.write("flat", np.array([1]), np.array([[0.25, 0.75]]))
        >>> answers.member_proba
        array([[[ nan,  nan],
                [0.25, 0.75]]])
        >>> answers.missing("flat")
        array([0])
    """

    def __init__(
        self,
        known: FoldInputs,
        members: Sequence[str] = (),
        *,
        row: NDArray[np.intp] | None = None,
        member_proba: Proba | None = None,
        proba: Proba | None = None,
    ) -> None:
        self.known = known
        self.members = tuple(members)
        shape = (len(known), len(known.classes))
        self.row = np.arange(len(known)) if row is None else row
        self._member_proba = _array(member_proba, (len(self.members), *shape))
        self._proba = _array(proba, shape)

    def __len__(self) -> int:
        return len(self.known)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the columns."""
        return self.known.names

    @property
    def member_proba(self) -> NDArray[np.float64]:
        """What the members answered, read-only, shape (n_members, n, n_classes)."""
        return _read_only(self._member_proba)

    @property
    def proba(self) -> NDArray[np.float64]:
        """What the whole answered, read-only, shape (n, n_classes)."""
        return _read_only(self._proba)

    def write(self, member: str, rows: NDArray[np.intp], proba: Proba) -> None:
        """Record what a member predicted for rows it never saw.

        Args:
            member: Its name.
            rows: Positions, shape (k,).
            proba: Shape (k, n_classes).

        Raises:
            OutOfFoldError: If a row was written before, occurs twice in `rows`, or `proba` is no distribution.
        """
        _write(self._member_proba[self.members.index(member)], rows, proba, f"member {member!r}")

    def write_whole(self, rows: NDArray[np.intp], proba: Proba) -> None:
        """Record what a combination predicted for rows it never saw; arguments and errors as of `write`."""
        _write(self._proba, rows, proba, "the ensemble")

    def missing(self, member: str) -> NDArray[np.intp]:
        """Rows the member never predicted."""
        return np.flatnonzero(np.isnan(self._member_proba[self.members.index(member), :, 0]))

    def take(self, rows: NDArray[np.intp]) -> OutOfFold:
        """What is known and was answered of some rows alone, in their order."""
        return OutOfFold(
            self.known.take(rows),
            self.members,
            row=self.row[rows],
            member_proba=self._member_proba[:, rows],
            proba=self._proba[rows],
        )

    def in_manifest(self, row: NDArray[np.intp]) -> OutOfFold:
        """The same answers, with the position of each row in the manifest."""
        return OutOfFold(
            self.known, self.members, row=row, member_proba=self._member_proba, proba=self._proba
        )

    def log_proba(self) -> NDArray[np.float64]:
        """Clipped log-probabilities of the members, shape (n, n_members, n_classes).

        Raises:
            OutOfFoldError: If any member lacks any row.
        """
        for member in self.members:
            missing = self.missing(member)
            if missing.size:
                raise OutOfFoldError(
                    f"member {member!r} never predicted row {missing[0]} ({missing.size} in all)"
                )
        return clipped_log(self._member_proba.transpose(1, 0, 2))

    def save_members(self, path: Path) -> None:
        """Write what the members answered as safetensors, with member and class names beside the array."""
        from safetensors.numpy import save_file

        # One entry: safetensors writes several in an order that differs from run to run.
        names = json.dumps({"members": self.members, "classes": self.classes})
        save_file({"proba": np.ascontiguousarray(self._member_proba)}, path, metadata={"names": names})


class _Columns(Section):
    """Whose answers an array holds: the names along its first and last axis."""

    members: Many[str]
    classes: Many[str]


def read_members(file: HeldFile, classes: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Read what `OutOfFold.save_members` wrote.

    Args:
        file: The file.
        classes: Names of the classes that the columns must belong to.

    Returns:
        Names of the members, and what they answered, shape (n_members, n, n_classes).

    Raises:
        ValueError: If the file holds something else, or answers about other classes.
    """
    arrays, texts = read_arrays(file)
    if "names" not in texts:
        raise ValueError("names is missing: it holds no out-of-fold probabilities")
    names = validated(_Columns, parse_json(texts["names"]))
    if names.classes != tuple(classes):
        raise ValueError(f"names: answers about {', '.join(names.classes)}, not about {', '.join(classes)}")
    shape = (len(names.members), None, len(names.classes))
    return names.members, checked_proba(arrays, "proba", shape)


def checked_proba(
    arrays: Mapping[str, NDArray[Any]], name: str, shape: tuple[int | None, ...]
) -> NDArray[np.float64]:
    """The array of a name, if it holds probabilities, whose last axis is that of the classes.

    Raises:
        ValueError: If it does not.
    """
    proba = checked_array(arrays, name, np.float64, shape)
    if not _are_distributions(proba):
        raise ValueError(f"{name} holds something else than probabilities, which add up to 1")
    return proba


def _are_distributions(proba: Proba) -> bool:
    return bool(
        np.isfinite(proba).all()
        and (proba >= 0).all()
        and np.abs(proba.sum(axis=-1) - 1).max(initial=0) <= 1e-4
    )


def _array(given: Proba | None, shape: tuple[int, ...]) -> NDArray[np.float64]:
    if given is None:
        return np.full(shape, np.nan)
    if given.shape != shape:
        raise ValueError(f"answers of shape {given.shape}; expected {shape}")
    return np.array(given, dtype=np.float64)


def _read_only(values: NDArray[np.float64]) -> NDArray[np.float64]:
    view = values.view()
    view.flags.writeable = False
    return view


def _write(into: NDArray[np.float64], rows: NDArray[np.intp], proba: Proba, who: str) -> None:
    """Fill rows of an array of shape (n, n_classes) that are NaN yet."""
    if len(np.unique(rows)) != len(rows):
        raise OutOfFoldError(f"{who}: a row occurs twice in one fold")
    written = rows[~np.isnan(into[rows, 0])]
    if written.size:
        raise OutOfFoldError(f"{who}: row {written[0]} was predicted before, in another fold")
    if not _are_distributions(proba):
        raise OutOfFoldError(f"{who}: its answer is no probability distribution over the classes")
    into[rows] = proba
