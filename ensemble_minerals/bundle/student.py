"""The student: one small network that learned an ensemble's answers, saved so that it needs nothing else.

``student.json`` says what it is, how it was made and its figures, and holds digests of the other files;
``student.safetensors`` is the network; ``out_of_fold.safetensors`` are answers for the photos of the fit, by students
that never saw them; ``fold_student.safetensors`` is one of these students. Nothing in it executes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from ensemble_minerals.bundle.index import StudentIndex
from ensemble_minerals.bundle.network_files import check_stated
from ensemble_minerals.bundle.optional_parts import (
    MANIFEST,
    PROPERTIES,
    check_properties,
    read_manifest,
    read_properties,
)
from ensemble_minerals.bundle.rejection import read_rejection, write_rejection
from ensemble_minerals.bundle.saved_folder import SavedFolder, damage
from ensemble_minerals.bundle.schema import FOLD_STUDENT, STUDENT, STUDENT_SCHEMA, write_json
from ensemble_minerals.config.messages import validated
from ensemble_minerals.config.properties import Properties
from ensemble_minerals.ensemble.conformal import ConformalSets
from ensemble_minerals.ensemble.oof import OutOfFold, checked_proba
from ensemble_minerals.ensemble.rejection import Rejection
from ensemble_minerals.networks.models.state_metadata import check_numbers, read_state_metadata
from ensemble_minerals.system.arrays import checked_array, read_arrays, read_header
from ensemble_minerals.system.atomic import atomic_folder, user_errors
from ensemble_minerals.system.paths import check_output
from ensemble_minerals.system.runtime import DecodeLimits
from ensemble_minerals.system.versions import installed_versions
from ensemble_minerals.taxonomy import Taxonomy

if TYPE_CHECKING:
    from ensemble_minerals.data.manifest import Manifest
    from ensemble_minerals.networks.graphs.student import StudentGraph
    from ensemble_minerals.networks.models.state import NetworkState

_TENSORS = "student.safetensors"
_ANSWERS = "out_of_fold.safetensors"


@dataclass(frozen=True)
class FoldStudent:
    """The student of one fold, on which the cost of a change to the network is measured.

    Attributes:
        graph: From photos to probabilities.
        held_out: Rows of the manifest that it never saw, (n,).
        y: Class positions of these.
        training: Rows of the manifest that it learned from.
    """

    graph: StudentGraph
    held_out: NDArray[np.int64]
    y: NDArray[np.int64]
    training: NDArray[np.int64]


@dataclass(frozen=True)
class Student:
    """A student on disk, read and checked.

    Attributes:
        folder: Its files.
        taxonomy: Classes, in the order of the probabilities, and their groups.
        rejection: What tells photos that show none of the classes; None where the student has nothing of the kind.
    """

    folder: SavedFolder
    taxonomy: Taxonomy
    rejection: Rejection | None = None

    @property
    def path(self) -> Path:
        """The directory."""
        return self.folder.path

    @property
    def info(self) -> Mapping[str, Any]:
        """What ``student.json`` says, see `StudentIndex`."""
        return self.folder.index

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.taxonomy.classes

    @property
    def temperature(self) -> float:
        """Divides the log-odds."""
        return float(self.info["temperature"])

    @property
    def limits(self) -> DecodeLimits:
        """Sizes of the photos that are decoded."""
        return DecodeLimits(int(self.info["data"]["max_pixels"]), int(self.info["data"]["min_side"]))

    def graph(self) -> StudentGraph:
        """The network, photos to probabilities.

        Raises:
            BundleError: If its tensors are damaged.
        """
        from ensemble_minerals.networks.graphs.student import read_student_graph

        return read_student_graph(self.folder.files[_TENSORS], self.temperature)

    def fold_student(self) -> FoldStudent | None:
        """The student of one fold; None for a student of an earlier version.

        Raises:
            BundleError: If it is damaged.
        """
        from ensemble_minerals.networks.graphs.student import read_student_graph

        if FOLD_STUDENT not in self.folder.files:
            return None
        y, _, _ = self._out_of_fold()
        with self.folder.reading(_ANSWERS) as file:
            arrays, _ = read_arrays(file)
            row = checked_array(arrays, "row", np.int64, (len(y),))
            held_out = checked_array(arrays, "held_out", np.int64, (len(y),)) == 1
            if held_out.all() or not held_out.any():
                raise ValueError("held_out must name some of the rows, and not all")
        graph = read_student_graph(self.folder.files[FOLD_STUDENT], self.temperature)
        return FoldStudent(graph, row[held_out], y[held_out], row[~held_out])

    @property
    def properties(self) -> Properties | None:
        """Properties of the classes that a hand can test; None where the ensemble had none."""
        return read_properties(self.folder)

    @property
    def photo_root(self) -> Path | None:
        """Folder of the photos of the fit, where it was; None where the student does not say."""
        root = self.info["data"].get("root_path")
        return None if root is None else Path(root)

    def manifest(self, root: Path) -> Manifest | None:
        """The photos of the fit, whose paths are relative to `root`; None for a student of an earlier version."""
        return read_manifest(self.folder, root) if MANIFEST in self.folder.files else None

    def conformal_sets(self) -> ConformalSets:
        """Prediction sets calibrated on the out-of-fold answers, by row groups and class."""
        y, proba, row_group = self._out_of_fold()
        return ConformalSets().fit(y, proba, row_group)

    @property
    def class_counts(self) -> NDArray[np.intp]:
        """Rows of the fit by class, (n_classes,)."""
        y, _, _ = self._out_of_fold()
        return np.bincount(y, minlength=len(self.classes))

    def _out_of_fold(self) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
        """Class, calibrated answer and row group of the rows of the fit."""
        n_classes = len(self.classes)
        with self.folder.reading(_ANSWERS) as file:
            arrays, _ = read_arrays(file)
            proba = checked_proba(arrays, "proba", (None, n_classes))
            y, row_group = (
                checked_array(arrays, name, np.int64, (len(proba),)) for name in ("y", "row_group")
            )
            if not y.size or y.min() < 0 or y.max() >= n_classes:
                raise ValueError(f"y must be positions of the {n_classes} classes")
        return y, proba, row_group


def is_student(path: Path) -> bool:
    """Whether a folder holds a student, and not a bundle or something else."""
    return STUDENT.matches(path)


def read_student(path: Path) -> Student:
    """Read a student, checking everything but its out-of-fold answers before anything is built.

    Raises:
        BundleError: If it is missing, damaged, or of a format this version does not know.
    """
    folder = STUDENT_SCHEMA.read(path)
    stated = validated(StudentIndex, folder.index)
    with damage(path / STUDENT.marker, folder.again):
        taxonomy = Taxonomy.from_tree(stated.classes, stated.taxonomy)
    for name in sorted(folder.files.keys() & {_TENSORS, FOLD_STUDENT}):
        _check_network(folder, name, stated)
    check_properties(folder, stated.classes)
    return Student(folder, taxonomy, read_rejection(folder, len(stated.classes), ["student"]))


def _check_network(folder: SavedFolder, name: str, stated: StudentIndex) -> None:
    with folder.reading(name) as file:
        state, _ = read_state_metadata(file)
        check_stated(state, stated.network)
        check_numbers(file)
        n_outcomes = [count for _, count in state.decisions]
        if n_outcomes != [len(stated.classes)]:
            raise ValueError(
                f"decisions: it is a network for {n_outcomes} classes, not for {len(stated.classes)}"
            )
        if state.n_tensors != len(read_header(file).arrays):
            raise ValueError(f"it lacks tensors of its network, which has {state.n_tensors}")


def write_student(
    path: Path,
    state: NetworkState,
    metadata: Mapping[str, Any],
    answers: OutOfFold,
    *,
    properties: Properties | None = None,
    rejection: Rejection | None = None,
    manifest: Manifest | None = None,
    fold_student: tuple[int, NetworkState] | None = None,
    overwrite: bool = False,
) -> Path:
    """Save a student; it appears under `path` whole or not at all.

    Args:
        path: The folder.
        state: Its network, complete.
        metadata: What else ``student.json`` says.
        answers: What students answered for the rows of the fit that they never saw, calibrated and cross-fitted.
        properties: Of the classes, if there are any.
        rejection: What tells photos that show none of the classes, if there is such a thing.
        manifest: The photos of the fit, if they are to be found again.
        fold_student: Number of a fold, and the complete network that never saw its rows, if one is kept.
        overwrite: Replace a student that is there.

    Raises:
        UserError: If `path` exists and may not be replaced, or it cannot be written.
    """
    check_output(path, kind=STUDENT, overwrite=overwrite)
    with user_errors(path), atomic_folder(path) as folder:
        state.save(folder / _TENSORS)
        arrays = {
            "proba": np.ascontiguousarray(answers.proba),
            "y": answers.known.y.astype(np.int64),
            "row_group": answers.known.groups.astype(np.int64),
            "row": answers.row.astype(np.int64),
        }
        if fold_student is not None:
            fold, fold_state = fold_student
            fold_state.save(folder / FOLD_STUDENT)
            arrays["held_out"] = (answers.known.folds == fold).astype(np.int64)
        save_file(arrays, folder / _ANSWERS)
        write_rejection(folder, rejection)
        if properties is not None:
            write_json(folder / PROPERTIES, properties.model_dump(mode="json"))
        if manifest is not None:
            manifest.write_csv(folder / MANIFEST)
        STUDENT_SCHEMA.write(folder, {**metadata, "packages": installed_versions()})
    return path
