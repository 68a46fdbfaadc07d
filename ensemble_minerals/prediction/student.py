"""The student: one small network that learned an ensemble's answers, saved so that it stands alone.

A directory that appears whole or not at all: ``student.json`` (what it is, how it was made, its figures, digests of
the other files), ``student.safetensors`` (the network), ``out_of_fold.safetensors`` (answers for the photos of the
fit, by students that never saw them). Nothing in it executes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from ensemble_minerals.data.views import needed_side
from ensemble_minerals.ensemble.conformal import ConformalSets
from ensemble_minerals.errors import BundleError, TaxonomyError
from ensemble_minerals.features.extraction import extract_features
from ensemble_minerals.features.extractor import JSON, fingerprint_of
from ensemble_minerals.log_space import log_normalize
from ensemble_minerals.prediction.predictor import expand_inputs
from ensemble_minerals.prediction.table import Predictions, check_sets
from ensemble_minerals.system.atomic import atomic_folder, recover, user_errors
from ensemble_minerals.system.digest import file_digest
from ensemble_minerals.system.paths import FolderKind, check_output
from ensemble_minerals.system.runtime import DecodeLimits
from ensemble_minerals.system.versions import installed_versions
from ensemble_minerals.taxonomy import Taxonomy

if TYPE_CHECKING:
    from ensemble_minerals.networks.graphs.student import StudentGraph
    from ensemble_minerals.networks.models.state import NetworkState

FORMAT = 1
"""Number of the format that `write_student` writes."""

INDEX = "student.json"
STUDENT = FolderKind("student", INDEX)
_TENSORS = "student.safetensors"
_ANSWERS = "out_of_fold.safetensors"
_STATED: Mapping[str, type] = {
    "classes": list, "taxonomy": dict, "network": dict, "temperature": float, "data": dict, "teacher": dict,
    "metrics": dict, "files": dict,
}  # fmt: skip


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


@dataclass(frozen=True)
class OutOfFoldAnswers:
    """A student's answers for rows that neither it nor its labels had to do with.

    Attributes:
        proba: Calibrated, cross-fitted, shape (n, n_classes).
        y: Class positions, shape (n,).
        row_group: Row group of each row, shape (n,).
        row: Position of each row in the teacher's manifest, shape (n,).
    """

    proba: NDArray[np.float64]
    y: NDArray[np.intp]
    row_group: NDArray[np.intp]
    row: NDArray[np.intp]


class StudentExtractor:
    """A student as a feature extractor: its log-odds, before the temperature."""

    name = "student"
    n_views = 1

    def __init__(self, graph: StudentGraph, n_classes: int, n_threads: int = 1) -> None:
        self._graph = graph
        self._n_threads = n_threads
        self.n_features = n_classes
        self.side = needed_side(graph.names, graph.side)
        self.metadata: Mapping[str, JSON] = {"kind": "student", "views": list(graph.names), "side": self.side}
        self.fingerprint = fingerprint_of(self.metadata)

    def extract(self, photos: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Log-odds of decoded photos, shape (n, 1, n_classes)."""
        return np.stack([self._graph.answer(photo, self._n_threads) for photo in photos])[:, None]


class StudentPredictor:
    """A loaded student that answers, as `predict.Predictor` does."""

    def __init__(self, student: Student, n_threads: int = 2) -> None:
        """Load the network.

        Args:
            student: As `read_student` returned it.
            n_threads: Threads that decode, and of the network.

        Raises:
            BundleError: If its tensors are damaged.
        """
        self.student = student
        self.n_threads = n_threads
        self.extractor = StudentExtractor(student.graph(), len(student.classes), n_threads)

    def predict(
        self,
        inputs: Sequence[str | Path],
        progress: Callable[[int, int], None] | None = None,
        *,
        sets: float | None = None,
    ) -> Predictions:
        """Answer for photos, see `predict.Predictor.predict`.

        Raises:
            UserError: If an input matches nothing, or `sets` is no probability.
        """
        check_sets(sets)
        paths = expand_inputs(inputs)
        found = extract_features(
            paths,
            [""] * len(paths),
            [self.extractor],
            n_threads=self.n_threads,
            limits=self.student.limits,
            progress=progress,
        )
        readable = np.array([row for row in range(len(paths)) if row not in found.errors], dtype=np.intp)
        proba = np.full((len(paths), len(self.student.classes)), np.nan)
        log_odds = found.features[self.extractor.name][readable, 0].astype(np.float64)
        proba[readable] = np.exp(log_normalize(log_odds / self.student.temperature))
        member_of_set = None
        if sets is not None:
            member_of_set = np.zeros(proba.shape, dtype=bool)
            member_of_set[readable] = self.student.conformal_sets().predict(proba[readable], sets)
        reasons = [str(found.errors.get(row, "")) for row in range(len(paths))]
        name = (str(self.student.info["network"].get("model", "student")),)
        return Predictions(
            tuple(paths),
            tuple(reasons),
            proba,
            proba[:, None].copy(),
            name,
            self.student.taxonomy,
            member_of_set,
        )

    def predict_proba(self, inputs: Sequence[str | Path]) -> NDArray[np.float64]:
        """Calibrated probabilities, shape (n, n_classes); NaN rows for photos that could not be read."""
        return self.predict(inputs).proba


def is_student(path: Path) -> bool:
    """Whether a folder holds a student, and not a bundle or something else."""
    return STUDENT.matches(path)


def load_student(path: str | Path, n_threads: int = 2) -> StudentPredictor:
    """Read a student and get ready to answer.

    Raises:
        BundleError: If it is missing, damaged or of an unknown format.
    """
    return StudentPredictor(read_student(Path(path)), n_threads)


def write_student(
    path: Path,
    state: NetworkState,
    metadata: Mapping[str, Any],
    answers: OutOfFoldAnswers,
    *,
    overwrite: bool = False,
) -> Path:
    """Save a student; it appears under `path` whole or not at all.

    Args:
        path: The directory.
        state: Its network, complete.
        metadata: What else ``student.json`` says.
        answers: Its out-of-fold answers.
        overwrite: Replace a student that stands there.

    Raises:
        UserError: If something stands at `path` that may not be replaced, or it cannot be written.
    """
    check_output(path, kind=STUDENT, overwrite=overwrite)
    with user_errors(path), atomic_folder(path) as folder:
        state.save(folder / _TENSORS)
        save_file(
            {
                "proba": np.ascontiguousarray(answers.proba, dtype=np.float64),
                "y": answers.y.astype(np.int64),
                "row_group": answers.row_group.astype(np.int64),
                "row": answers.row.astype(np.int64),
            },
            folder / _ANSWERS,
        )
        index = {
            "format": FORMAT,
            **metadata,
            "packages": installed_versions(),
            "files": {name: file_digest(folder / name) for name in (_TENSORS, _ANSWERS)},
        }
        text = json.dumps(index, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        (folder / INDEX).write_text(text, encoding="utf-8", errors="backslashreplace")
    return path


def read_student(path: Path) -> Student:
    """Read a student, checking format and digests before anything is built.

    Raises:
        BundleError: If it is missing, damaged, or of a format this version does not know.
    """
    recover(path)
    if not is_student(path):
        raise BundleError(
            f"there is no student at {path}: it has no {INDEX}; `ensemble-minerals distill` makes one"
        )
    file = path / INDEX
    try:
        info: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        number = int(info["format"])
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{file} is damaged: {error}") from error
    if number != FORMAT:
        raise BundleError(
            f"{path} has format {number}, this version reads format {FORMAT}; upgrade ensemble-minerals"
        )
    lacking = [key for key, kind in _STATED.items() if not isinstance(info.get(key), kind)]
    if lacking or not {_TENSORS, _ANSWERS} <= set(info["files"]):
        raise BundleError(f"{file} is damaged: {', '.join(lacking) or 'files'} is missing or incomplete")
    for name in (_TENSORS, _ANSWERS):
        if not (path / name).is_file():
            raise BundleError(f"{path}: {name} is missing; the student is incomplete, distill it again")
        if file_digest(path / name) != info["files"][name]:
            raise BundleError(f"{path}: {name} was changed afterwards (its digest differs); distill it again")
    try:
        taxonomy = Taxonomy.from_tree(tuple(info["classes"]), info["taxonomy"])
    except TaxonomyError as error:
        raise BundleError(f"{file} is damaged: {str(error).splitlines()[0]}") from error
    return Student(path, info, taxonomy)
