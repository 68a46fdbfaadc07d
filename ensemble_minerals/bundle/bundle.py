"""The bundle: the saved, versioned, self-describing artifact of a fit.

A directory that appears whole or not at all. Arrays are safetensors, facts are JSON, tables are CSV; nothing in
it executes. ``bundle.json`` holds the digest of every other file, and loading checks format, digests and class
order before it builds anything.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from ensemble_minerals.config.loading import load_config
from ensemble_minerals.config.schema import Config
from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.ensemble.combination import Combination
from ensemble_minerals.ensemble.conformal import ConformalSets
from ensemble_minerals.ensemble.fitted import FittedEnsemble, FittedMember
from ensemble_minerals.ensemble.oof import OutOfFold, load_members
from ensemble_minerals.errors import BundleError
from ensemble_minerals.members.serialization import predictor_from_arrays, predictor_to_arrays
from ensemble_minerals.system.atomic import atomic_folder, recover
from ensemble_minerals.system.digest import file_digest
from ensemble_minerals.system.paths import FolderKind, check_output
from ensemble_minerals.system.versions import installed_versions
from ensemble_minerals.taxonomy import Taxonomy

FORMAT = 1
"""Number of the format that `write_bundle` writes."""

UPGRADES: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""For each older format the step that turns its ``bundle.json`` into the next one's. Format 1 is the first."""

_INDEX = "bundle.json"
BUNDLE = FolderKind("bundle", _INDEX, BundleError)
_STATED: Mapping[str, type] = {"classes": list, "members": list, "sources": dict, "files": dict}
_FILES = frozenset(
    {"committee.json", "config.yaml", "ensemble_oof.safetensors", "manifest.csv", "members.safetensors",
     "members_oof.safetensors", "meta.safetensors", "metrics.json", "taxonomy.json"}
)  # fmt: skip


@dataclass(frozen=True)
class Bundle:
    """A fitted ensemble on disk, read and checked.

    Attributes:
        path: The directory.
        info: What ``bundle.json`` says.
        config: The resolved configuration of the fit.
        classes: Names of the classes, in the order of every probability column.
        taxonomy: Their groups, for roll-ups.
        fitted_ensemble: The members and how their answers become one.
        extractors: For each feature extractor what it stated of itself: facts and fingerprint.
    """

    path: Path
    info: Mapping[str, Any]
    config: Config
    classes: tuple[str, ...]
    taxonomy: Taxonomy
    fitted_ensemble: FittedEnsemble
    extractors: Mapping[str, Mapping[str, Any]]

    @property
    def weights(self) -> dict[str, Path]:
        """Packed weights files by source name: those `read_bundle` checked, not whatever lies in the folder."""
        names = [Path(name) for name in self.info["files"] if name.startswith("weights/")]
        return {name.stem: self.path / name for name in names}

    @property
    def networks(self) -> dict[str, tuple[Path, ...]]:
        """Files of trained networks by source name, in the order of the logits."""
        return {
            extractor: tuple(self.path / name for name in names)
            for extractor, names in self.info.get("networks", {}).items()
        }

    @property
    def logs(self) -> dict[str, Any]:
        """Epochs of trained networks, by member; empty where none was trained."""
        file = self.path / "logs.json"
        logs: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        return logs

    @property
    def metrics(self) -> dict[str, Any]:
        """What ``metrics.json`` says."""
        loaded: dict[str, Any] = json.loads((self.path / "metrics.json").read_text(encoding="utf-8"))
        return loaded

    @property
    def out_of_fold(self) -> OutOfFold:
        """Out-of-fold probabilities of the members and of the whole."""
        try:
            arrays = load_file(self.path / "ensemble_oof.safetensors")
        except (SafetensorError, OSError) as error:
            raise BundleError(f"{self.path} is damaged: ensemble_oof.safetensors: {error}") from error
        members, member_proba = load_members(self.path / "members_oof.safetensors", self.classes)
        row = arrays["row"].astype(np.intp)
        return OutOfFold(self._known(row), members, row=row, member_proba=member_proba, proba=arrays["proba"])

    def conformal_sets(self) -> ConformalSets:
        """Prediction sets calibrated on the out-of-fold rows of the fit, by row groups and class."""
        found = self.out_of_fold
        return ConformalSets().fit(found.known.y, found.proba, found.known.groups)

    def _known(self, row: NDArray[np.intp]) -> FoldInputs:
        """What the manifest says of rows of the fit."""
        from ensemble_minerals.data.manifest import Manifest  # brings the scanner along: not for every answer

        manifest = Manifest.read_csv(self.path / "manifest.csv", self.path)
        return FoldInputs(
            self.positions(manifest.label[row]).astype(np.intp),
            manifest.row_group[row].astype(np.intp),
            manifest.fold[row].astype(np.intp),
            np.array(self.classes),
        )

    def positions(self, labels: NDArray[np.str_]) -> NDArray[np.int64]:
        """Class positions of labels, shape (n,)."""
        position = {name: k for k, name in enumerate(self.classes)}
        return np.array([position[label] for label in labels.tolist()], dtype=np.int64)


@dataclass(frozen=True)
class BundleContents:
    """What a fit hands over to be saved.

    Attributes:
        config: Resolved.
        taxonomy: Groups of the classes, for roll-ups and hierarchical members.
        fitted_ensemble: What predicts.
        extractors: Facts and fingerprint of each feature extractor.
        out_of_fold: Of the training rows.
        metrics: See README, "metrics.json".
        manifest_csv: The manifest as `Manifest.write_csv` wrote it.
        metadata: Data digest, notes, failed members, and what else a reader should know; JSON values.
        model_card: Text of the bundle's README.
        weights: Weights files to copy in, by source name; empty unless the bundle shall stand alone.
        networks: Files of trained networks to copy in, by source name.
        logs: Epochs of trained networks, by member; JSON values.
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


def write_bundle(path: Path, contents: BundleContents, *, overwrite: bool = False) -> Path:
    """Save a fitted ensemble; it appears under `path` whole or not at all.

    Raises:
        BundleError: If something stands at `path` that may not be replaced, or a member cannot be saved.
    """
    check_output(path, kind=BUNDLE, overwrite=overwrite)
    with atomic_folder(path) as folder:
        _write_files(folder, contents)
        _write_json(folder / _INDEX, _index(contents, folder))
    return path


def _index(contents: BundleContents, folder: Path) -> dict[str, Any]:
    """What ``bundle.json`` says, with digests of the files that are in the folder."""
    return {
        "format": FORMAT,
        "classes": list(contents.taxonomy.classes),
        "members": [member.name for member in contents.fitted_ensemble.members],
        "seed": contents.config.seed,
        "packages": installed_versions(),
        "sources": contents.extractors,
        "networks": {
            name: [f"networks/{file.name}" for file in files] for name, files in contents.networks.items()
        },
        **contents.metadata,
        "files": {
            file.relative_to(folder).as_posix(): file_digest(file)
            for file in sorted(folder.rglob("*"))
            if file.is_file()
        },
    }


def _write_files(folder: Path, contents: BundleContents) -> None:
    fitted_ensemble, combination = contents.fitted_ensemble, contents.fitted_ensemble.combination
    arrays: dict[str, NDArray[np.float32]] = {}
    members = []
    for number, member in enumerate(fitted_ensemble.members):
        own, description = predictor_to_arrays(member.matrices, f"{number}.")
        arrays |= own
        members.append({"name": member.name, "features": list(member.features), "scorer": description})
    save_file(arrays, folder / "members.safetensors")
    save_file(
        {"weight": np.ascontiguousarray(combination.weight, dtype=np.float64),
         "bias": np.ascontiguousarray(combination.bias, dtype=np.float64)},
        folder / "meta.safetensors",
    )  # fmt: skip
    _write_json(
        folder / "committee.json",
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
    _write_json(folder / "taxonomy.json", contents.taxonomy.to_tree())
    _write_json(folder / "metrics.json", contents.metrics)
    shutil.copyfile(contents.manifest_csv, folder / "manifest.csv")
    (folder / "README.md").write_text(contents.model_card, encoding="utf-8", errors="backslashreplace")
    for file in (file for files in contents.networks.values() for file in files):
        (folder / "networks").mkdir(exist_ok=True)
        shutil.copyfile(file, folder / "networks" / file.name)
    if contents.logs:
        _write_json(folder / "logs.json", contents.logs)
    for name, file in contents.weights.items():
        (folder / "weights").mkdir(exist_ok=True)
        shutil.copyfile(file, folder / "weights" / f"{name}{file.suffix}")


def read_bundle(path: Path) -> Bundle:
    """Read a bundle, checking format, digests and class order before anything is built.

    Raises:
        BundleError: If it is missing, damaged, or of a format this version does not know.
    """
    recover(path)
    index = _read_index(path)
    for name, digest in index["files"].items():
        file = path / name
        if not file.is_file():
            raise BundleError(f"{path}: {name} is missing; the bundle is incomplete, fit it again")
        if file_digest(file) != digest:
            raise BundleError(f"{path}: {name} was changed after the fit (its digest differs); fit it again")
    classes = tuple(index["classes"])
    config = load_config(path / "config.yaml")
    try:
        described = json.loads((path / "committee.json").read_text(encoding="utf-8"))
        if described["classes"] != index["classes"]:
            raise BundleError(
                f"{path}: {_INDEX} says the classes are {', '.join(map(str, classes))}, but the members were "
                f"fitted for {', '.join(described['classes'])}; fit it again"
            )
        arrays, meta = load_file(path / "members.safetensors"), load_file(path / "meta.safetensors")
        members = tuple(
            FittedMember(
                entry["name"],
                tuple(entry["features"]),
                predictor_from_arrays(arrays, entry["scorer"], classes, f"{number}."),
            )
            for number, entry in enumerate(described["members"])
        )
        combination = Combination(described["combination"], meta["weight"], meta["bias"])
        tree = json.loads((path / "taxonomy.json").read_text(encoding="utf-8"))
    except (SafetensorError, KeyError, ValueError) as error:
        raise BundleError(f"{path} is damaged: {error}") from error
    used = {name for member in members for name in member.features}
    if [member.name for member in members] != index["members"] or not used <= set(index["sources"]):
        raise BundleError(f"{path}: members or sources of committee.json are not those of {_INDEX}")
    return Bundle(
        path=path,
        info=index,
        config=config,
        classes=classes,
        taxonomy=Taxonomy.from_tree(classes, tree),
        fitted_ensemble=FittedEnsemble(members, combination, float(described["temperature"])),
        extractors=index["sources"],
    )


def _read_index(path: Path) -> dict[str, Any]:
    """``bundle.json``, brought to the current format."""
    if not path.is_dir():
        raise BundleError(f"there is no bundle at {path}; `ensemble-minerals fit` makes one")
    file = path / _INDEX
    if not file.is_file():
        raise BundleError(f"{path} is no bundle: it has no {_INDEX}")
    try:
        index: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        number = int(index["format"])
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{file} is damaged: {error}") from error
    if number > FORMAT:
        raise BundleError(
            f"{path} has format {number}, this version reads up to {FORMAT}; upgrade ensemble-minerals"
        )
    while number < FORMAT:
        if number not in UPGRADES:
            raise BundleError(f"{path} has format {number}, which nothing upgrades; fit it again")
        index = UPGRADES[number](index)
        number += 1
    lacking = [key for key, kind in _STATED.items() if not isinstance(index.get(key), kind)]
    if lacking or not set(index["files"]) >= _FILES:
        raise BundleError(f"{file} is damaged: {', '.join(lacking) or 'files'} is missing or incomplete")
    return index


def _write_json(path: Path, data: Mapping[str, Any]) -> None:
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    # A path that is no UTF-8 has stray bytes; written as \udcXX they are JSON's own escapes.
    path.write_text(text, encoding="utf-8", errors="backslashreplace")
