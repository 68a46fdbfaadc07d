"""`distill`: one small network that learns an ensemble's answers, with an honest figure of its own."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.bundle.bundle import Bundle, read_bundle
from ensemble_minerals.bundle.schema import STUDENT
from ensemble_minerals.bundle.student import write_student
from ensemble_minerals.config.networks import NetworkConfig
from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.data.subproblem import Subproblem
from ensemble_minerals.distillation.data import DistillationData, read_distillation_data
from ensemble_minerals.ensemble.calibration import TemperatureScaling
from ensemble_minerals.ensemble.network_tasks import count_epochs, watched
from ensemble_minerals.ensemble.oof import OutOfFold
from ensemble_minerals.errors import DataError, UserError
from ensemble_minerals.evaluation.metrics import summary
from ensemble_minerals.experiment.checkpoint import checkpoint_root
from ensemble_minerals.features.costs import measure_extractors
from ensemble_minerals.features.extraction import extract_features
from ensemble_minerals.features.trained_network import image_side
from ensemble_minerals.log_space import log_normalize
from ensemble_minerals.prediction.student import StudentExtractor
from ensemble_minerals.system.cpu import count_jobs
from ensemble_minerals.system.digest import file_digest
from ensemble_minerals.system.paths import check_output
from ensemble_minerals.system.progress import Progress, Silent

if TYPE_CHECKING:
    from ensemble_minerals.data.image_cache import ImageCache
    from ensemble_minerals.networks.models.state import NetworkState

FINAL = -1
"""Fold of the student that learns from all rows: a fold that no row has."""

LABEL_SHARE = 0.5
"""How much of what a student learns is the label; the rest is the teacher's answer."""

_TIMED_PHOTOS = 8


@dataclass(frozen=True)
class DistillResult:
    """What a distillation made.

    Attributes:
        student: Where it is.
        metrics: ``oof`` and ``teacher``, scores of both on the same rows by models that never saw them;
            ``megabytes``; ``predict_ms``, milliseconds a photo on one thread, decoding not counted; ``seconds``.
        notes: What the user should know, one sentence each.
    """

    student: Path
    metrics: dict[str, Any]
    notes: tuple[str, ...]


def distill(
    bundle: str | Path,
    out: str | Path,
    network: NetworkConfig,
    *,
    photos: str | Path | None = None,
    label_share: float = LABEL_SHARE,
    n_jobs: int = -1,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> DistillResult:
    """Train a small network on an ensemble's soft answers and save it as a student.

    What it learns for a photo is a mixture of the label and of the ensemble's out-of-fold answer, which is soft where
    the ensemble hesitates (Hinton, Vinyals and Dean 2015, arXiv:1503.02531; on answers from out of fold see
    Fakoor et al. 2020, NeurIPS). A student is trained for each fold, on the rows outside of it, and answers for the
    rows in it: those answers are its figures and set its temperature. A last one, trained on all rows, is saved.

    A student never sees a label or an answer of a row that it is scored on. As usual in such distillation, the
    ensemble that answered for its training rows had learned from other rows, those of the student's fold among them;
    only a cross-fit within each fold, at several times the cost, would rule out that trace.

    Args:
        bundle: Of a fit.
        out: Where the student shall stand.
        network: What is trained, see `student_config`.
        photos: Where the photos of the fit are now, if not where they were.
        label_share: How much of what is learned is the label, between 0 and 1.
        n_jobs: Students trained at once; -1 for all processors this process may use.
        resume: Take up a distillation into the same `out` that was interrupted.
        overwrite: Replace a student that stands at `out`.
        progress: Told of progress.

    Raises:
        BundleError: If the bundle is missing or damaged, or an interrupted distillation is in the way.
        DataError: If the bundle has no out-of-fold answers, or its photos are not there any more.
        UserError: If nothing can be saved at `out`, or an argument makes no sense.
        WeightsError: If the weights that training starts from cannot be had.
        FitError: If training diverges.
    """
    started = time.perf_counter()
    progress = Silent() if progress is None else progress
    out = Path(out)
    if not 0 <= label_share <= 1:
        raise UserError(f"label_share={label_share}: give a share between 0 and 1")
    n_jobs = count_jobs(n_jobs)
    check_output(out, kind=STUDENT, overwrite=overwrite)
    root = checkpoint_root(out, resume=resume, overwrite=overwrite, work="a distillation")
    teacher = read_bundle(Path(bundle))
    distillation_data = read_distillation_data(teacher, None if photos is None else Path(photos))
    from ensemble_minerals.networks.training.check import check_network  # brings torch along

    check_network(network)
    taught = _Teaching(teacher, distillation_data, network, label_share, root)
    outcomes = taught.run(n_jobs, progress)
    states = {outcome.fold: outcome.state for outcome in outcomes}
    log_odds = np.full_like(distillation_data.proba, np.nan)
    for outcome in outcomes:
        log_odds[distillation_data.fold == outcome.fold] = outcome.log_odds
    proba, temperature = calibrated(log_odds, distillation_data.y, distillation_data.fold)
    notes = tuple(dict.fromkeys(note for outcome in outcomes for note in outcome.notes))
    for note in notes:
        progress.note(note)
    metrics = {
        "oof": summary(distillation_data.y, proba, teacher.classes),
        "teacher": summary(distillation_data.y, distillation_data.proba, teacher.classes),
        **taught.cost(states[FINAL]),
        "seconds": round(time.perf_counter() - started, 3),
    }
    metadata = {
        "classes": list(teacher.classes),
        "taxonomy": teacher.taxonomy.to_tree(),
        "network": network.model_dump(mode="json"),
        "temperature": temperature,
        "data": {**teacher.config.data.model_dump(), "digest": teacher.info["data"]["digest"]},
        "teacher": {
            "digest": file_digest(teacher.path / "bundle.json"),
            "members": list(teacher.info["members"]),
            "temperature": teacher.fitted_ensemble.temperature,
        },
        "label_share": label_share,
        "seed": teacher.config.seed,
        "metrics": metrics,
        "notes": list(notes),
        "demonstration": bool(teacher.info.get("demonstration")),
    }
    known = FoldInputs(
        distillation_data.y, distillation_data.groups, distillation_data.fold, np.array(teacher.classes)
    )
    answers = OutOfFold(known, row=distillation_data.row, proba=proba)
    write_student(out, states[FINAL], metadata, answers, overwrite=overwrite)
    shutil.rmtree(root, ignore_errors=True)
    return DistillResult(out, metrics, notes)


def calibrated(
    log_odds: NDArray[np.floating[Any]], y: NDArray[np.intp], fold: NDArray[np.intp]
) -> tuple[NDArray[np.float64], float]:
    """Give answers a temperature, learned for each fold on the other folds.

    Args:
        log_odds: Shape (n, n_classes).
        y: Class positions, (n,).
        fold: Of each row, (n,).

    Returns:
        Probabilities (n, n_classes), and the temperature learned on all rows, for new photos.
    """
    scores: NDArray[np.float64] = log_normalize(log_odds).astype(np.float64)
    proba: NDArray[np.float64] = np.empty_like(scores)
    for number in np.unique(fold):
        inside = fold == number
        own = TemperatureScaling().fit(scores[~inside], y[~inside]).temperature_
        proba[inside] = np.exp(log_normalize(scores[inside] / own))
    return proba, TemperatureScaling().fit(scores, y).temperature_


@dataclass(frozen=True)
class _Outcome:
    """One student.

    Attributes:
        fold: Whose rows it did not see; `FINAL` for the one that saw all.
        state: The network, complete.
        log_odds: Its answers for the rows of the fold, (n_inside, n_classes).
        notes: What the user should know.
    """

    fold: int
    state: NetworkState
    log_odds: NDArray[np.float32]
    notes: tuple[str, ...]


class _Teaching:
    """The students of all folds and the last one."""

    def __init__(
        self,
        teacher: Bundle,
        distillation_data: DistillationData,
        network: NetworkConfig,
        label_share: float,
        root: Path,
    ) -> None:
        from ensemble_minerals.data.image_cache import ImageCache

        self.distillation_data, self.network, self.root = distillation_data, network, root
        self.limits = teacher.config.data.limits
        self.seed = teacher.config.seed
        labels = np.eye(len(teacher.classes))[distillation_data.y]
        self.shares = label_share * labels + (1.0 - label_share) * distillation_data.proba
        self.images: ImageCache = ImageCache(
            distillation_data.files,
            side=image_side(network),
            folder=root / "pictures",
            limit_mb=network.memory,
            limits=self.limits,
        )

    def run(self, n_jobs: int, progress: Progress) -> list[_Outcome]:
        """Train all, several at once."""
        folds = [*np.unique(self.distillation_data.fold).tolist(), FINAL]
        works = [self.root / f"student{number}" for number in range(len(folds))]
        self.images.prepare(n_jobs, progress.stage("Reading photos"))
        at_once = min(n_jobs, len(folds))
        epochs = sum(phase.epochs for phase in self.network.phases) * len(folds)
        stage = progress.stage("Training students")
        run = joblib.Parallel(n_jobs=at_once)
        with watched(
            lambda: count_epochs(self.root),
            lambda done: stage(min(done, epochs), epochs),
        ):
            found: list[_Outcome] = run(
                joblib.delayed(self.train)(fold, work, max(1, n_jobs // at_once))
                for fold, work in zip(folds, works, strict=True)
            )
        stage(epochs, epochs)
        return found

    def train(self, fold: int, work: Path, n_threads: int) -> _Outcome:
        """Train the student of one fold and let it answer for the fold's photos."""
        from ensemble_minerals.networks.graphs.student import complete
        from ensemble_minerals.networks.training.estimator import FineTunedNetwork

        distillation_data = self.distillation_data
        learned, inside = (
            np.flatnonzero(distillation_data.fold != fold),
            np.flatnonzero(distillation_data.fold == fold),
        )
        subproblem = Subproblem(
            "classes",
            np.arange(len(learned)),
            distillation_data.y[learned],
            self.shares.shape[1],
            self.shares[learned],
        )
        student = FineTunedNetwork(
            self.network,
            self.images,
            random_state=int(np.random.SeedSequence((self.seed, fold + 1)).generate_state(1)[0]),
            n_threads=n_threads,
            work=work,
            name=f"student of fold {fold}" if fold != FINAL else "student",
        )
        student.fit_subproblems(learned, [subproblem], distillation_data.groups[learned])
        state = complete(student.state_, self.network.weights)
        answers = self._answers(state, [distillation_data.files[row] for row in inside], n_threads)
        return _Outcome(fold, state, answers, student.notes_)

    def cost(self, state: NetworkState) -> dict[str, float | None]:
        """Megabytes, and milliseconds a photo on one thread."""
        extractor = self._extractor(state, 1)
        cost = measure_extractors(
            {extractor.name: extractor}, self.distillation_data.files[:_TIMED_PHOTOS], limits=self.limits
        )
        return {
            "megabytes": sum(tensor.nbytes for tensor in state.tensors.values()) / 1e6,
            "predict_ms": cost[extractor.name].predict_ms,
        }

    def _answers(self, state: NetworkState, files: Sequence[Path], n_threads: int) -> NDArray[np.float32]:
        """Log-odds for photos, by the way that predictions go."""
        extractor = self._extractor(state, n_threads)
        found = extract_features(
            files, [""] * len(files), [extractor], n_threads=n_threads, limits=self.limits
        )
        for position, error in found.errors.items():
            raise DataError(f"{files[position]} cannot be read any more: {error}")
        answers: NDArray[np.float32] = found.features[extractor.name][:, 0]
        return answers

    def _extractor(self, state: NetworkState, n_threads: int) -> StudentExtractor:
        from ensemble_minerals.networks.graphs.student import student_graph

        return StudentExtractor(student_graph(state, 1.0), self.shares.shape[1], n_threads)
