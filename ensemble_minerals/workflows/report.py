"""`report`: takes a bundle, and writes where it fails and why."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.bundle.bundle import Bundle, read_bundle
from ensemble_minerals.data.corrections import Corrections, given_corrections
from ensemble_minerals.errors import BundleError, UserError, WeightsError
from ensemble_minerals.evaluation.class_analysis import worst_errors
from ensemble_minerals.evaluation.photo_measures import measure_photos
from ensemble_minerals.explanation.explainer import Explainer, heat_maps
from ensemble_minerals.prediction.predictor import Predictor
from ensemble_minerals.prediction.random_split import answer_random_split
from ensemble_minerals.prediction.scored_rows import out_of_fold, score_folder
from ensemble_minerals.prediction.strangers import check_can_tell, typicality_of_strangers
from ensemble_minerals.reports.drawing import FigureFormat
from ensemble_minerals.reports.report import REPORT, Report, save_report
from ensemble_minerals.reports.report_data import ReportData, collect_report_data
from ensemble_minerals.system.cpu import count_jobs
from ensemble_minerals.system.paths import check_output, claimed_output
from ensemble_minerals.system.progress import Progress, Silent
from ensemble_minerals.system.runtime import Runtime

HEATMAPS = 18
"""Photos that get a heat-map, at most; each costs another pass through every network."""


@dataclass(frozen=True)
class ReportResult:
    """What a report made.

    Attributes:
        html: The page.
        json: The same content as data; tables and figures lie beside it.
        seconds: Time it took.
    """

    html: Path
    json: Path
    seconds: float

    def __repr__(self) -> str:
        """The page."""
        return f"ReportResult({str(self.html)!r})"


def report_folder(bundle: Path) -> Path:
    """The folder of a bundle's report, unless the user names another.

    Raises:
        UserError: If it holds something else than a report.
    """
    resolved = bundle.resolve()  # beside the bundle, also where a link to it is given
    folder = resolved.with_name(f"{resolved.name}-report")
    check_output(folder, kind=REPORT)
    return folder


def write_report(
    bundle: str | Path,
    *,
    data: str | Path | None = None,
    out: str | Path | None = None,
    photos: str | Path | None = None,
    strangers: str | Path | None = None,
    heatmaps: bool = True,
    random_split: bool | None = None,
    figure_format: FigureFormat | None = None,
    cache_dir: Path | None = None,
    n_jobs: int = -1,
    corrections: Sequence[str | Path] = (),
    progress: Progress | None = None,
) -> ReportResult:
    """Write where a fitted ensemble fails and why: a page, and the same as JSON, CSV and PNG.

    Args:
        bundle: Of a fit.
        data: Labeled photos that took no part in the fit, to be scored with the bundle; by default the
            out-of-fold answers of the fit are analyzed.
        out: Folder of the report, replaced if it is one; ``BUNDLE-report`` beside the bundle by default.
        photos: Where the photos of the fit are now, if not where they were.
        strangers: Folder of photos that show none of the classes: how many are told?
        heatmaps: Whether the worst photos are shown with what spoke for the wrong answer; where the weights are
            no longer at hand, the page says so instead.
        random_split: Whether the members are trained once more in a random split, for comparison; if None, where
            the features are in the cache and it takes a minute at most.
        figure_format: ``pdf`` or ``svg``, written beside each PNG.
        cache_dir: Where fingerprints and converted networks are kept between runs.
        n_jobs: Threads; -1 for all processors this process may use.
        corrections: Files of corrections that came after the fit: answers are scored by the corrected labels.
        progress: Told about progress.

    Raises:
        BundleError: If the bundle is missing, damaged or of another format.
        DataError: If `data` holds nothing that can be scored, or the corrections cannot be used.
        UserError: If `out` holds something else than a report, or `photos` not the photos.
    """
    started = time.perf_counter()
    runtime = Runtime(count_jobs(n_jobs), cache_dir, Silent() if progress is None else progress)
    path = Path(bundle).resolve()
    folder = report_folder(path) if out is None else Path(out)
    others = None if data is None else Path(data)
    none_of_these = None if strangers is None else Path(strangers)
    outside = [folder for folder in (others, none_of_these) if folder is not None]
    with claimed_output(folder, "a report", kind=REPORT, outside=outside):
        html, json = _write(
            path,
            folder,
            runtime,
            data=others,
            photos=photos,
            strangers=none_of_these,
            heatmaps=heatmaps,
            random_split=random_split,
            figure_format=figure_format,
            corrections=given_corrections(corrections),
        )
    return ReportResult(html, json, time.perf_counter() - started)


def _write(
    path: Path,
    folder: Path,
    runtime: Runtime,
    *,
    data: Path | None,
    photos: str | Path | None,
    strangers: Path | None,
    heatmaps: bool,
    random_split: bool | None,
    figure_format: FigureFormat | None,
    corrections: Corrections | None,
) -> tuple[Path, Path]:
    loaded = read_bundle(path)
    if strangers is not None:
        check_can_tell(loaded)
    root = Path(photos or loaded.photo_root)
    own = out_of_fold(loaded, root, corrections).locate(runtime.n_jobs)
    scored = own if data is None else score_folder(loaded, own, data, runtime, corrections)
    scored_own = scored is own
    scored = own if scored_own else scored.locate(runtime.n_jobs)
    if photos is not None and not scored.located and scored_own:
        raise UserError(
            f"--photos {photos}: none of the photos of the fit is there (for example {own.manifest.path[0]}); give "
            "the folder that the bundle was fitted on, wherever it is now"
        )
    for note in scored.notes:
        runtime.progress.note(note)
    measures = measure_photos(
        scored.manifest, scored.rows, loaded.config.data.limits, runtime, scored.located
    )
    at_random = answer_random_split(
        loaded, loaded.manifest(root), own.located or {}, runtime, wanted=random_split
    )
    typicality = None
    if strangers is not None:
        name = strangers.resolve().name
        typicality = name, typicality_of_strangers(loaded, own.manifest, strangers, runtime)
    report_data = collect_report_data(loaded, scored, measures, own, at_random, typicality)
    report = Report.compute(report_data)
    files = scored.files() if measures.unmeasured is None else {}
    heats, heat_note = _heat_maps(loaded, report_data, files, runtime) if heatmaps else ({}, "")
    return save_report(
        report,
        folder,
        files=files,
        heats=heats,
        heat_note=heat_note,
        figure_format=figure_format,
        runtime=runtime,
    )


def _heat_maps(
    bundle: Bundle, report_data: ReportData, files: Mapping[str, Path], runtime: Runtime
) -> tuple[dict[str, NDArray[np.floating[Any]]], str]:
    """Heat-maps of the answers to the worst photos by path, and what they show or why there are none."""
    worst = islice(worst_errors(report_data.sheets), HEATMAPS)
    answers = {photo.path: photo.answer for photo in worst if photo.path in files}
    if not answers:
        return {}, ""
    # Heat-maps need PyTorch, so the networks are not converted for another engine.
    config = bundle.config.model_copy(update={"engine": "torch", "precision": "float32"})
    try:
        explainer = Explainer(Predictor(replace(bundle, config=config), runtime.cache_dir, runtime.n_jobs))
        if not explainer.networks:
            return {}, ""
        targets = {files[path]: bundle.classes.index(answer) for path, answer in answers.items()}
        heats = heat_maps(explainer, targets, runtime)
    except (WeightsError, BundleError) as error:
        note = f"There are no heat-maps beside the worst photos: {error}."
        runtime.progress.note(note)
        return {}, note
    note = (
        "Beside some of the worst photos, what in them speaks for the wrong answer: Grad-CAM of the finished "
        "ensemble, each map scaled to its own brightest place."
    )
    if report_data.header.kind == "out_of_fold":
        note += (
            " The answer was given by models that had not seen the photo; the map is drawn with the finished "
            "ensemble, which has."
        )
    return {path: heats[files[path]] for path in answers if files[path] in heats}, note
