"""`distill`: one small network that learns an ensemble's answers, scored on photos that it never saw."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.bundle.bundle import Bundle, read_bundle
from ensemble_minerals.bundle.schema import STUDENT
from ensemble_minerals.bundle.student import write_student
from ensemble_minerals.config.networks import NetworkConfig
from ensemble_minerals.data.corrections import given_corrections
from ensemble_minerals.distillation.data import read_distillation_data
from ensemble_minerals.distillation.students import StudentTraining, calibrate
from ensemble_minerals.ensemble.combination import centered
from ensemble_minerals.ensemble.oof import OutOfFold
from ensemble_minerals.ensemble.rejection import ANSWERS
from ensemble_minerals.ensemble.rejection_fit import can_be_fitted, fit_rejection
from ensemble_minerals.errors import UserError
from ensemble_minerals.evaluation.metrics import summary
from ensemble_minerals.experiment.checkpoint import checkpoint_root
from ensemble_minerals.experiment.rejection import NOT_LEARNED
from ensemble_minerals.system.cpu import count_jobs
from ensemble_minerals.system.durations import format_duration
from ensemble_minerals.system.paths import check_output, claimed_output
from ensemble_minerals.system.progress import Progress, Silent
from ensemble_minerals.system.runtime import Runtime

LABEL_SHARE = 0.5
"""Weight of the label in what a student learns; the rest is the teacher's answer."""

_LOST = 0.05
"""A student that loses more accuracy to its teacher is worth a remark."""


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

    def __repr__(self) -> str:
        """Where the student is, and its out-of-fold accuracy."""
        return f"DistillResult({str(self.student)!r}, accuracy {self.metrics['oof']['accuracy']:.3f} out of fold)"


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
    corrections: Sequence[str | Path] = (),
    progress: Progress | None = None,
) -> DistillResult:
    """Train a small network on an ensemble's soft answers and save it as a student.

    Its target for a photo is a mixture of the label and the ensemble's out-of-fold answer, which is soft where the
    ensemble is unsure (Hinton, Vinyals and Dean 2015, arXiv:1503.02531; on out-of-fold answers see Fakoor et al.
    2020, NeurIPS). A student is trained for each fold, on the rows outside of it, and answers for the rows in it. The
    figures and the temperature come from those answers. Another student, trained on all rows, is saved, and that of
    the first fold beside it, on which `export` measures what int8 costs.

    A student never sees the label or the answer of a row that it is scored on. As is usual in such distillation, the
    ensemble that answered for its training rows had learned from other rows, among them those of the student's fold;
    only a cross-fit within each fold, at several times the cost, would avoid that.

    Args:
        bundle: The ensemble, as a fit saved it.
        out: The student's folder.
        network: What is trained, see `student_config`.
        photos: Where the photos of the fit are now, if they were moved.
        label_share: How much of what is learned is the label, between 0 and 1.
        n_jobs: Students trained at once; -1 for all processors this process may use.
        resume: Take up a distillation into the same `out` that was interrupted.
        overwrite: Replace a student that is there.
        corrections: Files of corrections that came after the fit, see `prediction.corrected_rows`.
        progress: Told about progress.

    Raises:
        BundleError: If the bundle is missing or damaged, or an interrupted distillation is in the way.
        DataError: If the bundle has no out-of-fold answers, its photos are not there any more, or the corrections
            cannot be used.
        UserError: If nothing can be saved at `out`, or an argument makes no sense.
        WeightsError: If the weights that training starts from cannot be had.
        FitError: If training diverges.
    """
    started = time.perf_counter()
    out = Path(out)
    if not 0 <= label_share <= 1:
        raise UserError(f"label_share={label_share}: give a share between 0 and 1")
    runtime = Runtime(count_jobs(n_jobs), progress=Silent() if progress is None else progress)
    check_output(out, kind=STUDENT, overwrite=overwrite)
    teacher = read_bundle(Path(bundle))
    moved = None if photos is None else Path(photos)
    data = read_distillation_data(teacher, moved, given_corrections(corrections))
    note = runtime.progress.note
    for told in data.notes:
        note(told)
    with claimed_output(out, "a distillation", kind=STUDENT, overwrite=overwrite, outside=data.folders):
        work = checkpoint_root(out, resume=resume, overwrite=overwrite, work="a distillation")
        from ensemble_minerals.networks.training.check import check_network  # loads torch

        check_network(network)
        training = StudentTraining(
            data,
            network,
            label_weight=label_share,
            limits=teacher.config.data.limits,
            seed=teacher.config.seed,
            work=work,
        )
        known = data.teacher.known
        note(
            f"{len(known.numbers) + 1} students, one for each fold and one on all photos, take about "
            f"{format_duration(training.seconds(runtime.n_jobs))} to train here"
        )
        students = training.run(runtime)
        proba, temperature = calibrate(students.log_odds, known.y, known.folds)
        notes = (*students.notes, *_far_behind(known.y, proba, data.teacher.proba))
        for remark in notes:
            note(remark)
        notes = (*data.notes, *notes)
        metrics = {
            "oof": summary(known.y, proba, teacher.classes),
            "teacher": summary(known.y, data.teacher.proba, teacher.classes),
            **training.cost(students.state),
            "seconds": round(time.perf_counter() - started, 3),
        }
        metadata = {
            "temperature": temperature,
            "network": network.model_dump(mode="json"),
            "label_share": label_share,
            "metrics": metrics,
            "notes": list(notes),
            **_of_teacher(teacher, teacher.photo_root if photos is None else Path(photos)),
        }
        answers = OutOfFold(known, row=data.teacher.row, proba=proba)
        rejection = None
        if teacher.config.rejection is not None and not can_be_fitted(known):
            runtime.progress.note(NOT_LEARNED)
        elif teacher.config.rejection is not None:
            rejection = fit_rejection(
                {ANSWERS: centered(students.log_odds[:, None])},
                known,
                refuse=teacher.config.rejection.refuse,
                leave_out=False,
                n_jobs=runtime.n_jobs,
            ).rejection
        write_student(
            out,
            students.state,
            metadata,
            answers,
            properties=teacher.properties,
            rejection=rejection,
            manifest=data.manifest,
            fold_student=(students.of_fold.fold, students.of_fold.state),
            overwrite=overwrite,
        )
        shutil.rmtree(work, ignore_errors=True)
    return DistillResult(out, metrics, notes)


def _far_behind(
    y: NDArray[np.intp], student: NDArray[np.floating[Any]], teacher: NDArray[np.floating[Any]]
) -> Iterator[str]:
    """What the user should know where a student is much worse than its teacher, beyond chance."""
    right = [(proba.argmax(axis=1) == y).astype(float) for proba in (student, teacher)]
    lost = right[1] - right[0]
    if lost.mean() > max(_LOST, 2 * lost.std() / len(lost) ** 0.5):
        yield (
            f"the student is much worse than its teacher: {right[0].mean():.2f} of its answers are right, "
            f"{right[1].mean():.2f} of the teacher's. Train it longer (--epochs), take a larger --student, or start "
            "from trained --weights"
        )


def _of_teacher(teacher: Bundle, photos: Path) -> Mapping[str, Any]:
    """What ``student.json`` says of the ensemble and its data."""
    return {
        "classes": list(teacher.classes),
        "taxonomy": teacher.taxonomy.to_tree(),
        "data": {
            **teacher.config.data.model_dump(),
            "digest": teacher.info["data"]["digest"],
            "root_path": str(photos.resolve()),
        },
        "teacher": {
            "digest": teacher.folder.digest,
            "members": list(teacher.info["members"]),
            "temperature": teacher.fitted_ensemble.temperature,
        },
        "seed": teacher.config.seed,
        "demonstration": bool(teacher.info.get("demonstration")),
    }
