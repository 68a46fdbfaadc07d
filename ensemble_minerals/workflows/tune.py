"""`tune`: takes photos and a configuration, and writes one that answers better, with what it gains."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.config.loading import load_config
from ensemble_minerals.config.schema import Config
from ensemble_minerals.data.corrections import Corrections, given_corrections
from ensemble_minerals.data.files import is_synthetic
from ensemble_minerals.data.folds import assign_folds
from ensemble_minerals.errors import DataError, UserError
from ensemble_minerals.experiment.correcting import scan_corrected
from ensemble_minerals.experiment.dataset import Dataset
from ensemble_minerals.experiment.extractors import open_extractors
from ensemble_minerals.experiment.preparation import prepare
from ensemble_minerals.experiment.setup import resolve_taxonomy
from ensemble_minerals.features.converted_ahead import converted_ahead
from ensemble_minerals.features.registry import precision_for
from ensemble_minerals.system.cpu import count_jobs
from ensemble_minerals.system.durations import parse_duration
from ensemble_minerals.system.paths import claimed_output
from ensemble_minerals.system.progress import Progress, Silent
from ensemble_minerals.system.runtime import Runtime
from ensemble_minerals.system.seeds import derived_seed
from ensemble_minerals.tuning.nested import NestedSearch
from ensemble_minerals.tuning.page import CONFIG, TUNING, TuningReport, write_tuning
from ensemble_minerals.tuning.scoring import CachedFeatures
from ensemble_minerals.tuning.space import SearchSpace


@dataclass(frozen=True)
class TuneResult:
    """What a tuning made.

    Attributes:
        out: Folder that holds all of it.
        html: The page.
        config: The configuration that was found.
        report: What was tried, and what it gains.
        seconds: Time it took.
    """

    out: Path
    html: Path
    config: Path
    report: TuningReport
    seconds: float

    def __repr__(self) -> str:
        """The configuration."""
        return f"TuneResult({str(self.config)!r})"


def tune(
    data: str | Path,
    out: str | Path,
    config: Config | None = None,
    *,
    time_limit: float | str = "30m",
    trials: int | None = None,
    n_splits: int = 3,
    n_jobs: int = -1,
    cache_dir: Path | None = None,
    overwrite: bool = False,
    corrections: Sequence[str | Path] = (),
    progress: Progress | None = None,
) -> TuneResult:
    """Search a better configuration, and measure on photos that the search never saw what it gains.

    Args:
        data: Folder with one sub-folder a class, or a CSV with the columns path and label.
        out: Folder for the configuration, the page and its data.
        config: Where the search begins; its members learn from frozen features. The shipped default if None.
        time_limit: Seconds, or a time such as ``1h30m``, for all of it. Each search tries its first configuration,
            however short that is.
        trials: Configurations that each search tries, at most.
        n_splits: Outer folds, in each of which the search is repeated.
        n_jobs: Concurrent tasks; -1 for all processors this process may use.
        cache_dir: Where scans, features and converted networks are kept between runs.
        overwrite: Replace a tuning at `out`.
        corrections: Files of corrections, as of `fit`.
        progress: Told about progress.

    Raises:
        UserError: If Optuna is not installed, the configuration has networks, or `out` holds something else.
        DataError: If the photos or the corrections cannot be used as they are, or are too few for the folds.
        WeightsError: If a backbone's weights cannot be had.
        FitError: If a member of the first configuration fails.
    """
    began, started = time.time(), time.perf_counter()
    config = load_config(None) if config is None else config
    deadline = began + parse_duration(str(time_limit), "--time-limit")
    progress, out = Silent() if progress is None else progress, Path(out)
    _check(config, trials, n_splits)
    decisions = given_corrections(corrections)
    space = SearchSpace(config)
    with claimed_output(out, "a tuning", kind=TUNING, overwrite=overwrite, outside=[Path(data)]):
        runtime = Runtime(count_jobs(n_jobs), cache_dir, progress)
        dataset, told = _prepare(Path(data), config, runtime, decisions)
        tree, _, notes = resolve_taxonomy(config, dataset.classes)
        for note in notes:
            progress.note(note)
        nested = NestedSearch(
            space,
            _features(dataset, config),
            dataset.inputs,
            tree,
            _outer_folds(dataset, config, n_splits),
            deadline,
            trials,
            runtime,
            progress.stage("Searching" if trials else "Searching, seconds"),
        )
        root = dataset.manifest.root
        report = TuningReport(root.resolve().name, config, nested.run(), is_synthetic(root), told)
        html = write_tuning(report, out)
    return TuneResult(out, html, out / CONFIG, report, time.perf_counter() - started)


def _check(config: Config, trials: int | None, n_splits: int) -> None:
    if find_spec("optuna") is None:
        raise UserError("tuning needs the package optuna: pip install 'ensemble-minerals[tune]'")
    if trials is not None and trials < 1:
        raise UserError(f"{trials} trials were asked for; give 1 or more")
    if n_splits < 2:
        raise UserError(f"{n_splits} outer folds were asked for; give 2 or more")
    if config.folds.n_splits < 2:
        raise UserError(
            "folds.n_splits is 1, a plain hold-out: tuning needs 2 or more folds inside each outer one; add "
            "--set folds.n_splits=3 --set folds.holdout=0"
        )


def _prepare(
    data: Path, config: Config, runtime: Runtime, corrections: Corrections | None
) -> tuple[Dataset, tuple[str, ...]]:
    """The photos with their features, the views of each backbone apart, and what corrections did."""
    apart = [backbone.model_copy(update={"pooling": "rows"}) for backbone in config.backbones]
    wide = config.model_copy(update={"backbones": tuple(apart)})
    with converted_ahead(data, wide, runtime.cache_dir, runtime.n_jobs):
        corrected = scan_corrected(data, wide, runtime, corrections)
    precision = precision_for(wide, len(corrected.manifest.usable))
    extractors = open_extractors(wide, runtime, precision=precision)
    return prepare(corrected.manifest, wide, extractors, runtime, corrected.pairs), corrected.notes


def _features(dataset: Dataset, config: Config) -> CachedFeatures:
    views = dataset.blocks_of_views(dataset.rows)
    matrices = {name: one for name, one in dataset.blocks(dataset.rows).items() if name not in views}
    return CachedFeatures(matrices, views, {one.name: one.views for one in config.backbones})


def _outer_folds(dataset: Dataset, config: Config, n_splits: int) -> NDArray[np.intp]:
    """Outer fold of each row; what it leaves must do for the inner folds.

    Raises:
        DataError: If a class has too few row groups.
    """
    known = dataset.inputs
    folds = assign_folds(known.y, known.groups, n_splits=n_splits, seed=derived_seed(config.seed, n_splits))
    for fold in range(n_splits):
        training = known.take(folds != fold)
        for position, name in enumerate(known.names):
            n_groups = len(set(training.groups[training.y == position].tolist()))
            if n_groups < config.folds.n_splits:
                raise DataError(
                    f"with {n_splits} outer folds {name!r} has {n_groups} row groups left to learn from, fewer than "
                    f"the {config.folds.n_splits} inner folds; use fewer inner folds (folds.n_splits of the "
                    "configuration), or photograph more specimens"
                )
    return folds
