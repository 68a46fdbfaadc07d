"""A student that predicts photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.bundle.student import Student, read_student
from ensemble_minerals.config.properties import Properties
from ensemble_minerals.ensemble.combination import centered
from ensemble_minerals.ensemble.conformal import ConformalSets
from ensemble_minerals.ensemble.rejection import ANSWERS, Rejection
from ensemble_minerals.features.extractor import JSON, fingerprint_of
from ensemble_minerals.log_space import log_normalize
from ensemble_minerals.prediction.photo_predictor import Answer, PhotoPredictor
from ensemble_minerals.prediction.typicality import typicality_of

if TYPE_CHECKING:
    from ensemble_minerals.networks.graphs.student import StudentGraph


class StudentExtractor:
    """A student as a feature extractor: its log-odds, before the temperature.

    Args:
        graph: The network.
        n_classes: Number of classes.
        n_threads: Threads that it may use.
    """

    name = "student"
    n_views = 1

    def __init__(self, graph: StudentGraph, n_classes: int, n_threads: int = 1) -> None:
        self._graph = graph
        self._n_threads = n_threads
        self.n_features = n_classes
        self.side = graph.side
        self.metadata: Mapping[str, JSON] = {"kind": "student", "views": list(graph.names), "side": self.side}
        self.fingerprint = fingerprint_of(self.metadata)

    def extract(self, photos: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Log-odds of decoded photos, shape (n, 1, n_classes)."""
        return np.stack([self._graph.answer(photo, self._n_threads) for photo in photos])[:, None]


class StudentPredictor(PhotoPredictor):
    """A loaded student that predicts photos.

    Args:
        student: As `read_student` returned it.
        n_threads: Threads that decode, and of the network.

    Raises:
        BundleError: If its tensors are damaged.
    """

    def __init__(self, student: Student, n_threads: int = 2) -> None:
        extractor = StudentExtractor(student.graph(), len(student.classes), n_threads)
        member = str(student.info["network"].get("model", "student"))
        extractors = {extractor.name: extractor}
        super().__init__(student.path, extractors, student.taxonomy, [member], student.limits, n_threads)
        self.student = student

    def answer(self, features: Mapping[str, NDArray[np.float32]]) -> Answer:
        """See `PhotoPredictor.answer`; the student is its only member."""
        log_odds = features[StudentExtractor.name][:, 0].astype(np.float64)
        log_proba = log_normalize(log_odds / self.student.temperature)
        return Answer(
            log_proba[:, None],
            log_proba,
            typicality_of(self, {ANSWERS: centered(log_odds[:, None])}, len(log_proba)),
        )

    @property
    def rejection(self) -> Rejection | None:
        """See `PhotoPredictor.rejection`."""
        return self.student.rejection

    def conformal_sets(self) -> ConformalSets:
        """See `PhotoPredictor.conformal_sets`."""
        return self.student.conformal_sets()

    @property
    def properties(self) -> Properties | None:
        """See `PhotoPredictor.properties`."""
        return self.student.properties

    @property
    def class_counts(self) -> NDArray[np.intp]:
        """See `PhotoPredictor.class_counts`."""
        return self.student.class_counts

    @property
    def is_demonstration(self) -> bool:
        """See `PhotoPredictor.is_demonstration`."""
        return bool(self.student.info.get("demonstration"))


def load_student(path: str | Path, n_threads: int = 2) -> StudentPredictor:
    """Read a student and get ready to predict.

    Raises:
        BundleError: If it is missing, damaged or of an unknown format.
    """
    return StudentPredictor(read_student(Path(path)), n_threads)
