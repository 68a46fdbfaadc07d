"""The stage that saves: a trained ensemble becomes a bundle."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ensemble_minerals.bundle.model_card import write_model_card
from ensemble_minerals.bundle.network_files import save_networks
from ensemble_minerals.bundle.writing import BundleContents, write_bundle
from ensemble_minerals.config.properties import Properties
from ensemble_minerals.data.correcting import Corrected
from ensemble_minerals.data.files import is_synthetic
from ensemble_minerals.ensemble.rejection import Rejection
from ensemble_minerals.experiment.dataset import Dataset, counts
from ensemble_minerals.experiment.plan import Plan
from ensemble_minerals.experiment.precision import check_against_float32
from ensemble_minerals.experiment.training import Trained
from ensemble_minerals.features.backbone import BackboneExtractor
from ensemble_minerals.features.costs import measure_extractors
from ensemble_minerals.features.extractor import FeatureExtractor
from ensemble_minerals.features.trained_network import TrainedNetworkExtractor, pack_start
from ensemble_minerals.system.cache_folder import COSTS
from ensemble_minerals.system.runtime import Runtime

_TIMED_PHOTOS = 4
"""Photos on which the extractors are timed."""


def save(
    out: Path,
    trained: Trained,
    plan: Plan,
    dataset: Dataset,
    metrics: Mapping[str, Any],
    runtime: Runtime,
    *,
    overwrite: bool,
    pack: bool,
    properties: Properties | None = None,
    rejection: Rejection | None = None,
    corrected: Corrected | None = None,
) -> dict[str, Any]:
    """Save a trained ensemble as a bundle.

    Args:
        out: The bundle's folder.
        trained: The ensemble.
        plan: What was trained.
        dataset: The photos.
        metrics: As `score` returned them.
        runtime: Measured times are kept in its cache folder.
        overwrite: Replace a bundle that is there.
        pack: Copy the backbones' weights into the bundle, so that it needs nothing else.
        properties: Of the classes, if there are any.
        rejection: What tells photos that show none of the classes, if there is such a thing.
        corrected: What corrections did, if there were some.

    Returns:
        The metrics with ``source_costs``: milliseconds a photo and megabytes of each extractor.

    Raises:
        BundleError: If `out` exists and may not be replaced.
    """
    ensemble = trained.ensemble
    answered = ensemble.answered_
    with tempfile.TemporaryDirectory() as folder:
        networks = save_networks(
            ensemble.fitted_ensemble_, Path(folder) / "networks", n_threads=runtime.n_jobs
        )
        used = {**dataset.extractors, **networks.extractors}
        complete = {**metrics, "source_costs": _extractor_costs(used, dataset, plan, runtime)}
        extractors = {
            name: {
                "facts": dict(extractor.metadata),
                "fingerprint": extractor.fingerprint,
                "precision": extractor.metadata.get("precision", "float32"),
            }
            for name, extractor in used.items()
        }
        metadata = _metadata(trained, plan, dataset, corrected)
        check = check_against_float32(ensemble, trained.setup, dataset, plan.config, runtime)
        if check is not None:
            metadata["float32_check"] = check.model_dump()
        manifest_csv = Path(folder) / "manifest.csv"
        dataset.manifest.write_csv(manifest_csv)
        contents = BundleContents(
            config=plan.config,
            taxonomy=trained.setup.taxonomy,
            fitted_ensemble=networks.fitted_ensemble,
            extractors=extractors,
            out_of_fold=ensemble.out_of_fold_.take(answered).in_manifest(dataset.rows[answered]),
            metrics=complete,
            manifest_csv=manifest_csv,
            metadata=metadata,
            model_card=write_model_card(complete, metadata, plan.config, extractors),
            weights=_pack(used, Path(folder) / "weights") if pack else {},
            networks=networks.files,
            logs=ensemble.logs_,
            properties=properties,
            rejection=rejection,
        )
        write_bundle(out, contents, overwrite=overwrite)
    return complete


def _metadata(trained: Trained, plan: Plan, dataset: Dataset, corrected: Corrected | None) -> dict[str, Any]:
    """What ``bundle.json`` says of the data and of what the user should know."""
    manifest = dataset.manifest
    metadata: dict[str, Any] = {
        "data": {
            "digest": manifest.digest,
            "root": manifest.root.resolve().name,
            "root_path": str(manifest.root.resolve()),
            **counts(manifest),
        },
        "notes": [*(() if corrected is None else corrected.notes), *plan.notes, *trained.notes],
        "failures": [vars(failure) for failure in trained.ensemble.failures_],
        "demonstration": is_synthetic(manifest.root),
    }
    if corrected is not None and corrected.counts:
        metadata["corrections"] = corrected.counts
    if plan.limit is not None:
        metadata["time_limit"] = {
            "seconds": plan.limit,
            "estimated": round(plan.estimated, 3),
            "left_out": [*plan.notes, *trained.late],
        }
    return metadata


def _extractor_costs(
    extractors: Mapping[str, FeatureExtractor], dataset: Dataset, plan: Plan, runtime: Runtime
) -> dict[str, dict[str, float | None]]:
    """Milliseconds a photo and megabytes of each extractor, measured on a few photos."""
    costs = measure_extractors(
        extractors,
        [dataset.manifest.file(int(row)) for row in dataset.rows[:_TIMED_PHOTOS]],
        limits=plan.config.data.limits,
        rounds=1,
        memory=None if runtime.cache_dir is None else runtime.cache_dir / COSTS,
    )
    return {name: {"predict_ms": c.predict_ms, "megabytes": c.megabytes} for name, c in costs.items()}


def _pack(extractors: Mapping[str, FeatureExtractor], folder: Path) -> dict[str, Path]:
    """Copies of the backbones' weights, by extractor, and of those where networks started, by network."""
    folder.mkdir()
    packed = {}
    for name, extractor in extractors.items():
        if isinstance(extractor, BackboneExtractor) and (file := extractor.pack(folder)) is not None:
            packed[name] = file
    networks = {
        e.network.name: e.network for e in extractors.values() if isinstance(e, TrainedNetworkExtractor)
    }
    for network in networks.values():
        if (file := pack_start(network, folder)) is not None:
            packed[network.name] = file
    return packed
