"""The bundle: the saved, versioned, self-describing artifact of a fit.

Arrays are safetensors, metadata are JSON, tables are CSV; nothing in it executes. Everything is read from the files
that were open when the digests were checked, and only if it is what the schemas say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.bundle.contents import EnsembleDescription, LogsDescription, MetricsDescription
from ensemble_minerals.bundle.network_files import check_networks
from ensemble_minerals.bundle.optional_parts import check_properties, read_manifest, read_properties
from ensemble_minerals.bundle.rejection import read_rejection
from ensemble_minerals.bundle.saved_folder import SavedFolder
from ensemble_minerals.bundle.schema import BUNDLE, BUNDLE_SCHEMA, ENSEMBLE
from ensemble_minerals.config.loading import parse_config
from ensemble_minerals.config.messages import validated
from ensemble_minerals.config.properties import Properties
from ensemble_minerals.config.schema import Config
from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.ensemble.combination import Combination
from ensemble_minerals.ensemble.conformal import ConformalSets
from ensemble_minerals.ensemble.fitted import FittedEnsemble
from ensemble_minerals.ensemble.oof import OutOfFold, checked_proba, read_members
from ensemble_minerals.ensemble.rejection import Rejection
from ensemble_minerals.errors import BundleError
from ensemble_minerals.features.engine_agreement import Precision
from ensemble_minerals.members.fitted import FittedMember
from ensemble_minerals.members.serialization import check_description, predictor_from_arrays
from ensemble_minerals.networks.training.epoch_log import Epoch
from ensemble_minerals.system.arrays import checked_array, read_arrays
from ensemble_minerals.system.held_file import HeldFile
from ensemble_minerals.system.plain_json import parse_json
from ensemble_minerals.taxonomy import Taxonomy

if TYPE_CHECKING:
    from ensemble_minerals.data.manifest import Manifest


@dataclass(frozen=True)
class Bundle:
    """A fitted ensemble on disk, read and checked.

    Attributes:
        folder: Its files.
        config: The resolved configuration of the fit.
        taxonomy: Groups of the classes, for roll-ups.
        fitted_ensemble: The members and how their answers become one.
        extractors: For each feature extractor its metadata, under ``facts``, its ``fingerprint`` and ``precision``.
        rejection: What tells photos that show none of the classes; None where the fit learned nothing of the kind.
    """

    folder: SavedFolder
    config: Config
    taxonomy: Taxonomy
    fitted_ensemble: FittedEnsemble
    extractors: Mapping[str, Mapping[str, Any]]
    rejection: Rejection | None = None

    @property
    def path(self) -> Path:
        """The directory."""
        return self.folder.path

    @property
    def info(self) -> Mapping[str, Any]:
        """What ``bundle.json`` says, see `BundleIndex`."""
        return self.folder.index

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of every probability column."""
        return self.taxonomy.classes

    @property
    def photo_root(self) -> Path:
        """Folder of the photos, where it was at the time of the fit."""
        data = self.info["data"]
        return Path(data.get("root_path") or data["root"])

    @property
    def weights(self) -> dict[str, HeldFile]:
        """Packed weights files by extractor."""
        packed = [file for name, file in self.folder.files.items() if name.startswith("weights/")]
        return {file.path.stem: file for file in packed}

    @property
    def precision(self) -> dict[str, Precision]:
        """In which precision the features of the fit were computed, by extractor."""
        return {name: entry["precision"] for name, entry in self.extractors.items()}

    @property
    def networks(self) -> dict[str, tuple[HeldFile, ...]]:
        """Files of trained networks by extractor, in the order of the logits."""
        return {
            extractor: tuple(self.folder.files[name] for name in names)
            for extractor, names in self.info.get("networks", {}).items()
        }

    @property
    def logs(self) -> Mapping[str, tuple[tuple[Epoch, ...], ...]]:
        """Epochs of trained networks, by member; empty where none was trained."""
        return _read_logs(self.folder)

    @property
    def metrics(self) -> dict[str, Any]:
        """What ``metrics.json`` says."""
        with self.folder.reading("metrics.json") as file:
            values: dict[str, Any] = parse_json(file.read())
            return values

    @property
    def out_of_fold(self) -> OutOfFold:
        """Out-of-fold probabilities of the members and of the ensemble.

        Raises:
            BundleError: If they are not those of the rows of the fit.
        """
        with self.folder.reading("ensemble_oof.safetensors") as file:
            arrays, _ = read_arrays(file)
            proba = checked_proba(arrays, "proba", (None, len(self.classes)))
            row = checked_array(arrays, "row", np.int64, (len(proba),)).astype(np.intp)
        with self.folder.reading("members_oof.safetensors") as file:
            members, member_proba = read_members(file, self.classes)
            if members != tuple(self.info["members"]) or member_proba.shape[1] != len(row):
                raise ValueError("proba: rows or members are not those of the bundle")
        manifest = self.manifest(self.path)
        with self.folder.reading("ensemble_oof.safetensors"):
            fits = (
                row.size and row.min() >= 0 and row.max() < len(manifest) and len(np.unique(row)) == len(row)
            )
            if not fits or not set(manifest.label[row].tolist()) <= set(self.classes):
                raise ValueError("row: they are not rows of manifest.csv with one of the classes")
        known = FoldInputs(
            self.positions(manifest.label[row]).astype(np.intp),
            manifest.row_group[row].astype(np.intp),
            manifest.fold[row].astype(np.intp),
            np.array(self.classes),
        )
        return OutOfFold(known, members, row=row, member_proba=member_proba, proba=proba)

    def manifest(self, root: Path) -> Manifest:
        """The photos of the fit.

        Args:
            root: Folder that their paths are relative to.
        """
        return read_manifest(self.folder, root)

    @property
    def properties(self) -> Properties | None:
        """Properties of the classes that a hand can test; None where the fit had none."""
        return read_properties(self.folder)

    def conformal_sets(self) -> ConformalSets:
        """Prediction sets calibrated on the out-of-fold rows of the fit, by row groups and class."""
        answers = self.out_of_fold
        return ConformalSets().fit(answers.known.y, answers.proba, answers.known.groups)

    @property
    def class_counts(self) -> NDArray[np.intp]:
        """Rows of the fit by class, (n_classes,)."""
        return np.bincount(self.out_of_fold.known.y, minlength=len(self.classes))

    def positions(self, labels: NDArray[np.str_]) -> NDArray[np.int64]:
        """Class positions of labels, shape (n,)."""
        position = {name: k for k, name in enumerate(self.classes)}
        return np.array([position[label] for label in labels.tolist()], dtype=np.int64)


def read_bundle(path: Path) -> Bundle:
    """Read a bundle. Everything in it is checked before anything is built, but for the rows of the fit.

    Those, the manifest and the out-of-fold probabilities, are checked when they are asked for.

    Raises:
        BundleError: If it is missing, damaged, or of a format this version does not know.
    """
    folder = BUNDLE_SCHEMA.read(path)
    index = folder.index
    with folder.reading("config.yaml") as file:
        config = parse_config(file.read().decode("utf-8-sig"), str(file.path), path, saved=True)
    with folder.reading("metrics.json") as file:
        validated(MetricsDescription, parse_json(file.read()))
    _read_logs(folder)
    fitted_ensemble = _read_ensemble(folder)
    with folder.reading("taxonomy.json") as file:
        taxonomy = read_taxonomy(index["classes"], parse_json(file.read()))
    check_networks(folder, config, fitted_ensemble.members)
    check_properties(folder, taxonomy.classes)
    rejection = read_rejection(folder, len(taxonomy.classes), index["sources"].keys())
    return Bundle(folder, config, taxonomy, fitted_ensemble, index["sources"], rejection)


def _read_logs(folder: SavedFolder) -> Mapping[str, tuple[tuple[Epoch, ...], ...]]:
    if "logs.json" not in folder.files:
        return {}
    with folder.reading("logs.json") as file:
        return validated(LogsDescription, {"members": parse_json(file.read())}).members


def _read_ensemble(folder: SavedFolder) -> FittedEnsemble:
    index = folder.index
    with folder.reading(ENSEMBLE) as file:
        described = validated(EnsembleDescription, parse_json(file.read()))
        classes = described.classes
        if list(classes) != index["classes"]:
            raise BundleError(
                f"{folder.path}: {BUNDLE.marker} says the classes are {', '.join(index['classes'])}, but the members "
                f"were fitted for {', '.join(classes)}; fit it again"
            )
        for number, member in enumerate(described.members):
            check_description(member.predictor, classes, f"members.{number}.scorer.")
        used = {name for member in described.members for name in member.features}
        if [member.name for member in described.members] != index["members"] or not used <= index[
            "sources"
        ].keys():
            raise BundleError(
                f"{folder.path}: members or feature extractors of {file.path.name} are not those of {BUNDLE.marker}"
            )
    with folder.reading("members.safetensors") as file:
        arrays, _ = read_arrays(file)
        members = []
        for number, member in enumerate(described.members):
            predictor = predictor_from_arrays(arrays, member.predictor, classes, f"{number}.")
            members.append(FittedMember(member.name, member.features, predictor))
        if len(arrays) != sum(member.predictor.n_arrays for member in members):
            raise ValueError("it holds arrays that belong to no member")
    with folder.reading("meta.safetensors") as file:
        arrays, _ = read_arrays(file)
        combination = Combination.read(described.combination, arrays, len(members), len(classes))
    return FittedEnsemble(tuple(members), combination, described.temperature)


def read_taxonomy(classes: Sequence[str], tree: object) -> Taxonomy:
    """A taxonomy from JSON values.

    Raises:
        TaxonomyError: If it does not fit the classes.
        ValueError: If it is no tree.
    """
    if not isinstance(tree, dict):
        raise ValueError("must be groups of classes by name")
    return Taxonomy.from_tree(tuple(classes), tree)
