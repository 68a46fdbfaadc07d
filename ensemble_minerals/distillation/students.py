"""Training students: one for each fold, on the rows outside of it, and one on all rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.config.networks import NetworkConfig
from ensemble_minerals.data.folds import NO_FOLD
from ensemble_minerals.data.image_cache import ImageCache
from ensemble_minerals.data.subproblem import Subproblem
from ensemble_minerals.distillation.data import DistillationData
from ensemble_minerals.ensemble.calibration import TemperatureScaling
from ensemble_minerals.errors import DataError
from ensemble_minerals.features.costs import measure_extractors
from ensemble_minerals.features.extraction import extract_features
from ensemble_minerals.features.trained_network import image_side
from ensemble_minerals.log_space import log_normalize
from ensemble_minerals.members.network_folds import count_epochs, reported
from ensemble_minerals.prediction.student import StudentExtractor
from ensemble_minerals.system.parallel import end_worker_with_parent
from ensemble_minerals.system.runtime import DecodeLimits, Runtime
from ensemble_minerals.system.seeds import derived_seed

if TYPE_CHECKING:
    from ensemble_minerals.networks.models.state import NetworkState

_TIMED_PHOTOS = 8
"""Photos on which a student is timed."""


@dataclass(frozen=True)
class TrainedStudents:
    """The student that is saved, and what is known of it.

    Attributes:
        state: The network that was trained on all rows, complete.
        of_fold: The student of the first fold.
        log_odds: What the students of the folds answered for the rows that they never saw, (n, n_classes).
        notes: What the user should know, one sentence each.
    """

    state: NetworkState
    of_fold: FoldStudent
    log_odds: NDArray[np.float64]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class FoldStudent:
    """The student of one fold.

    Attributes:
        fold: The fold whose rows it never saw; `NO_FOLD` for the one that was trained on all rows.
        state: The network, complete.
        log_odds: Its answers for the rows of the fold, (n_held_out, n_classes).
        notes: What the user should know.
    """

    fold: int
    state: NetworkState
    log_odds: NDArray[np.float32]
    notes: tuple[str, ...]


class StudentTraining:
    """Trains students on a mixture of labels and of the teacher's out-of-fold answers.

    Args:
        data: What they learn from.
        network: What is trained.
        label_weight: Weight of the label in the mixture, between 0 and 1; the rest is the teacher's answer.
        limits: Sizes of the photos that are decoded.
        seed: Seed of everything random.
        work: Folder of photos for networks, logs and checkpoints; what was interrupted there is taken up.
    """

    def __init__(
        self,
        data: DistillationData,
        network: NetworkConfig,
        *,
        label_weight: float,
        limits: DecodeLimits,
        seed: int,
        work: Path,
    ) -> None:
        self.data, self.network, self.limits, self.seed, self.work = data, network, limits, seed, work
        self.soft_targets = soft_targets(data, label_weight)
        self.images = ImageCache(
            data.files,
            side=image_side(network),
            folder=work / "pictures",
            limit_mb=network.memory,
            limits=limits,
            image_ids=data.image_ids,
        )

    def seconds(self, n_jobs: int) -> float:
        """About how long `run` takes, measured on single steps of training; photos that are read are not counted."""
        from ensemble_minerals.networks.training.cost import measure_training

        known = self.data.teacher.known
        cost = measure_training(self.network, self.soft_targets.shape[1])
        folds = [*known.numbers, NO_FOLD]
        trained = sum(len(known.training(fold)) for fold in folds) * cost.training
        answered = len(known.y) * cost.forward * len(self.network.views)
        return (trained + answered) / min(n_jobs, len(folds))

    def run(self, runtime: Runtime) -> TrainedStudents:
        """Train all students, several at once.

        Raises:
            DataError: If a photo cannot be read any more.
            FitError: If training diverges.
        """
        known = self.data.teacher.known
        folds = [*known.numbers, NO_FOLD]
        self.images.prepare(runtime.n_jobs, runtime.progress.stage("Reading photos"))
        at_once = min(runtime.n_jobs, len(folds))
        n_threads = max(1, runtime.n_jobs // at_once)
        epochs = sum(phase.epochs for phase in self.network.phases) * len(folds)
        stage = runtime.progress.stage(f"Training {len(folds)} students, epochs")
        run = joblib.Parallel(n_jobs=at_once)
        with reported(lambda: count_epochs(self.work), lambda done: stage(min(done, epochs), epochs)):
            students: list[FoldStudent] = run(
                joblib.delayed(self.train)(fold, self.work / f"student{number}", n_threads)
                for number, fold in enumerate(folds)
            )
        stage(epochs, epochs)
        log_odds = np.full(self.soft_targets.shape, np.nan)
        for student in students:
            log_odds[known.held_out(student.fold)] = student.log_odds
        notes = tuple(dict.fromkeys(note for student in students for note in student.notes))
        return TrainedStudents(students[-1].state, students[0], log_odds, notes)

    def train(self, fold: int, work: Path, n_threads: int) -> FoldStudent:
        """Train the student of one fold, and let it answer for the fold's photos."""
        from ensemble_minerals.networks.graphs.student import complete
        from ensemble_minerals.networks.training.estimator import FineTunedNetwork

        end_worker_with_parent()
        known = self.data.teacher.known
        training, held_out = known.training(fold), known.held_out(fold)
        subproblem = Subproblem(
            "classes",
            np.arange(len(training)),
            known.y[training],
            self.soft_targets.shape[1],
            self.soft_targets[training],
        )
        student = FineTunedNetwork(
            self.network,
            self.images,
            random_state=derived_seed(self.seed, fold + 1),
            n_threads=n_threads,
            work=work,
            name=f"student of fold {fold}" if fold != NO_FOLD else "student",
        )
        student.fit_subproblems(training, [subproblem], known.groups[training])
        state = complete(student.state_, self.network.weights)
        log_odds = self._log_odds(state, [self.data.files[row] for row in held_out], n_threads)
        return FoldStudent(fold, state, log_odds, student.notes_)

    def cost(self, state: NetworkState) -> dict[str, float | None]:
        """Megabytes of a student, and its milliseconds a photo on one thread."""
        extractor = self._extractor(state, 1)
        costs = measure_extractors(
            {extractor.name: extractor}, self.data.files[:_TIMED_PHOTOS], limits=self.limits
        )
        return {
            "megabytes": sum(tensor.nbytes for tensor in state.tensors.values()) / 1e6,
            "predict_ms": costs[extractor.name].predict_ms,
        }

    def _log_odds(self, state: NetworkState, files: Sequence[Path], n_threads: int) -> NDArray[np.float32]:
        """What a student answers for photos, computed as predictions are."""
        extractor = self._extractor(state, n_threads)
        extracted = extract_features(
            files, [""] * len(files), [extractor], n_threads=n_threads, limits=self.limits
        )
        for position, error in extracted.errors.items():
            raise DataError(f"{files[position]} cannot be read any more: {error}")
        log_odds: NDArray[np.float32] = extracted.features[extractor.name][:, 0]
        return log_odds

    def _extractor(self, state: NetworkState, n_threads: int) -> StudentExtractor:
        from ensemble_minerals.networks.graphs.student import student_graph

        return StudentExtractor(student_graph(state, 1.0), self.soft_targets.shape[1], n_threads)


def soft_targets(data: DistillationData, label_weight: float) -> NDArray[np.float64]:
    """What students learn for each row: a mixture of the label and the teacher's answer, (n, n_classes).

    Args:
        data: Labels and answers of n rows.
        label_weight: Weight of the label, between 0 and 1.

    Example:
        >>> from ensemble_minerals.data.fold_inputs import FoldInputs
        >>> from ensemble_minerals.ensemble.oof import OutOfFold
        >>> known = FoldInputs(np.array([1]), np.array([0]), np.array([0]), np.array(["mica", "quartz"]))
        >>> data = DistillationData((), (), OutOfFold(known, proba=np.array([[0.5, 0.5]])))
        >>> soft_targets(data, label_weight=0.5)
        array([[0.25, 0.75]])
    """
    known = data.teacher.known
    labels = np.eye(len(known.classes))[known.y]
    mixture: NDArray[np.float64] = label_weight * labels + (1.0 - label_weight) * data.teacher.proba
    return mixture


def calibrate(
    log_odds: NDArray[np.floating[Any]], y: NDArray[np.intp], fold: NDArray[np.intp]
) -> tuple[NDArray[np.float64], float]:
    """Turn log-odds into probabilities by a temperature, which is learned for each fold on the other folds.

    Args:
        log_odds: Shape (n, n_classes).
        y: Class positions, (n,).
        fold: Of each row, (n,).

    Returns:
        Probabilities (n, n_classes), and the temperature that was learned on all rows, for new photos.
    """
    scores: NDArray[np.float64] = log_normalize(log_odds).astype(np.float64)
    proba: NDArray[np.float64] = np.empty_like(scores)
    for number in np.unique(fold):
        inside = fold == number
        temperature = TemperatureScaling().fit(scores[~inside], y[~inside]).temperature_
        proba[inside] = np.exp(log_normalize(scores[inside] / temperature))
    return proba, TemperatureScaling().fit(scores, y).temperature_
