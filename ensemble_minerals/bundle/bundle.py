"""The bundle: the saved, versioned, self-describing artifact of a fit.

Arrays are safetensors, metadata are JSON, tables are CSV; nothing in it executes. ``bundle.json`` holds the digest of
every other file, and loading checks format, digests and class order before it builds anything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from ensemble_minerals.bundle.schema import BUNDLE, BUNDLE_SCHEMA
from ensemble_minerals.config.loading import load_config
from ensemble_minerals.config.schema import Config
from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.ensemble.combination import Combination
from ensemble_minerals.ensemble.conformal import ConformalSets
from ensemble_minerals.ensemble.fitted import FittedEnsemble
from ensemble_minerals.ensemble.oof import OutOfFold, load_members
from ensemble_minerals.errors import BundleError
from ensemble_minerals.members.fitted import FittedMember
from ensemble_minerals.members.serialization import predictor_from_arrays
from ensemble_minerals.taxonomy import Taxonomy


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
        extractors: For each feature extractor its metadata, under ``facts``, and its ``fingerprint``.
    """

    path: Path
    info: Mapping[str, Any]
    config: Config
    classes: tuple[str, ...]
    taxonomy: Taxonomy
    fitted_ensemble: FittedEnsemble
    extractors: Mapping[str, Mapping[str, Any]]

    @property
    def photo_root(self) -> Path:
        """Folder of the photos, where it was at the time of the fit."""
        data = self.info["data"]
        return Path(data.get("root_path") or data["root"])

    @property
    def weights(self) -> dict[str, Path]:
        """Packed weights files by extractor: those that `read_bundle` checked, not whatever is in the folder."""
        names = [Path(name) for name in self.info["files"] if name.startswith("weights/")]
        return {name.stem: self.path / name for name in names}

    @property
    def networks(self) -> dict[str, tuple[Path, ...]]:
        """Files of trained networks by extractor, in the order of the logits."""
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
        """Out-of-fold probabilities of the members and of the ensemble."""
        try:
            arrays = load_file(self.path / "ensemble_oof.safetensors")
        except (SafetensorError, OSError) as error:
            raise BundleError(f"{self.path} is damaged: ensemble_oof.safetensors: {error}") from error
        members, member_proba = load_members(self.path / "members_oof.safetensors", self.classes)
        row = arrays["row"].astype(np.intp)
        return OutOfFold(self._known(row), members, row=row, member_proba=member_proba, proba=arrays["proba"])

    def conformal_sets(self) -> ConformalSets:
        """Prediction sets calibrated on the out-of-fold rows of the fit, by row groups and class."""
        answers = self.out_of_fold
        return ConformalSets().fit(answers.known.y, answers.proba, answers.known.groups)

    def _known(self, row: NDArray[np.intp]) -> FoldInputs:
        """What the manifest says of rows of the fit."""
        from ensemble_minerals.data.manifest import (
            Manifest,
        )  # loads the scanner, which most predictions do not need

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


def read_bundle(path: Path) -> Bundle:
    """Read a bundle, checking format, digests and class order before anything is built.

    Raises:
        BundleError: If it is missing, damaged, or of a format this version does not know.
    """
    index = BUNDLE_SCHEMA.read(path)
    classes = tuple(index["classes"])
    config = load_config(path / "config.yaml", saved=True)
    try:
        described = json.loads((path / "committee.json").read_text(encoding="utf-8"))
        if described["classes"] != index["classes"]:
            raise BundleError(
                f"{path}: {BUNDLE.marker} says the classes are {', '.join(map(str, classes))}, but the members were "
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
        raise BundleError(
            f"{path}: members or feature extractors of committee.json are not those of {BUNDLE.marker}"
        )
    return Bundle(
        path=path,
        info=index,
        config=config,
        classes=classes,
        taxonomy=Taxonomy.from_tree(classes, tree),
        fitted_ensemble=FittedEnsemble(members, combination, float(described["temperature"])),
        extractors=index["sources"],
    )
