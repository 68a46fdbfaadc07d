"""The public functions: those of `workflows`, with the cache, progress and messages that Python's users expect.

All take the same three arguments. `cache_dir` is where scans, features and converted networks are kept between runs:
the user's cache folder (True), another folder, or nowhere (False). `n_jobs` is the number of concurrent tasks; -1 for
all processors this process may use; answers do not depend on it. `progress` is told about progress: None shows bars
on a terminal and lines in a notebook and nothing elsewhere, False nothing, True bars or lines.

Raises everywhere: `EnsembleMineralsError`, of which a `UserError` is a mistake in what was asked.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeVar

from ensemble_minerals.config.loading import load_config, read_mapping
from ensemble_minerals.config.schema import Config
from ensemble_minerals.errors import EnsembleMineralsError
from ensemble_minerals.system.paths import beside, cache_folder
from ensemble_minerals.system.progress import Progress, Silent

if TYPE_CHECKING:
    from ensemble_minerals.prediction.inputs import Inputs
    from ensemble_minerals.prediction.photo_predictor import PhotoPredictor
    from ensemble_minerals.reports.drawing import FigureFormat
    from ensemble_minerals.workflows.ablate import AblationResult
    from ensemble_minerals.workflows.compare import BundleComparison
    from ensemble_minerals.workflows.distill import DistillResult
    from ensemble_minerals.workflows.explain import ExplainResult
    from ensemble_minerals.workflows.export import ExportFormat, ExportResult, Quantization
    from ensemble_minerals.workflows.fit import FitResult
    from ensemble_minerals.workflows.inspect import Inspection
    from ensemble_minerals.workflows.report import ReportResult
    from ensemble_minerals.workflows.tune import TuneResult

P = ParamSpec("P")
R = TypeVar("R")

ConfigLike: TypeAlias = Config | Mapping[str, Any] | str | Path | None
"""A configuration, the content of one, its file, or the name of one in the package; None is ``default``."""

FilesLike: TypeAlias = str | Path | Sequence[str | Path]
"""A file, or several."""

CacheLike: TypeAlias = str | Path | bool | None
ProgressLike: TypeAlias = Progress | bool | None

_SPOKEN = (
    (re.compile(r"\bensemble-minerals ([a-z]+)"), r"em.\1"),
    (re.compile(r"--set '?(\w[\w.]*)=(\S+?)'?(?=[\s,;)]|$)"), r"\1=\2 in the configuration"),
    (re.compile(r"(?:--n-jobs|-j) (\d+)"), r"n_jobs=\1"),
    (re.compile(r"--(overwrite|resume|pack|yes)\b"), r"\1=True"),
    (re.compile(r"--allow-failures\b"), "allow_failures=true in the configuration"),
    (re.compile(r"--([a-z]+(?:-[a-z]+)*)"), lambda match: match[1].replace("-", "_")),
)
"""Options of the command line, and what says the same in Python."""


def in_python(message: str) -> str:
    """A message with the arguments of functions in place of the command line's options.

    Example:
        >>> in_python("choose another --out, or replace it with --overwrite")
        'choose another out, or replace it with overwrite=True'
    """
    for option, argument in _SPOKEN:
        message = option.sub(argument, message)
    return message


def _public(function: Callable[P, R]) -> Callable[P, R]:
    """Let the errors of a function speak of its arguments."""

    @wraps(function)
    def call(*args: P.args, **named: P.kwargs) -> R:
        try:
            return function(*args, **named)
        except EnsembleMineralsError as error:
            if len(error.args) == 1:
                error.args = (in_python(str(error)),)
            raise

    return call


@_public
def fit(
    data: str | Path,
    out: str | Path,
    config: ConfigLike = None,
    *,
    n_jobs: int = -1,
    cache_dir: CacheLike = True,
    resume: bool = False,
    overwrite: bool = False,
    pack: bool = False,
    backend: str = "local",
    scheduler: str | None = None,
    time_limit: float | str | None = None,
    strangers: str | Path | None = None,
    corrections: FilesLike = (),
    progress: ProgressLike = None,
) -> FitResult:
    """Train the ensemble on a folder of photos and save it as a bundle.

    Args:
        data: Folder with one sub-folder a class, or a CSV with the columns path and label.
        out: The bundle's folder.
        config: What to train, such as ``"fast"``.
        n_jobs: See `api`.
        cache_dir: See `api`.
        resume: Take up a fit into the same `out` that was interrupted.
        overwrite: Replace a bundle that is there.
        pack: Copy the backbones' weights into the bundle, so that it needs nothing else.
        backend: Where features are computed and members fitted: ``local``, ``dask`` or ``ray``.
        scheduler: Address of the cluster's scheduler.
        time_limit: Seconds, or a time such as ``1h30m``, for the whole fit; what does not fit in is left out.
        strangers: Folder of photos that show none of the classes; they help to choose what tells strangers.
        corrections: Files of corrections that ``ensemble-minerals review`` wrote; the photos are not touched.
        progress: See `api`.
    """
    from ensemble_minerals.workflows.fit import fit as run

    with _shown(progress) as shown:
        return run(
            data, out, as_config(config), n_jobs=n_jobs, cache_dir=_cache(cache_dir), resume=resume,
            overwrite=overwrite, pack=pack, backend=backend, scheduler=scheduler, time_limit=time_limit,
            strangers=strangers, corrections=_files(corrections), progress=shown,
        )  # fmt: skip


@_public
def load(path: str | Path, cache_dir: CacheLike = True, n_threads: int = 2) -> PhotoPredictor:
    """Read a bundle or a student and get ready to predict.

    Args:
        path: Its folder.
        cache_dir: See `api`.
        n_threads: Threads that decode.
    """
    from ensemble_minerals.bundle.student import is_student

    if is_student(Path(path)):
        from ensemble_minerals.prediction.student import load_student

        return load_student(path, n_threads)
    from ensemble_minerals.prediction.predictor import load as run

    return run(path, _cache(cache_dir), n_threads)


@_public
def inspect_data(
    data: str | Path,
    config: ConfigLike = None,
    *,
    cache_dir: CacheLike = True,
    n_jobs: int = -1,
    corrections: FilesLike = (),
    progress: ProgressLike = None,
) -> Inspection:
    """Find out what a folder of photos holds, without training anything.

    Args:
        data: Folder with one sub-folder a class, or a CSV with the columns path and label.
        config: Limits, backbones and thresholds.
        cache_dir: See `api`.
        n_jobs: See `api`.
        corrections: As of `fit`.
        progress: See `api`.
    """
    from ensemble_minerals.system.cpu import count_jobs
    from ensemble_minerals.workflows.inspect import inspect_data as run

    with _shown(progress) as shown:
        return run(
            data, as_config(config), cache_dir=_cache(cache_dir), n_threads=count_jobs(n_jobs),
            corrections=_files(corrections), progress=shown,
        )  # fmt: skip


@_public
def report(
    bundle: str | Path,
    *,
    data: str | Path | None = None,
    out: str | Path | None = None,
    photos: str | Path | None = None,
    strangers: str | Path | None = None,
    heatmaps: bool = True,
    random_split: bool | None = None,
    figure_format: FigureFormat | None = None,
    cache_dir: CacheLike = True,
    n_jobs: int = -1,
    corrections: FilesLike = (),
    progress: ProgressLike = None,
) -> ReportResult:
    """Write where a fitted ensemble fails and why: a page, and the same as JSON, CSV and PNG.

    Args:
        bundle: Of a fit.
        data: Labeled photos that took no part in the fit; by default its out-of-fold answers are analyzed.
        out: Folder of the report, replaced if it is one; ``BUNDLE-report`` beside the bundle by default.
        photos: Where the photos of the fit are now, if not where they were.
        strangers: Folder of photos that show none of the classes: how many are told?
        heatmaps: Whether the worst photos are shown with what spoke for the wrong answer.
        random_split: Whether the members are trained once more in a random split; if None, where that is quick.
        figure_format: ``pdf`` or ``svg``, written beside each PNG.
        cache_dir: See `api`.
        n_jobs: See `api`.
        corrections: Files of corrections that came after the fit: answers are scored by the corrected labels.
        progress: See `api`.
    """
    from ensemble_minerals.workflows.report import write_report

    with _shown(progress) as shown:
        return write_report(
            bundle, data=data, out=out, photos=photos, strangers=strangers, heatmaps=heatmaps,
            random_split=random_split, figure_format=figure_format,
            cache_dir=_cache(cache_dir), n_jobs=n_jobs, corrections=_files(corrections), progress=shown,
        )  # fmt: skip


@_public
def compare(
    first: str | Path,
    second: str | Path,
    *,
    data: str | Path | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    cache_dir: CacheLike = True,
    n_jobs: int = -1,
    progress: ProgressLike = None,
) -> BundleComparison:
    """Compare two bundles on photos that neither learned from.

    Args:
        first: Bundle of a fit.
        second: Another, with the same classes.
        data: Labeled photos that took no part in either fit; by default those that both have answered out of fold.
        out: File for the result, too: ``.csv`` or ``.json``.
        overwrite: Whether a file at `out` may be replaced.
        cache_dir: See `api`.
        n_jobs: See `api`.
        progress: See `api`.
    """
    from ensemble_minerals.workflows.compare import compare as run

    with _shown(progress) as shown:
        return run(
            first, second, data=data, out=out, overwrite=overwrite, cache_dir=_cache(cache_dir), n_jobs=n_jobs,
            progress=shown,
        )  # fmt: skip


@_public
def ablate(
    data: str | Path,
    out: str | Path,
    config: ConfigLike = None,
    *,
    repeats: int = 1,
    arms: Sequence[str] | None = None,
    n_splits: int = 5,
    n_jobs: int = -1,
    cache_dir: CacheLike = True,
    yes: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    backend: str = "local",
    scheduler: str | None = None,
    figure_format: FigureFormat | None = None,
    corrections: FilesLike = (),
    progress: ProgressLike = None,
) -> AblationResult:
    """Test the ensemble against single models, and against itself without each of its ingredients.

    Args:
        data: Folder with one sub-folder a class, or a CSV with the columns path and label.
        out: Folder for the page and its data.
        config: What a fit would train.
        repeats: Outer cross-validations.
        arms: Names or kinds of the arms to run besides the full ensemble; all if None.
        n_splits: Outer folds; the inner ones are the configuration's.
        n_jobs: See `api`.
        cache_dir: See `api`.
        yes: Go on even if it will take more than half an hour.
        resume: Take up an ablation into the same `out` that was interrupted.
        overwrite: Replace an ablation at `out`.
        backend: As of `fit`.
        scheduler: As of `fit`.
        figure_format: As of `report`.
        corrections: As of `fit`.
        progress: See `api`.
    """
    from ensemble_minerals.workflows.ablate import ablate as run

    with _shown(progress) as shown:
        return run(
            data, out, as_config(config), repeats=repeats, arms=arms, n_splits=n_splits, n_jobs=n_jobs,
            cache_dir=_cache(cache_dir), yes=yes, resume=resume, overwrite=overwrite, backend=backend,
            scheduler=scheduler, figure_format=figure_format, corrections=_files(corrections), progress=shown,
        )  # fmt: skip


@_public
def tune(
    data: str | Path,
    out: str | Path,
    config: ConfigLike = None,
    *,
    time_limit: float | str = "30m",
    trials: int | None = None,
    n_splits: int = 3,
    n_jobs: int = -1,
    cache_dir: CacheLike = True,
    overwrite: bool = False,
    corrections: FilesLike = (),
    progress: ProgressLike = None,
) -> TuneResult:
    """Search a better configuration, and measure on photos that the search never saw what it gains.

    Args:
        data: Folder with one sub-folder a class, or a CSV with the columns path and label.
        out: Folder for the configuration, the page and its data.
        config: Where the search begins.
        time_limit: Seconds, or a time such as ``1h30m``, for all of it.
        trials: Configurations that each search tries, at most.
        n_splits: Outer folds, in each of which the search is repeated.
        n_jobs: See `api`.
        cache_dir: See `api`.
        overwrite: Replace a tuning at `out`.
        corrections: As of `fit`.
        progress: See `api`.
    """
    from ensemble_minerals.workflows.tune import tune as run

    with _shown(progress) as shown:
        return run(
            data, out, as_config(config), time_limit=time_limit, trials=trials, n_splits=n_splits, n_jobs=n_jobs,
            cache_dir=_cache(cache_dir), overwrite=overwrite, corrections=_files(corrections), progress=shown,
        )  # fmt: skip


@_public
def explain(
    bundle: str | Path,
    inputs: Inputs,
    out: str | Path,
    *,
    target: str | None = None,
    layers: Sequence[str] | None = None,
    members: Sequence[str] | None = None,
    cache_dir: CacheLike = True,
    overwrite: bool = False,
    n_jobs: int = -1,
    progress: ProgressLike = None,
) -> ExplainResult:
    """Show what in photos speaks for the answers of an ensemble.

    Args:
        bundle: Of a fit.
        inputs: Photos, folders and patterns.
        out: Folder for the page, its figures and tables.
        target: Class that is explained; the answer to each photo by default.
        layers: Layers whose channels are drawn, such as ``"lite0:final"``.
        members: Names of members whose own heat-maps are drawn as well.
        cache_dir: See `api`.
        overwrite: Replace an explanation that is at `out`.
        n_jobs: See `api`.
        progress: See `api`.
    """
    from ensemble_minerals.workflows.explain import explain as run

    with _shown(progress) as shown:
        return run(
            bundle, inputs, out, target=target, layers=layers, members=members, cache_dir=_cache(cache_dir),
            overwrite=overwrite, n_jobs=n_jobs, progress=shown,
        )  # fmt: skip


@_public
def distill(
    bundle: str | Path,
    out: str | Path | None = None,
    student: str = "tf_efficientnet_lite0",
    *,
    weights: str | None = None,
    size: int | None = 224,
    epochs: int | None = None,
    settings: Sequence[str] = (),
    photos: str | Path | None = None,
    label_share: float = 0.5,
    n_jobs: int = -1,
    resume: bool = False,
    overwrite: bool = False,
    corrections: FilesLike = (),
    progress: ProgressLike = None,
) -> DistillResult:
    """Train a small network on an ensemble's soft answers and save it as a student.

    Args:
        bundle: The ensemble, as a fit saved it.
        out: The student's folder; ``BUNDLE-student`` beside the bundle by default.
        student: Any timm model.
        weights: Where training starts: ``hub``, ``random``, ``package:NAME``, or the path of a weights file. If None
            the weights that are installed with this package, else the hub.
        size: Side of the square input in pixels; None takes that of the weights.
        epochs: Of training; None takes the recipe's.
        settings: What else of its training is other, such as ``"phases.0.train=last:4"``.
        photos: Where the photos of the fit are now, if they were moved.
        label_share: How much of what is learned is the label, between 0 and 1.
        n_jobs: See `api`.
        resume: Take up a distillation into the same `out` that was interrupted.
        overwrite: Replace a student that is there.
        corrections: Files of corrections that came after the fit.
        progress: See `api`.
    """
    from ensemble_minerals.config.students import student_config
    from ensemble_minerals.workflows.distill import distill as run

    network = student_config(student, weights=weights, size=size, epochs=epochs, overrides=settings)
    folder = beside(Path(bundle), "student") if out is None else out
    with _shown(progress) as shown:
        return run(
            bundle, folder, network, photos=photos, label_share=label_share, n_jobs=n_jobs, resume=resume,
            overwrite=overwrite, corrections=_files(corrections), progress=shown,
        )  # fmt: skip


@_public
def export(
    model: str | Path,
    out: str | Path,
    *,
    form: ExportFormat = "onnx",
    quantize: Quantization | None = None,
    photos: str | Path | None = None,
    runtime: str | Path | None = None,
    cache_dir: CacheLike = True,
    overwrite: bool = False,
    progress: ProgressLike = None,
) -> ExportResult:
    """Write a bundle or a student as ONNX, or a student as a page that needs neither a server nor a network.

    Args:
        model: Folder of a bundle or of a student.
        out: The file, ending in ``.onnx`` or ``.html``.
        form: ``onnx`` or ``html``.
        quantize: ``int8`` computes a student in 8-bit integers, and measures what that costs.
        photos: Where the photos of the fit are now, if they were moved.
        runtime: For a page the folder of an unpacked onnxruntime-web; npm fetches it if None.
        cache_dir: See `api`.
        overwrite: Replace a file that is there.
        progress: See `api`.
    """
    from ensemble_minerals.workflows.export import export as run

    with _shown(progress) as shown:
        return run(
            model,
            out,
            form=form,
            quantize=quantize,
            photos=photos,
            runtime=runtime,
            cache_dir=_cache(cache_dir),
            overwrite=overwrite,
            progress=shown,
        )


@_public
def review(
    bundle: str | Path,
    corrections: str | Path = "corrections.csv",
    *,
    others: FilesLike = (),
    unlabeled: str | Path | None = None,
    photos: str | Path | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    allow_hosts: Sequence[str] = (),
    token: str | None = None,
    n_jobs: int = -1,
    cache_dir: CacheLike = True,
    progress: ProgressLike = True,
) -> Path:
    """Serve a page where people decide about doubtful photos, until Ctrl-C or a notebook's stop button ends it.

    Args:
        bundle: Of a fit.
        corrections: File to which decisions are added; made with the first one. Photos are not touched.
        others: Files of corrections by other people, which are read.
        unlabeled: Folder of new photos to be labeled instead, those first that would teach most.
        photos: Where the photos of the fit are now, if they were moved.
        host: Address to listen at.
        port: Port to listen at; 0 for any that is free.
        allow_hosts: Further names by which the server may be addressed.
        token: That every request must show; a random one if None, which the address holds that is told.
        n_jobs: See `api`.
        cache_dir: See `api`.
        progress: Also told the address; see `api`.

    Returns:
        The file of corrections, for `fit`.
    """
    from ensemble_minerals.workflows.review import review as run
    from ensemble_minerals.workflows.serve import check_installed

    check_installed()
    from ensemble_minerals.serving.running import Stopped  # needs what was checked

    with _shown(progress) as shown, suppress(Stopped):
        run(
            bundle, corrections, others=_files(others), unlabeled=unlabeled, photos=photos, host=host, port=port,
            allow_hosts=allow_hosts, token=token, n_jobs=n_jobs, cache_dir=_cache(cache_dir), progress=shown,
        )  # fmt: skip
    return Path(corrections)


def as_config(config: ConfigLike) -> Config:
    """The configuration that is meant.

    Raises:
        ConfigError: If it does not fit; lists every problem.

    Example:
        >>> as_config("fast") == load_config("fast")
        True
    """
    if isinstance(config, Config):
        return config
    return read_mapping(config) if isinstance(config, Mapping) else load_config(config)


def _files(given: FilesLike) -> Sequence[str | Path]:
    return [given] if isinstance(given, str | Path) else given


def _cache(wanted: CacheLike) -> Path | None:
    chosen = None if isinstance(wanted, bool) or wanted is None else Path(wanted)
    return cache_folder(chosen, none=wanted is None or wanted is False)


@contextmanager
def _shown(progress: ProgressLike) -> Iterator[Progress]:
    """What is told about progress: bars or lines where somebody looks, else nothing."""
    if not isinstance(progress, bool) and progress is not None:
        yield progress
    elif progress or (progress is None and (sys.stderr.isatty() or "ipykernel" in sys.modules)):
        from ensemble_minerals.cli.progress import show_progress

        with show_progress() as shown:
            yield shown
    else:
        yield Silent()
