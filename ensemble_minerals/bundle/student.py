"""The student: one small network that learned an ensemble's answers, saved so that it needs nothing else.

``student.json`` says what it is, how it was made and its figures, and holds digests of the other files;
``student.safetensors`` is the network; ``out_of_fold.safetensors`` are answers for the photos of the fit, by students
that never saw them. Nothing in it executes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import load_file, save_file

from ensemble_minerals.bundle.schema import STUDENT, STUDENT_SCHEMA
from ensemble_minerals.ensemble.conformal import ConformalSets
from ensemble_minerals.ensemble.oof import OutOfFold
from ensemble_minerals.errors import BundleError, TaxonomyError
from ensemble_minerals.system.atomic import atomic_folder, user_errors
from ensemble_minerals.system.paths import check_output
from ensemble_minerals.system.runtime import DecodeLimits
from ensemble_minerals.system.versions import installed_versions
from ensemble_minerals.taxonomy import Taxonomy

if TYPE_CHECKING:
    from ensemble_minerals.networks.graphs.student import StudentGraph
    from ensemble_minerals.networks.models.state import NetworkState

_TENSORS = "student.safetensors"
_ANSWERS = "out_of_fold.safetensors"


@dataclass(frozen=True)
class Student:
    """A student on disk, read and checked.

    Attributes:
        path: The directory.
        info: What ``student.json`` says.
        taxonomy: Classes, in the order of the probabilities, and their groups.
    """

    path: Path
    info: Mapping[str, Any]
    taxonomy: Taxonomy

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

        return read_student_graph(self.path / _TENSORS, len(self.classes), self.temperature)

    def conformal_sets(self) -> ConformalSets:
        """Prediction sets calibrated on the out-of-fold answers, by row groups and class."""
        arrays = load_file(self.path / _ANSWERS)
        return ConformalSets().fit(arrays["y"], arrays["proba"], arrays["row_group"])


def is_student(path: Path) -> bool:
    """Whether a folder holds a student, and not a bundle or something else."""
    return STUDENT.matches(path)


def read_student(path: Path) -> Student:
    """Read a student, checking format and digests before anything is built.

    Raises:
        BundleError: If it is missing, damaged, or of a format this version does not know.
    """
    info = STUDENT_SCHEMA.read(path)
    try:
        taxonomy = Taxonomy.from_tree(tuple(info["classes"]), info["taxonomy"])
    except TaxonomyError as error:
        raise BundleError(f"{path / STUDENT.marker} is damaged: {str(error).splitlines()[0]}") from error
    return Student(path, info, taxonomy)


def write_student(
    path: Path,
    state: NetworkState,
    metadata: Mapping[str, Any],
    answers: OutOfFold,
    *,
    overwrite: bool = False,
) -> Path:
    """Save a student; it appears under `path` whole or not at all.

    Args:
        path: The folder.
        state: Its network, complete.
        metadata: What else ``student.json`` says.
        answers: What students answered for the rows of the fit that they never saw, calibrated and cross-fitted.
        overwrite: Replace a student that is there.

    Raises:
        UserError: If `path` exists and may not be replaced, or it cannot be written.
    """
    check_output(path, kind=STUDENT, overwrite=overwrite)
    with user_errors(path), atomic_folder(path) as folder:
        state.save(folder / _TENSORS)
        save_file(
            {
                "proba": np.ascontiguousarray(answers.proba),
                "y": answers.known.y.astype(np.int64),
                "row_group": answers.known.groups.astype(np.int64),
                "row": answers.row.astype(np.int64),
            },
            folder / _ANSWERS,
        )
        STUDENT_SCHEMA.write(folder, {**metadata, "packages": installed_versions()})
    return path
