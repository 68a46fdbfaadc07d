"""A student's graph in 8-bit integers, and what that costs on photos that a student never saw."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.bundle.student import FoldStudent, Student
from ensemble_minerals.data.decoding import decode
from ensemble_minerals.data.locating import locate_photos
from ensemble_minerals.data.manifest import Manifest
from ensemble_minerals.errors import UserError
from ensemble_minerals.evaluation.metrics import METRICS
from ensemble_minerals.system.atomic import atomic_file
from ensemble_minerals.system.progress import Progress
from ensemble_minerals.system.runtime import DecodeLimits

N_CALIBRATION = 64
"""Photos whose activations set the ranges of the integers, at most."""

N_HELD_OUT = 1000
"""Photos on which the loss is measured, at most."""

WORTH_A_REMARK = 0.01
"""Accuracy that a student may lose in int8 without a remark."""


@dataclass(frozen=True)
class Int8Loss:
    """Scores of the student of one fold on photos that it never saw, in float32 and in int8.

    Attributes:
        n: Number of photos.
        accuracy: In float32, and in int8.
        log_loss: In float32, and in int8.
    """

    n: int
    accuracy: tuple[float, float]
    log_loss: tuple[float, float]


@dataclass(frozen=True)
class Int8Trial:
    """What int8 is measured on: the student of one fold, which is quantized as the saved one will be.

    Attributes:
        fold: This student.
        calibration: Photos that it learned from.
        asked: Photos that it never saw.
        y: Class positions of the latter (n,).
    """

    fold: FoldStudent
    calibration: Sequence[Path]
    asked: Sequence[Path]
    y: NDArray[np.int64]


def int8_trial(student: Student, manifest: Manifest | None) -> Int8Trial:
    """Choose what int8 is measured on.

    Args:
        student: The student, which learned from all photos.
        manifest: The photos of the fit, where they are now; None where nobody knows.

    Raises:
        UserError: If the student has no network of a fold, or the photos are not at hand.
    """
    fold = student.fold_student()
    if fold is None or manifest is None:
        raise UserError(
            f"--quantize int8 measures what it costs on photos that a student never saw, and {student.path} keeps no "
            "student of a fold: it was made by an earlier version; distill it again"
        )
    at_hand = locate_photos(manifest).files
    known = np.isin(fold.held_out, list(at_hand))
    held_out, y = _spread(fold.held_out[known], N_HELD_OUT), _spread(fold.y[known], N_HELD_OUT)
    training = _spread(fold.training[np.isin(fold.training, list(at_hand))], N_CALIBRATION)
    if not len(held_out) or not len(training):
        raise UserError(
            f"--quantize int8 needs the photos of the fit, and they are not in {manifest.root}; say with --photos "
            "where they are now"
        )
    calibration, asked = ([at_hand[row] for row in rows.tolist()] for rows in (training, held_out))
    return Int8Trial(fold, calibration, asked, y)


def quantize_student(
    student: Student, trial: Int8Trial, graph: Path, out: Path, progress: Progress
) -> Int8Loss:
    """Write the graph of a student in int8, and measure what that costs.

    Args:
        student: The student.
        trial: What that is measured on.
        graph: The student as ONNX, in float32.
        out: The same in int8.
        progress: Told about progress, and of a loss that is large.

    Raises:
        ExportError: If a graph answers otherwise than PyTorch.
    """
    from ensemble_minerals.networks.graphs.onnx_file import export_onnx, graph_answers
    from ensemble_minerals.networks.graphs.quantized_file import quantize_file

    asked, n_classes = trial.asked, len(student.classes)
    stage = progress.stage("Measuring int8 on held-out photos")
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        min_side = student.limits.min_side
        export_onnx(trial.fold.graph, files[0], metadata={}, n_classes=n_classes, min_side=min_side)
        quantize_file(*files, _pixels(trial.calibration, student.limits))
        proba = []
        for file in files:
            for answer in graph_answers(file, _pixels(asked, student.limits)):
                proba.append(answer)
                stage(len(proba), 2 * len(asked))
    with atomic_file(out) as draft:
        quantize_file(graph, draft, _pixels(trial.calibration, student.limits))
    both = np.array(proba, dtype=np.float64).reshape(2, len(asked), n_classes)
    both /= both.sum(axis=2, keepdims=True)
    accuracy, log_loss = (
        (float(METRICS[name](trial.y, both[0]).estimate), float(METRICS[name](trial.y, both[1]).estimate))
        for name in ("accuracy", "log_loss")
    )
    if accuracy[0] - accuracy[1] > WORTH_A_REMARK:
        progress.note(
            f"int8 costs {accuracy[0] - accuracy[1]:.3f} of accuracy here; without --quantize nothing is lost"
        )
    return Int8Loss(len(asked), accuracy, log_loss)


def _spread(values: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """At most `n` of the values, evenly spaced."""
    return values[np.linspace(0, len(values) - 1, min(n, len(values))).round().astype(np.intp)]


def _pixels(files: Sequence[Path], limits: DecodeLimits) -> Iterator[NDArray[np.uint8]]:
    return (decode(file, limits=limits).pixels for file in files)
