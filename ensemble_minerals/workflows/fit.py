"""`fit`: photos in, a bundle out."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ensemble_minerals.bundle.schema import BUNDLE
from ensemble_minerals.config.loading import load_config
from ensemble_minerals.config.properties import load_properties, properties_of
from ensemble_minerals.config.schema import Config
from ensemble_minerals.data.corrections import given_corrections
from ensemble_minerals.errors import UserError
from ensemble_minerals.experiment.checkpoint import checkpoint_root
from ensemble_minerals.experiment.correcting import scan_corrected
from ensemble_minerals.experiment.plan import Clock, plan_fit
from ensemble_minerals.experiment.preparation import prepare
from ensemble_minerals.features.converted_ahead import converted_ahead
from ensemble_minerals.prediction.inputs import expand_inputs
from ensemble_minerals.system.cluster import open_cluster
from ensemble_minerals.system.cpu import count_jobs
from ensemble_minerals.system.durations import parse_duration
from ensemble_minerals.system.paths import claimed_output
from ensemble_minerals.system.progress import Progress, Silent
from ensemble_minerals.system.runtime import Runtime
from ensemble_minerals.system.stopwatch import Stopwatch

if TYPE_CHECKING:
    from ensemble_minerals.members.base import MemberFailure


@dataclass(frozen=True)
class FitResult:
    """What a fit made.

    Attributes:
        bundle: Where it is.
        metrics: As in its ``metrics.json``.
        failures: Members left out, and why.
        notes: What the user should know, one sentence each.
    """

    bundle: Path
    metrics: dict[str, Any]
    failures: tuple[MemberFailure, ...]
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        """Where the bundle is, and its out-of-fold figures."""
        accuracy, loss = (self.metrics["oof"][score] for score in ("accuracy", "log_loss"))
        return f"FitResult({str(self.bundle)!r}, accuracy {accuracy:.3f}, log-loss {loss:.3f} out of fold)"


def fit(
    data: str | Path,
    out: str | Path,
    config: Config | None = None,
    *,
    n_jobs: int = -1,
    cache_dir: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    pack: bool = False,
    backend: str = "local",
    scheduler: str | None = None,
    time_limit: float | str | None = None,
    strangers: str | Path | None = None,
    corrections: Sequence[str | Path] = (),
    progress: Progress | None = None,
) -> FitResult:
    """Train the ensemble on a folder of photos and save it as a bundle.

    Args:
        data: Folder with one sub-folder a class, or a CSV with the columns path and label.
        out: The bundle's folder.
        config: What to train; the shipped default if None.
        n_jobs: Concurrent tasks; -1 for all processors this process may use. Answers do not depend on it.
        cache_dir: Where scans, features and converted networks are kept between runs; nowhere if None.
        resume: Take up a fit into the same `out` that was interrupted.
        overwrite: Replace a bundle that is there, and forget an interrupted fit unless it is to be resumed.
        pack: Copy the backbones' weights into the bundle, so that it needs nothing else.
        backend: Where features are computed and members fitted: ``local``, or a ``dask`` or ``ray`` cluster, whose
            workers see photos, weights and `out` under the same paths. Answers do not depend on it.
        scheduler: Address of the cluster's scheduler.
        time_limit: Seconds, or a time such as ``1h30m``, for the whole fit. Members that do not fit in are left
            out, see `experiment.plan`; those that have not begun by then are not fitted, except one.
        strangers: Folder of photos that show none of the classes; they help to choose what tells strangers.
        corrections: Files of corrections, see `data.corrections`; the photos are not touched.
        progress: Told about progress.

    Raises:
        DataError: If the photos or the corrections cannot be used as they are.
        WeightsError: If a backbone's weights cannot be had.
        BundleError: If `out` exists and neither flag is given, or is something else than a bundle.
        UserError: If nothing can be saved at `out`, `n_jobs` is no number of jobs, the cluster cannot be used, or
            the time limit is no time.
        FitError: If a member fails and the configuration does not allow that.
    """
    began = time.time()
    config = load_config(None) if config is None else config
    # A mistake in it is told before photos are read.
    known = None if config.properties is None else load_properties(config.properties)
    n_jobs = count_jobs(n_jobs)
    data, out = Path(data), Path(out)
    others = (
        [] if strangers is None else expand_inputs(strangers, None if progress is None else progress.note)
    )
    if others and config.rejection is None:
        raise UserError("strangers are of no use with rejection: null; leave out either")
    decisions = given_corrections(corrections)
    clock = Clock(began, None if time_limit is None else parse_duration(str(time_limit), "--time-limit"))
    runtime = Runtime(
        n_jobs,
        None if cache_dir is None else Path(cache_dir),
        Silent() if progress is None else progress,
        clock.deadline,
    )
    stopwatch = Stopwatch()
    with (
        claimed_output(out, "a fit", kind=BUNDLE, overwrite=overwrite, outside=[data]),
        open_cluster(backend, scheduler, n_jobs=n_jobs) as workers,
        ExitStack() as ahead,
    ):
        work = checkpoint_root(out, resume=resume, overwrite=overwrite, work="a fit")
        runtime = replace(runtime, cluster=workers)
        ahead.enter_context(converted_ahead(data, config, runtime.cache_dir, n_jobs))
        with stopwatch("scan"):
            corrected = scan_corrected(data, config, runtime, decisions)
            manifest = corrected.manifest
        properties = properties_of(config.properties, set(manifest.label[manifest.usable].tolist()), known)
        with stopwatch("features"):
            ahead.close()  # networks are ready
            plan = plan_fit(config, manifest, clock, runtime)
            dataset = prepare(manifest, plan.config, plan.extractors, runtime, corrected.pairs)
        # Not before: these bring scikit-learn, which `prepare` imports while features are computed.
        from ensemble_minerals.experiment.rejection import begin_rejection, learn_rejection, rejection_figures
        from ensemble_minerals.experiment.saving import save
        from ensemble_minerals.experiment.scoring import score
        from ensemble_minerals.experiment.training import train

        with begin_rejection(dataset, plan.config, runtime, others) as begun:
            trained = train(plan, dataset, runtime, work=work)
            metrics = score(trained, plan, dataset, stopwatch.seconds | trained.seconds, runtime)
            with stopwatch("rejection"):
                learned = learn_rejection(trained, dataset, plan.config, runtime, others, begun)
        if learned is not None:
            metrics["rejection"] = rejection_figures(learned, others)
        metrics["seconds"] |= {
            "rejection": round(stopwatch.seconds["rejection"], 3),
            "total": round(clock.spent, 3),
        }
        metrics = save(
            out,
            trained,
            plan,
            dataset,
            metrics,
            runtime,
            overwrite=overwrite,
            pack=pack,
            properties=properties,
            rejection=None if learned is None else learned.rejection,
            corrected=corrected,
        )
        shutil.rmtree(work, ignore_errors=True)
    failures = tuple(trained.ensemble.failures_)
    return FitResult(out, metrics, failures, (*corrected.notes, *plan.notes, *trained.notes))
