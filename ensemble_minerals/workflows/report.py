"""`report`: a bundle in, a page on where it fails and why out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.bundle.bundle import Bundle, read_bundle
from ensemble_minerals.config.schema import Config
from ensemble_minerals.data.decoding import decode
from ensemble_minerals.data.manifest import Manifest
from ensemble_minerals.errors import BundleError, ImageError, UserError, WeightsError
from ensemble_minerals.evaluation.slices import SIDE, measure
from ensemble_minerals.explanation.explainer import Explainer, heat_maps
from ensemble_minerals.members.predictor import AveragedPredictor, DenseSpecialist
from ensemble_minerals.prediction.predictor import Predictor
from ensemble_minerals.reports.error_analysis import Circumstances, analyze
from ensemble_minerals.reports.report import REPORT, draw_report, worst_photos
from ensemble_minerals.reports.scoring import Scored, out_of_fold, score_folder
from ensemble_minerals.system.cpu import count_jobs
from ensemble_minerals.system.paths import check_output
from ensemble_minerals.system.progress import Progress, Silent, StageProgress

HEATMAPS = 18
"""Photos that get a heat-map, at most: each passes every network once more."""


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


def report_folder(bundle: Path) -> Path:
    """Where the report of a bundle goes unless it is told.

    Raises:
        UserError: If something else than a report stands there.
    """
    folder = bundle.with_name(f"{bundle.name}-report")
    check_output(folder, kind=REPORT)
    return folder


def write_report(
    bundle: str | Path,
    *,
    data: str | Path | None = None,
    out: str | Path | None = None,
    photos: str | Path | None = None,
    heatmaps: bool = True,
    cache_dir: Path | None = None,
    n_jobs: int = -1,
    progress: Progress | None = None,
) -> ReportResult:
    """Write where a fitted ensemble fails and why: a page, and the same as JSON, CSV and PNG.

    Args:
        bundle: Of a fit.
        data: Labeled photos that took no part in the fit, to be scored with the bundle; by default the
            out-of-fold answers of the fit are analyzed.
        out: Folder of the report, replaced if it is one; ``BUNDLE-report`` beside the bundle by default.
        photos: Where the photos of the fit are now, if not where they were.
        heatmaps: Whether the worst photos are shown with what spoke for the wrong answer; where the weights are
            no longer at hand, the page says so instead.
        cache_dir: Where fingerprints and converted networks are kept between runs.
        n_jobs: Threads; -1 for all processors this process may use.
        progress: Told of progress.

    Raises:
        BundleError: If the bundle is missing, damaged or of another format.
        DataError: If `data` holds nothing that can be scored.
        UserError: If `out` holds something else than a report, or `photos` not the photos.
    """
    started = time.perf_counter()
    progress = Silent() if progress is None else progress
    n_threads = count_jobs(n_jobs)
    path = Path(bundle).resolve()
    folder = report_folder(path) if out is None else Path(out)
    check_output(folder, kind=REPORT)
    loaded = read_bundle(path)
    own = out_of_fold(loaded, _root(loaded, photos))
    scored = own
    if data is not None:
        scored = score_folder(
            loaded, own, Path(data), cache_dir=cache_dir, n_threads=n_threads, progress=progress
        )
    for note in scored.notes:
        progress.note(note)
    measures, unmeasured = _look(scored, loaded.config, n_threads, progress.stage("Looking at photos"))
    costs, cost = _costs(loaded)
    known = Circumstances(
        header=_header(loaded, scored),
        manifest=scored.manifest,
        measures=measures,
        unmeasured=unmeasured,
        combination=loaded.fitted_ensemble.combination,
        temperature=loaded.fitted_ensemble.temperature,
        costs=costs,
        cost=cost,
        learning_curve=loaded.metrics.get("learning_curve"),
        logs=loaded.logs,
        calibration=None if scored is own else own.answers,
    )
    analysis = analyze(scored.answers, known, seed=loaded.config.seed)
    files = {}
    if unmeasured is None:
        files = {str(one): scored.manifest.file(row) for row, one in enumerate(scored.manifest.path)}
    heats: dict[str, NDArray[np.floating[Any]]] = {}
    note = ""
    if heatmaps:
        heats, note = _heats(loaded, analysis, files, cache_dir, n_threads, progress)
    html, json = draw_report(
        analysis,
        scored.answers,
        folder,
        files=files,
        heats=heats,
        heat_note=note,
        n_threads=n_threads,
        progress=progress.stage("Drawing the report"),
    )
    return ReportResult(html, json, time.perf_counter() - started)


def _heats(
    bundle: Bundle,
    analysis: Mapping[str, Any],
    files: Mapping[str, Path],
    cache_dir: Path | None,
    n_threads: int,
    progress: Progress,
) -> tuple[dict[str, NDArray[np.floating[Any]]], str]:
    """Heat-maps of the answers to the worst photos, and what they show or why there are none."""
    answers = {path: answer for path, answer in worst_photos(analysis, HEATMAPS).items() if path in files}
    if not answers:
        return {}, ""
    # PyTorch looks into networks, so they need not be made ready for another engine.
    config = bundle.config.model_copy(update={"engine": "torch", "precision": "float32"})
    try:
        explainer = Explainer(Predictor(replace(bundle, config=config), cache_dir, n_threads))
        if not explainer.networks:
            return {}, ""
        targets = {files[path]: bundle.classes.index(answer) for path, answer in answers.items()}
        found = heat_maps(
            explainer, targets, n_threads=n_threads, progress=progress.stage("Looking into networks")
        )
    except (WeightsError, BundleError) as error:
        note = f"There are no heat-maps beside the worst photos: {error}."
        progress.note(note)
        return {}, note
    note = (
        "Beside some of the worst photos, what in them speaks for the wrong answer: Grad-CAM of the finished "
        "ensemble, each map scaled to its own brightest place."
    )
    if analysis["header"]["kind"] == "out_of_fold":
        note += (
            " The answer was given by models that had not seen the photo; the map is drawn with the finished "
            "ensemble, which has."
        )
    return {path: found[files[path]] for path in answers if files[path] in found}, note


def _root(bundle: Bundle, photos: str | Path | None) -> Path:
    """Folder that the paths of the fit's manifest are relative to, today."""
    if photos is None:
        return Path(bundle.info["data"].get("root_path") or bundle.info["data"]["root"])
    root = Path(photos)
    paths = Manifest.read_csv(bundle.path / "manifest.csv", root).path
    if not any((root / str(path)).is_file() for path in paths):
        raise UserError(
            f"--photos {root}: none of the photos of the fit is there (for example {paths[0]}); give the folder "
            "that the bundle was fitted on, wherever it is now"
        )
    return root


def _look(
    scored: Scored, config: Config, n_threads: int, progress: StageProgress
) -> tuple[dict[str, NDArray[Any]], str | None]:
    """What slices are made of: from the manifest, and from the photos where they are at hand."""
    manifest, rows = scored.manifest, scored.rows
    width, height = (side[rows].astype(np.float64) for side in (manifest.width, manifest.height))
    known = (width > 0) & (height > 0)
    measures: dict[str, NDArray[Any]] = {
        "resolution": np.where(known, np.minimum(width, height), np.nan),
        "aspect": np.divide(width, height, out=np.full(len(rows), np.nan), where=known),
        "format": manifest.format[rows],
    }
    files = [manifest.file(int(row)) for row in rows]
    if not any(file.is_file() for file in files):
        return measures, f"The photos are no longer at {manifest.root}; --photos says where they are now."
    look = partial(_measured, config=config)
    seen: list[dict[str, float]] = []
    with ThreadPoolExecutor(n_threads, thread_name_prefix="look") as pool:
        for found in pool.map(look, files):
            seen.append(found)
            progress(len(seen), len(files))
    names = ("brightness", "saturation", "sharpness", "background")
    return {name: np.array([one.get(name, np.nan) for one in seen]) for name in names} | measures, None


def _measured(file: Path, config: Config) -> dict[str, float]:
    try:
        return measure(decode(file, at_least=SIDE, limits=config.data.limits).pixels)
    except ImageError:  # moved or damaged since the fit: the slices count it as not measured
        return {}


def _header(bundle: Bundle, scored: Scored) -> dict[str, Any]:
    info, answers = bundle.info, scored.answers
    kinds = {
        "best_single": "the best single member",
        "uniform": "the plain mean of all members",
        "greedy": "a weighted mean, members chosen greedily",
        "log_pool": "a weighted product of the members' probabilities",
        "logistic": "a logistic regression over the members' log-probabilities",
    }
    chosen = bundle.metrics["meta"]["chosen"]
    return {
        "bundle": bundle.path.name,
        "data": info["data"]["root"] if scored.kind == "out_of_fold" else scored.manifest.root.name,
        "data_digest": scored.manifest.digest,
        "fit_digest": info["data"]["digest"],
        "kind": scored.kind,
        "source": scored.sentence,
        "notes": [*scored.notes, *info.get("notes", [])],
        "failures": info.get("failures", []),
        "demonstration": bool(info.get("demonstration")),
        "files": len(scored.manifest),
        "rows": len(answers),
        "row_groups": answers.n_groups,
        "classes": len(answers.classes),
        "folds": bundle.config.folds.n_splits,
        "members": len(answers.members),
        "seed": bundle.config.seed,
        "chosen": chosen,
        "combined": kinds.get(chosen, chosen),
        "temperature": bundle.fitted_ensemble.temperature,
        "versions": info["packages"],
    }


def _costs(bundle: Bundle) -> tuple[dict[str, dict[str, float | None]], dict[str, float | None]]:
    """Of each member: fit time, and time and size of an answer with the sources it needs; the same of all together.

    The fit records what a photo costs in each source (``source_costs`` of ``metrics.json``); what comes after,
    the member's own matrices, is weighed here and takes microseconds.
    """
    metrics = bundle.metrics
    recorded = metrics.get("source_costs", {})
    costs: dict[str, dict[str, float | None]] = {}
    for member in bundle.fitted_ensemble.members:
        costs[member.name] = {
            "fit_seconds": metrics.get("member_seconds", {}).get(member.name),
            **_cost(recorded, set(member.features), [member.matrices]),
        }
    members = bundle.fitted_ensemble.members
    every = {name for member in members for name in member.features}
    return costs, _cost(recorded, every, [member.matrices for member in members])


def _cost(
    recorded: Mapping[str, Mapping[str, float]],
    extractors: Iterable[str],
    predictors: Sequence[AveragedPredictor],
) -> dict[str, float | None]:
    """Milliseconds and megabytes of one photo's way through these sources, each once, and predictors."""
    known = [recorded.get(name, {}) for name in extractors]
    matrices: list[float | None] = [_megabytes(predictor) for predictor in predictors]
    return {
        "predict_ms": _total([extractor.get("predict_ms") for extractor in known]),
        "megabytes": _total(matrices + [extractor.get("megabytes") for extractor in known]),
    }


def _total(values: Sequence[float | None]) -> float | None:
    """The sum; None where a part of it is not known."""
    known = [value for value in values if value is not None]
    return float(sum(known)) if len(known) == len(values) else None


def _megabytes(predictor: AveragedPredictor) -> float:
    nets = [
        net
        for part in predictor.parts
        for fold in part.specialists
        for net in fold
        if isinstance(net, DenseSpecialist)
    ]
    return sum(weight.nbytes + bias.nbytes for net in nets for weight, bias in net.layers) / 1e6
