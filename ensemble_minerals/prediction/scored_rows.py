"""Rows that may be scored: the out-of-fold answers of a fit, or a labeled folder that the fit never saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.bundle.bundle import Bundle
from ensemble_minerals.data.correcting import correct
from ensemble_minerals.data.corrections import Corrections
from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.data.folds import NO_FOLD
from ensemble_minerals.data.locating import locate_photos
from ensemble_minerals.data.manifest import Manifest
from ensemble_minerals.data.scanning import scan_with_cache
from ensemble_minerals.data.usable import check_usable
from ensemble_minerals.ensemble.oof import OutOfFold
from ensemble_minerals.errors import BundleError, DataError
from ensemble_minerals.evaluation.answers import Answers
from ensemble_minerals.log_space import clipped_log, log_normalize
from ensemble_minerals.prediction.corrected_rows import correct_rows
from ensemble_minerals.prediction.predictor import Predictor, config_with_weights
from ensemble_minerals.prediction.unseen import mark_seen
from ensemble_minerals.system.runtime import Runtime


@dataclass(frozen=True)
class ScoredRows:
    """Answers for rows with known classes, and where they come from.

    Attributes:
        kind: Whether the rows are those of the fit or of another folder.
        source: The same in words, for every number of a report.
        answers: The rows.
        rows: Their positions in the manifest.
        manifest: All files.
        notes: What the user should know.
        located: Photos at hand by row of the manifest, checked by their digests; None where the manifest was just
            scanned.
        typicality: Of the answered rows, by models that had not seen them, shape (n,); None where the bundle cannot
            tell.
        kept: Positions of the rows among all that the fit answered; None for all, and for another folder.
        corrections: What corrections that the fit did not know of did; None where there were none.
    """

    kind: Literal["out_of_fold", "labeled_folder"]
    source: str
    answers: Answers
    rows: NDArray[np.intp]
    manifest: Manifest
    notes: tuple[str, ...] = ()
    located: Mapping[int, Path] | None = None
    typicality: NDArray[np.float64] | None = None
    kept: NDArray[np.intp] | None = None
    corrections: Mapping[str, Any] | None = None

    def locate(self, n_threads: int) -> ScoredRows:
        """The same, with the photos that are at hand found by their digests, and notes on all others.

        Photos that were just scanned are where they were.
        """
        if self.kind == "labeled_folder":
            return self
        located = locate_photos(self.manifest, n_threads)
        notes = (*self.notes, *located.notes(self.manifest.root))
        return replace(self, located=located.files, notes=notes)

    def files(self) -> dict[str, Path]:
        """Where the photo of each path of the manifest is; those that are not at hand are left out."""
        if self.located is not None:
            return {str(self.manifest.path[row]): file for row, file in self.located.items()}
        return {str(path): self.manifest.file(row) for row, path in enumerate(self.manifest.path)}


def out_of_fold(bundle: Bundle, root: Path, corrections: Corrections | None = None) -> ScoredRows:
    """The fit's own rows, each answered by members, a combination and a temperature that never saw it.

    Args:
        bundle: Of the fit.
        root: Where its photos are.
        corrections: By which labels are other than in the fit, and rows left out.
    """
    later = None if corrections is None else correct_rows(bundle, root, corrections)
    manifest = bundle.manifest(root) if later is None else later.manifest
    answered = bundle.out_of_fold if later is None else later.answers
    rows, folds = answered.row, answered.known.folds
    answers = Answers(
        bundle.taxonomy,
        answered,
        _before_temperature(bundle, answered.proba, folds),
        tuple(manifest.path[rows].tolist()),
    )
    if bundle.config.folds.n_splits == 1:
        photos, models = "photos that the fit held out", "members"
    else:
        photos, models = "out-of-fold rows of the fit", "members, a combination and a temperature"
    source = (
        f"the {len(rows):,} {photos}: each photo was answered by {models} that saw neither it nor any photo of its "
        "row group"
    )
    typicality = None if bundle.rejection is None else bundle.rejection.of_rows
    if typicality is not None and len(typicality) != len(bundle.out_of_fold):
        raise BundleError(f"{bundle.path}: rejection.safetensors is not of the rows of the fit; fit it again")
    if later is None:
        return ScoredRows("out_of_fold", source, answers, rows, manifest, typicality=typicality)
    return ScoredRows(
        "out_of_fold", source, answers, rows, manifest, later.notes,
        typicality=None if typicality is None else typicality[later.kept], kept=later.kept, corrections=later.counts,
    )  # fmt: skip


def _before_temperature(
    bundle: Bundle, proba: NDArray[np.float64], folds: NDArray[np.int64]
) -> NDArray[np.float64] | None:
    """The probabilities before each fold's temperature; None where the fit did not record it."""
    recorded = bundle.metrics["meta"].get("fold_temperatures")
    if recorded is None:
        return None
    missing = set(map(str, folds.tolist())) - recorded.keys()
    if missing:
        raise BundleError(
            f"{bundle.path}: metrics.json lacks the temperature of fold {min(missing)} in meta.fold_temperatures; "
            "fit it again"
        )
    temperature = np.array([recorded[str(fold)] for fold in folds.tolist()])
    logs = np.log(np.maximum(proba, np.finfo(np.float64).tiny))
    return np.exp(log_normalize(logs * temperature[:, None]))


def score_folder(
    bundle: Bundle, own: ScoredRows, data: Path, runtime: Runtime, corrections: Corrections | None = None
) -> ScoredRows:
    """Answer labeled photos that took no part in the fit.

    Photos of the fit, and other photos of the same objects, would be scored too well; they are left out and
    counted, see `mark_seen`. If there is nothing else, the fit's out-of-fold rows are scored, and `data` says where
    their photos are.

    Args:
        bundle: What answers.
        own: The fit's own rows, located.
        data: Folder with a sub-folder a class, or CSV.
        runtime: Threads, progress, and where scans and converted networks are kept between runs.
        corrections: Of the labels of `data`, and of those of the fit.

    Raises:
        DataError: If nothing can be scored, or the corrections cannot be used.
    """
    limits = bundle.config.data.limits
    manifest = scan_with_cache(data, runtime, expected=bundle.classes, limits=limits)
    corrected = None if corrections is None else correct(manifest, corrections, bundle.classes)
    if corrected is not None:
        manifest = corrected.manifest
    check_usable(manifest, n_classes=1)
    unseen = mark_seen(
        manifest, own.manifest, own.located or {}, bundle.classes, config_with_weights(bundle), runtime
    )
    manifest = unseen.manifest
    rows = manifest.usable
    if not rows.size and unseen.of_fit:
        note = (
            f"Every usable photo of {data} took part in the fit, so scoring it would flatter: the out-of-fold "
            "rows of the fit are shown instead."
        )
        whole = out_of_fold(bundle, manifest.root, corrections)
        return replace(whole, notes=(*whole.notes, note))
    if not rows.size:
        raise DataError(
            f"{data} holds no readable photo of the bundle's classes ({', '.join(bundle.classes)}); "
            "name its folders like them"
        )
    predictor = Predictor(bundle, runtime.cache_dir, runtime.n_jobs, every_member=True)
    files = [manifest.file(int(row)) for row in rows]
    predictions = predictor.predict(files, runtime.progress.stage("Answering photos"))
    rows = rows[predictions.answered]
    if not rows.size:
        raise DataError(f"{data}: no photo could be read any more; they changed since they were listed")
    members = predictions.member_proba[predictions.answered].transpose(1, 0, 2)
    before = bundle.fitted_ensemble.combination.log_proba(clipped_log(members.transpose(1, 0, 2)))
    known = FoldInputs(
        bundle.positions(manifest.label[rows]),
        manifest.row_group[rows],
        np.full(len(rows), NO_FOLD),
        np.array(bundle.classes),
    )
    answered = OutOfFold(
        known,
        predictions.members,
        row=rows,
        member_proba=members,
        proba=predictions.proba[predictions.answered],
    )
    answers = Answers(
        bundle.taxonomy, answered, np.exp(log_normalize(before)), tuple(manifest.path[rows].tolist())
    )
    source = (
        f"the {len(rows):,} labeled photos of {manifest.root.resolve().name} that took no part in the fit, answered "
        "by the finished ensemble"
    )
    typicality = None
    if bundle.rejection is not None and predictions.typicality is not None:
        typicality = predictions.typicality[predictions.answered]
    return ScoredRows(
        "labeled_folder", source, answers, rows, manifest,
        unseen.notes if corrected is None else (*corrected.notes, *unseen.notes),
        typicality=typicality, corrections=None if corrected is None else corrected.counts,
    )  # fmt: skip
