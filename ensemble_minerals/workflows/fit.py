"""What the commands do: a configuration and photos in, paths out."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np

from ensemble_minerals.bundle.bundle import BundleContents, check_replaceable, write_bundle
from ensemble_minerals.bundle.model_card import write_model_card
from ensemble_minerals.bundle.network_files import SavedNetworks, save_networks
from ensemble_minerals.config.loading import load_config
from ensemble_minerals.config.schema import Config
from ensemble_minerals.ensemble.stacked import StackedEnsemble
from ensemble_minerals.ensemble.tasks import MemberFailure, OutOfTime
from ensemble_minerals.evaluation.learning_curve import learning_curve
from ensemble_minerals.evaluation.metrics import summary
from ensemble_minerals.experiment.cost_model import parse_seconds
from ensemble_minerals.experiment.dataset import Dataset, counts, scan_photos
from ensemble_minerals.experiment.plan import Clock, decide, keep_plan
from ensemble_minerals.experiment.setup import (
    Prepared,
    build_ensemble,
    checkpoint_root,
    inputs_digest,
    prepare,
)
from ensemble_minerals.features.backbone import BackboneExtractor
from ensemble_minerals.features.costs import measure_extractors
from ensemble_minerals.features.extractor import FeatureExtractor
from ensemble_minerals.features.trained_network import pack_start
from ensemble_minerals.members.network_member import NetworkStrategy
from ensemble_minerals.system.cpu import count_jobs
from ensemble_minerals.system.parallel import Cluster, at_home, cluster
from ensemble_minerals.system.paths import check_place
from ensemble_minerals.system.progress import Progress, Silent

_TIMED_PHOTOS = 4
"""Photos on which the sources are timed."""


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
    progress: Progress | None = None,
) -> FitResult:
    """Train the ensemble on a folder of photos and save it as a bundle.

    Args:
        data: Folder with one sub-folder a class, or a CSV with the columns path and label.
        out: Where the bundle shall stand.
        config: What to train; the shipped default if None.
        n_jobs: Concurrent tasks; -1 for all processors this process may use. Answers do not depend on it.
        cache_dir: Where fingerprints, features and converted networks are kept between runs.
        resume: Take up a fit into the same `out` that was interrupted.
        overwrite: Replace what stands at `out`, and forget an interrupted fit unless it is to be resumed.
        pack: Copy the backbones' weights into the bundle, so that it stands alone.
        backend: Where features are computed and members fitted: ``local``, or a ``dask`` or ``ray`` cluster, whose
            workers see photos, weights and `out` under the same paths. Answers do not depend on it.
        scheduler: Address of the cluster's scheduler.
        time_limit: Seconds, or a time such as ``1h30m``, for all of this. What does not fit in is left out, see
            `budget.ORDER`, and members that have not begun by then; one member is always fitted.
        progress: Told of progress.

    Raises:
        DataError: If the photos cannot be used as they are.
        WeightsError: If a backbone's weights cannot be had.
        BundleError: If `out` exists and neither flag is given, or is something else than a bundle.
        UserError: If nothing can be saved at `out`, `n_jobs` is no number of jobs, the cluster cannot be used, or
            the time limit is no time.
        FitError: If a member fails and the configuration does not allow that.
    """
    began = time.time()
    config = load_config(None) if config is None else config
    progress = Silent() if progress is None else progress
    n_jobs = count_jobs(n_jobs)
    out = Path(out)
    cache_dir = None if cache_dir is None else Path(cache_dir)
    check_replaceable(out, overwrite=overwrite)
    check_place(out, "out")
    limit = parse_seconds(str(time_limit)) if time_limit is not None else None
    root = checkpoint_root(out, resume=resume, overwrite=overwrite, work="a fit")
    with cluster(backend, scheduler, n_jobs=n_jobs) as where:
        return _fit(
            Path(data),
            out,
            config,
            Clock(began, limit),
            where,
            root,
            n_jobs=n_jobs,
            cache_dir=cache_dir,
            overwrite=overwrite,
            pack=pack,
            progress=progress,
        )


def _fit(
    data: Path,
    out: Path,
    config: Config,
    clock: Clock,
    where: Cluster,
    root: Path,
    *,
    n_jobs: int,
    cache_dir: Path | None,
    overwrite: bool,
    pack: bool,
    progress: Progress,
) -> FitResult:
    found = scan_photos(data, config, cache_dir=cache_dir, n_threads=n_jobs, progress=progress)
    trial = decide(config, found, clock, cache_dir=cache_dir, cluster=where, work=root, progress=progress)
    wanted, config = config, trial.plan.config
    if where.is_local and any(member.sampler.kind != "none" for member in config.members):
        # Half a second, in which the backbones need the interpreter little.
        Thread(target=import_module, args=("imblearn.over_sampling",), daemon=True).start()
    prepared = prepare(
        data,
        config,
        cache_dir=cache_dir,
        n_threads=n_jobs,
        progress=progress,
        work=root,
        found=trial.scan,
        cluster=where,
    )
    dataset, rows, notes = prepared.dataset, prepared.rows, [*trial.notes, *prepared.notes]
    manifest, labels, classes = dataset.manifest, prepared.labels, prepared.classes
    checkpoint = root / inputs_digest(config, dataset)
    checkpoint.mkdir(parents=True, exist_ok=True)
    if clock.limit is not None:
        keep_plan(root, wanted, clock.limit, trial)
    for table in prepared.images:
        table.prepare(n_jobs, progress.stage("Shrinking photos"))
    fitting = time.perf_counter()
    ensemble = build_ensemble(
        config,
        prepared.members,
        n_jobs=where.n_cores,
        checkpoint=checkpoint,
        progress=progress.stage("Fitting members"),
        deadline=clock.deadline,
    )
    ensemble.fit(prepared.blocks, labels, prepared.groups, prepared.folds)
    for member, note in ensemble.notes_:
        notes.append(f"{member}: {note}")
        progress.note(notes[-1])
    late = _late(ensemble)
    for note in late + [
        f"{failure.member} was left out: fold {failure.fold}: {failure.reason}"
        for failure in ensemble.failures_
        if not isinstance(failure, OutOfTime)
    ]:
        notes.append(note)
        progress.note(note)
    seconds = {
        **dataset.seconds,
        "members": ensemble.cross_fit_seconds_,
        "meta": time.perf_counter() - fitting - ensemble.cross_fit_seconds_,
    }
    metrics = _metrics(ensemble, prepared, classes, seconds)
    if trial.plan.learning_curve:
        with at_home():
            curve = _learning_curve(ensemble, prepared, metrics, n_jobs=n_jobs, seed=config.seed)
        if curve is not None:
            metrics["learning_curve"] = curve
    metrics["seconds"]["total"] = round(clock.spent, 3)
    metadata = {
        "data": {
            "digest": manifest.digest,
            "root": manifest.root.name,
            "root_path": str(manifest.root.resolve()),
            **counts(manifest),
        },
        "notes": notes,
        "failures": [vars(failure) for failure in ensemble.failures_],
        "demonstration": (manifest.root / ".synthetic").is_file(),
    }
    if clock.limit is not None:
        metadata["time_limit"] = {
            "seconds": clock.limit,
            "estimated": round(trial.plan.estimate.total, 3),
            "left_out": [*trial.plan.left_out, *late],
        }
    with tempfile.TemporaryDirectory() as folder:
        trained = save_networks(ensemble.fitted_ensemble_, Path(folder) / "networks", n_threads=n_jobs)
        asked = {**dataset.extractors, **trained.extractors}
        metrics["source_costs"] = _extractor_costs(asked, dataset, config, cache_dir)
        extractors = {
            name: {"facts": dict(extractor.metadata), "fingerprint": extractor.fingerprint}
            for name, extractor in asked.items()
        }
        manifest_csv = Path(folder) / "manifest.csv"
        manifest.write_csv(manifest_csv)
        contents = BundleContents(
            config=config,
            taxonomy=prepared.taxonomy,
            fitted_ensemble=trained.fitted_ensemble,
            extractors=extractors,
            out_of_fold=ensemble.out_of_fold_.take(ensemble.answered_).in_manifest(rows[ensemble.answered_]),
            metrics=metrics,
            manifest_csv=manifest_csv,
            metadata=metadata,
            model_card=write_model_card(metrics, metadata, config, extractors),
            weights=_pack(dataset, trained, Path(folder) / "weights") if pack else {},
            networks={name: extractor.states for name, extractor in trained.extractors.items()},
            logs=ensemble.logs_,
        )
        write_bundle(out, contents, overwrite=overwrite)
    shutil.rmtree(root, ignore_errors=True)
    return FitResult(out, metrics, tuple(ensemble.failures_), tuple(notes))


def _late(ensemble: StackedEnsemble) -> list[str]:
    """A sentence for each member whose folds were not all fitted in time."""
    missing = Counter(failure.member for failure in ensemble.failures_ if isinstance(failure, OutOfTime))
    n_folds = len(np.unique(ensemble.folds_[ensemble.answered_]))
    return [
        f"time limit: left out {member}, of which {number} of {n_folds} folds were not fitted in time"
        for member, number in missing.items()
    ]


def _metrics(
    ensemble: StackedEnsemble, prepared: Prepared, classes: tuple[str, ...], seconds: dict[str, float]
) -> dict[str, Any]:
    """``metrics.json``; ``oof`` is the figure of the whole on rows it never saw, never the in-sample one."""
    dataset = prepared.dataset
    answered = ensemble.answered_
    y = np.searchsorted(np.array(classes), prepared.labels[answered])
    metrics: dict[str, Any] = {
        "protocol": "cross_validation" if len(answered) == len(prepared.rows) else "holdout",
        "oof": summary(y, ensemble.oof_proba_[answered], classes),
        "members": {
            name: summary(y, ensemble.out_of_fold_.member_proba[n, answered], classes)
            for n, name in enumerate(ensemble.out_of_fold_.members)
        },
        "meta": {
            "chosen": ensemble.meta_.chosen_,
            "candidates": ensemble.meta_.scores_,
            "temperature": ensemble.fitted_ensemble_.temperature,
            "fold_temperatures": {str(fold): t for fold, t in ensemble.fold_temperatures_.items()},
        },
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "member_seconds": {name: round(value, 3) for name, value in ensemble.seconds_.items()},
        "counts": counts(dataset.manifest),
    }
    test = dataset.test_rows()
    if test.size:
        proba = ensemble.predict_proba(prepared.blocks_of(test))
        answer = np.searchsorted(np.array(classes), dataset.manifest.label[test])
        metrics["test"] = summary(answer, proba, classes)
    return metrics


def _extractor_costs(
    extractors: Mapping[str, FeatureExtractor], dataset: Dataset, config: Config, cache_dir: Path | None
) -> dict[str, dict[str, float | None]]:
    """Milliseconds a photo and megabytes of each source, measured on a few photos."""
    photos = [dataset.manifest.file(int(row)) for row in dataset.rows()[:_TIMED_PHOTOS]]
    costs = measure_extractors(
        extractors,
        photos,
        limits=config.data.limits,
        rounds=1,
        memory=None if cache_dir is None else cache_dir / "costs.json",
    )
    return {name: {"predict_ms": c.predict_ms, "megabytes": c.megabytes} for name, c in costs.items()}


def _learning_curve(
    ensemble: StackedEnsemble, prepared: Prepared, metrics: dict[str, Any], *, n_jobs: int, seed: int
) -> dict[str, Any] | None:
    """Of the best member on features, on growing parts of the training rows; training networks takes too long."""
    names = ensemble.out_of_fold_.members
    quick = {m.name: m for m in prepared.members if not isinstance(m.strategy, NetworkStrategy)}
    candidates = [place for place, name in enumerate(names) if name in quick]
    if not candidates:
        return None
    best = min(candidates, key=lambda m: float(metrics["members"][names[m]]["log_loss"]))
    member = quick[names[best]]
    classes = np.array(prepared.classes)
    return learning_curve(
        [member],
        prepared.blocks,
        np.searchsorted(classes, prepared.labels),
        prepared.groups,
        prepared.folds,
        classes,
        ensemble.out_of_fold_.member_proba[[best]],
        n_jobs=n_jobs,
        seed=seed,
    )


def _pack(dataset: Dataset, trained: SavedNetworks, folder: Path) -> dict[str, Path]:
    """Copies of the backbones' weights, by source name, and of those where networks started, by network name."""
    folder.mkdir()
    packed = {}
    for network in {
        extractor.network.name: extractor.network for extractor in trained.extractors.values()
    }.values():
        if (file := pack_start(network, folder)) is not None:
            packed[network.name] = file
    for name, extractor in dataset.extractors.items():
        if isinstance(extractor, BackboneExtractor) and (file := extractor.pack(folder)) is not None:
            packed[name] = file
    return packed
