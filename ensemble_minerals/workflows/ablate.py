"""`ablate`: takes photos, and writes what the ensemble and each of its ingredients gain."""

from __future__ import annotations

import shutil
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ensemble_minerals.ablation.arms import LEAKY, ROWS, AblationPlan
from ensemble_minerals.ablation.comparison import compare_arms
from ensemble_minerals.ablation.costs import arm_costs
from ensemble_minerals.ablation.header import AblationHeader
from ensemble_minerals.ablation.page import ABLATION, DATA, AblationReport, write_ablation
from ensemble_minerals.ablation.run import Ablation, AblationRun
from ensemble_minerals.ablation.selection import select_arms
from ensemble_minerals.ablation.wording import describe
from ensemble_minerals.config.loading import load_config
from ensemble_minerals.config.schema import Config
from ensemble_minerals.data.corrections import Corrections, given_corrections
from ensemble_minerals.errors import UserError
from ensemble_minerals.experiment.checkpoint import checkpoint_root, inputs_digest
from ensemble_minerals.experiment.correcting import scan_corrected
from ensemble_minerals.experiment.dataset import Dataset
from ensemble_minerals.experiment.extractors import check_networks, open_extractors
from ensemble_minerals.experiment.preparation import prepare
from ensemble_minerals.experiment.setup import Setup, build_members, build_meta_learner, set_up
from ensemble_minerals.features.converted_ahead import converted_ahead
from ensemble_minerals.features.costs import ExtractorCost, measure_extractors
from ensemble_minerals.features.registry import precision_for
from ensemble_minerals.reports.drawing import FigureFormat
from ensemble_minerals.system.cluster import open_cluster
from ensemble_minerals.system.cpu import count_jobs
from ensemble_minerals.system.durations import format_estimate
from ensemble_minerals.system.paths import claimed_output
from ensemble_minerals.system.progress import Progress, Silent
from ensemble_minerals.system.runtime import Runtime

CONFIRM_ABOVE = 1800.0
"""Seconds of fitting from which on the user must confirm with ``--yes``."""

TIMED_PHOTOS = 8
"""Photos on which the feature extractors are timed."""


@dataclass(frozen=True)
class AblationResult:
    """What an ablation made.

    Attributes:
        out: Folder that holds all of it.
        html: The page.
        json: The same content as data.
        report: The same content, typed.
        seconds: Time it took.
    """

    out: Path
    html: Path
    json: Path
    report: AblationReport
    seconds: float

    def __repr__(self) -> str:
        """The page."""
        return f"AblationResult({str(self.html)!r})"

    @property
    def ablation(self) -> dict[str, Any]:
        """The content of `json`, as JSON values."""
        return self.report.as_json()


def ablate(
    data: str | Path,
    out: str | Path,
    config: Config | None = None,
    *,
    repeats: int = 1,
    arms: Sequence[str] | None = None,
    n_splits: int = 5,
    n_jobs: int = -1,
    cache_dir: Path | None = None,
    yes: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    backend: str = "local",
    scheduler: str | None = None,
    figure_format: FigureFormat | None = None,
    corrections: Sequence[str | Path] = (),
    progress: Progress | None = None,
) -> AblationResult:
    """Test the ensemble against single models, and against itself without each of its ingredients.

    Args:
        data: Folder with one sub-folder a class, or a CSV with the columns path and label.
        out: Folder for the page and its data.
        config: What a fit would train; the shipped default if None.
        repeats: Outer cross-validations.
        arms: Names or kinds of the arms to run besides the full ensemble; all if None.
        n_splits: Outer folds; the inner ones are the configuration's.
        n_jobs: Concurrent tasks; -1 for all processors this process may use. Answers do not depend on it.
        cache_dir: Where fingerprints, features and converted networks are kept between runs.
        yes: Go on even if it will take more than half an hour.
        resume: Take up an ablation into the same `out` that was interrupted.
        overwrite: Replace an ablation at `out`, and forget an interrupted one unless it is to be resumed.
        backend: Where features are computed and members fitted, see `fit`.
        scheduler: Address of the cluster's scheduler.
        figure_format: ``pdf`` or ``svg``, written beside each PNG.
        corrections: Files of corrections, as of `fit`.
        progress: Told about progress.

    Raises:
        UserError: If there is no such arm, `out` holds something else, or the work is long and `yes` was not said.
        DataError: If the photos or the corrections cannot be used as they are, or are too few for the folds.
        WeightsError: If a backbone's weights cannot be had.
        FitError: If a member fails.
    """
    started = time.perf_counter()
    config = load_config(None) if config is None else config
    progress = Silent() if progress is None else progress
    n_jobs, out = count_jobs(n_jobs), Path(out)
    _check_numbers(repeats, n_splits, config.folds.n_splits)
    decisions = given_corrections(corrections)
    averaged = {one.name for one in config.backbones if one.pooling == "mean" and len(one.views) > 1}
    chosen = select_arms(
        build_members(config),
        arms,
        calibrate=config.calibration.temperature,
        viewed=averaged,
        rejects=config.rejection is not None,
    )
    apart = averaged if any(arm.name == ROWS for arm in chosen) else set()
    with (
        claimed_output(out, "an ablation", kind=ABLATION, overwrite=overwrite, outside=[Path(data)]),
        open_cluster(backend, scheduler, n_jobs=n_jobs) as workers,
    ):
        work = checkpoint_root(out, resume=resume, overwrite=overwrite, work="an ablation")
        runtime = Runtime(n_jobs, cache_dir, progress, cluster=workers)
        dataset, told = _prepare(Path(data), _with_views(config, apart), runtime, decisions)
        setup = set_up(dataset, config, runtime, work=work)
        alike = _count_alike(dataset)
        notes = [*told, *setup.notes]
        if not alike and any(arm.name == LEAKY for arm in chosen):
            chosen = tuple(arm for arm in chosen if arm.name != LEAKY)
            notes.append("no two photos show one object, so there is no leak to show")
            progress.note(notes[-1])
        plan = AblationPlan(
            setup.members,
            chosen,
            n_splits=n_splits,
            n_inner=config.folds.n_splits,
            repeats=repeats,
            meta=build_meta_learner(config),
            refit=config.refit,
            refuse=0.0 if config.rejection is None else config.rejection.refuse,
            seed=config.seed,
        )
        run = _run(plan, dataset, setup, config, runtime, work, apart, yes=yes)
        photos = _some_photos(dataset)
        costs = arm_costs(run, setup.members, _time_extractors(dataset, photos, config, progress))
        comparison = compare_arms(run, costs, refuse=plan.refuse, seed=config.seed)
        header = AblationHeader.of(dataset, setup.members, config, notes=notes, timed_photos=len(photos))
        report = AblationReport(header, comparison, describe(comparison, alike))
        html = write_ablation(report, out, figure_format)
        shutil.rmtree(work, ignore_errors=True)
    return AblationResult(out, html, out / DATA, report, time.perf_counter() - started)


def _prepare(
    data: Path, config: Config, runtime: Runtime, corrections: Corrections | None
) -> tuple[Dataset, tuple[str, ...]]:
    """The photos with their features, row groups and folds, and what corrections did."""
    check_networks(config)
    with converted_ahead(data, config, runtime.cache_dir, runtime.n_jobs):
        corrected = scan_corrected(data, config, runtime, corrections)
    precision = precision_for(config, len(corrected.manifest.usable))
    extractors = open_extractors(config, runtime, precision=precision)
    return prepare(corrected.manifest, config, extractors, runtime, corrected.pairs), corrected.notes


def _run(
    plan: AblationPlan,
    dataset: Dataset,
    setup: Setup,
    config: Config,
    runtime: Runtime,
    work: Path,
    apart: Collection[str],
    *,
    yes: bool,
) -> AblationRun:
    """Let every arm answer every outer fold."""
    names = [arm.name for arm in plan.arms]
    seen = setup.row_data(dataset, dataset.rows)
    ablation = Ablation(
        plan,
        replace(seen, views={name: views for name, views in seen.views.items() if name not in apart}),
        dataset.inputs,
        runtime,
        checkpoint=work / inputs_digest(config, dataset, plan.n_splits, names),
        views={name: views for name, views in seen.views.items() if name in apart},
    )
    for images in setup.images:
        images.prepare(runtime.n_jobs, runtime.progress.stage("Shrinking photos"))
    _announce(ablation, runtime.progress, yes=yes)
    return ablation.run()


def _with_views(config: Config, names: Collection[str]) -> Config:
    """The configuration by which the views of some backbones are kept apart, beside their mean."""
    backbones = [
        one.model_copy(update={"pooling": "rows"}) if one.name in names else one for one in config.backbones
    ]
    return config.model_copy(update={"backbones": tuple(backbones)})


def _time_extractors(
    dataset: Dataset, photos: Sequence[Path], config: Config, progress: Progress
) -> dict[str, ExtractorCost]:
    timed = progress.stage("Timing photos")
    costs = measure_extractors(dataset.extractors, photos, limits=config.data.limits)
    timed(len(photos), len(photos))
    return costs


def _check_numbers(repeats: int, n_splits: int, inner: int) -> None:
    if repeats < 1:
        raise UserError(f"{repeats} repeats were asked for; give 1 or more")
    if n_splits < 2:
        raise UserError(f"{n_splits} outer folds were asked for; give 2 or more")
    if inner < 2:
        raise UserError(
            "folds.n_splits is 1, a plain hold-out: an ablation needs 2 or more folds inside each outer one; "
            "add --set folds.n_splits=3 --set folds.holdout=0"
        )


def _announce(ablation: Ablation, progress: Progress, *, yes: bool) -> None:
    """Tell the user how much work lies ahead.

    Raises:
        UserError: If it is long, and was not confirmed.
    """
    plan, fits = ablation.plan, ablation.count_fits(left=True)
    if not fits:
        return
    seconds = ablation.estimate_seconds()
    ahead = (
        f"{len(plan.arms)} arms, {plan.repeats} x {plan.n_splits} outer folds, {fits:,} fits of a member: about "
        f"{format_estimate(seconds)}"
    )
    if seconds > CONFIRM_ABOVE and not yes:
        raise UserError(
            f"this will take long ({ahead}); say --yes to go on, or take fewer --repeats, --folds or --arms"
        )
    progress.note(ahead)


def _count_alike(dataset: Dataset) -> int:
    """Photos that share their row group with another."""
    _, sizes = np.unique(dataset.groups, return_counts=True)
    return int(sizes[sizes > 1].sum())


def _some_photos(dataset: Dataset) -> list[Path]:
    """A few photos, spread evenly over the data."""
    rows = dataset.rows
    spread = np.linspace(0, len(rows) - 1, min(TIMED_PHOTOS, len(rows))).astype(np.intp)
    return [dataset.manifest.file(int(row)) for row in rows[spread]]
