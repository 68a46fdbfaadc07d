"""Writing a bundle."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from ensemble_minerals.bundle.optional_parts import PROPERTIES
from ensemble_minerals.bundle.rejection import write_rejection
from ensemble_minerals.bundle.schema import BUNDLE, BUNDLE_SCHEMA, ENSEMBLE, write_json
from ensemble_minerals.config.properties import Properties
from ensemble_minerals.config.schema import Config
from ensemble_minerals.ensemble.fitted import FittedEnsemble
from ensemble_minerals.ensemble.oof import OutOfFold
from ensemble_minerals.ensemble.rejection import Rejection
from ensemble_minerals.members.serialization import predictor_to_arrays
from ensemble_minerals.system.atomic import atomic_folder
from ensemble_minerals.system.paths import check_output
from ensemble_minerals.system.versions import installed_versions
from ensemble_minerals.taxonomy import Taxonomy


@dataclass(frozen=True)
class BundleContents:
    """What a bundle is written from.

    Attributes:
        config: Resolved.
        taxonomy: Groups of the classes, for roll-ups and hierarchical members.
        fitted_ensemble: What predicts.
        extractors: Metadata and fingerprint of each feature extractor, under ``facts`` and ``fingerprint``.
        out_of_fold: Of the training rows.
        metrics: See README, "metrics.json".
        manifest_csv: The manifest as `Manifest.write_csv` wrote it.
        metadata: Data digest, notes, failed members, and what else a reader should know; JSON values.
        model_card: Text of the bundle's README.
        weights: Weights files to copy in, by extractor; empty unless the bundle shall need nothing else.
        networks: Files of trained networks to copy in, by extractor.
        logs: Epochs of trained networks, by member; JSON values.
        properties: Of the classes, if there are any.
        rejection: What tells photos that show none of the classes, if there is such a thing.
    """

    config: Config
    taxonomy: Taxonomy
    fitted_ensemble: FittedEnsemble
    extractors: Mapping[str, Mapping[str, Any]]
    out_of_fold: OutOfFold
    metrics: Mapping[str, Any]
    manifest_csv: Path
    metadata: Mapping[str, Any]
    model_card: str
    weights: Mapping[str, Path]
    networks: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    logs: Mapping[str, Any] = field(default_factory=dict)
    properties: Properties | None = None
    rejection: Rejection | None = None


def write_bundle(path: Path, contents: BundleContents, *, overwrite: bool = False) -> Path:
    """Save a fitted ensemble; it appears under `path` whole or not at all.

    Args:
        path: The folder.
        contents: What is saved.
        overwrite: Replace a bundle that is there.

    Raises:
        BundleError: If `path` exists and may not be replaced, or a member cannot be saved.
    """
    check_output(path, kind=BUNDLE, overwrite=overwrite)
    with atomic_folder(path) as folder:
        _write_files(folder, contents)
        BUNDLE_SCHEMA.write(
            folder,
            {
                "classes": list(contents.taxonomy.classes),
                "members": [member.name for member in contents.fitted_ensemble.members],
                "seed": contents.config.seed,
                "packages": installed_versions(),
                "sources": contents.extractors,
                "networks": {
                    name: [f"networks/{file.name}" for file in files]
                    for name, files in contents.networks.items()
                },
                **contents.metadata,
            },
        )
    return path


def _write_files(folder: Path, contents: BundleContents) -> None:
    fitted_ensemble, combination = contents.fitted_ensemble, contents.fitted_ensemble.combination
    arrays: dict[str, NDArray[np.float32]] = {}
    members = []
    for number, member in enumerate(fitted_ensemble.members):
        own, description = predictor_to_arrays(member.predictor, f"{number}.")
        arrays |= own
        members.append({"name": member.name, "features": list(member.features), "scorer": description})
    save_file(arrays, folder / "members.safetensors")
    save_file(
        {"weight": np.ascontiguousarray(combination.weight, dtype=np.float64),
         "bias": np.ascontiguousarray(combination.bias, dtype=np.float64)},
        folder / "meta.safetensors",
    )  # fmt: skip
    write_json(
        folder / ENSEMBLE,
        {
            "classes": list(contents.taxonomy.classes),
            "members": members,
            "combination": combination.kind,
            "temperature": fitted_ensemble.temperature,
        },
    )
    out_of_fold = contents.out_of_fold
    out_of_fold.save_members(folder / "members_oof.safetensors")
    save_file(
        {"proba": np.ascontiguousarray(out_of_fold.proba), "row": out_of_fold.row.astype(np.int64)},
        folder / "ensemble_oof.safetensors",
    )
    (folder / "config.yaml").write_text(contents.config.to_yaml(), encoding="utf-8")
    write_json(folder / "taxonomy.json", contents.taxonomy.to_tree())
    write_json(folder / "metrics.json", contents.metrics)
    shutil.copyfile(contents.manifest_csv, folder / "manifest.csv")
    (folder / "README.md").write_text(contents.model_card, encoding="utf-8", errors="backslashreplace")
    for file in (file for files in contents.networks.values() for file in files):
        (folder / "networks").mkdir(exist_ok=True)
        shutil.copyfile(file, folder / "networks" / file.name)
    if contents.logs:
        write_json(folder / "logs.json", contents.logs)
    write_rejection(folder, contents.rejection)
    if contents.properties is not None:
        write_json(folder / PROPERTIES, contents.properties.model_dump(mode="json"))
    for name, file in contents.weights.items():
        (folder / "weights").mkdir(exist_ok=True)
        shutil.copyfile(file, folder / "weights" / f"{name}{file.suffix}")
