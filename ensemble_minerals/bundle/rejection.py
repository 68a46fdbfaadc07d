"""The part of a bundle or a student that tells photos that show none of the classes."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from safetensors.numpy import save_file

from ensemble_minerals.bundle.optional_parts import REJECTION, REJECTION_ARRAYS
from ensemble_minerals.bundle.saved_folder import SavedFolder
from ensemble_minerals.bundle.schema import write_json
from ensemble_minerals.config.fields import Distinct, Section, Share
from ensemble_minerals.config.messages import validated
from ensemble_minerals.ensemble.rejection import ANSWERS, Rejection
from ensemble_minerals.system.arrays import read_arrays
from ensemble_minerals.system.plain_json import parse_json


class RejectionDescription(Section):
    """How a photo is told from those of the fit: ``rejection.json``; ``rejection.safetensors`` has the arrays.

    Attributes:
        refuse: Share of photos like those of the fit that is refused in expectation.
        features: Feature extractors whose features are looked at; or `ANSWERS`, what the members answered.
    """

    refuse: Share
    features: Distinct[str]


def read_rejection(folder: SavedFolder, n_classes: int, features: Collection[str]) -> Rejection | None:
    """How a photo is told from those of the fit; None where the folder does not know.

    Args:
        folder: The folder.
        n_classes: Number of classes.
        features: Names of the feature extractors.

    Raises:
        BundleError: If it is damaged.
    """
    if not {REJECTION, REJECTION_ARRAYS} & folder.files.keys():
        return None
    for missing in {REJECTION, REJECTION_ARRAYS} - folder.files.keys():
        raise folder.lacks(missing)
    with folder.reading(REJECTION) as file:
        described = validated(RejectionDescription, parse_json(file.read()))
        unknown = sorted(set(described.features) - set(features) - {ANSWERS})
        if unknown:
            raise ValueError(f"features: {unknown[0]!r} is no feature extractor here")
    with folder.reading(REJECTION_ARRAYS) as file:
        arrays, _ = read_arrays(file)
        return Rejection.read(described.features, described.refuse, arrays, n_classes)


def write_rejection(folder: Path, rejection: Rejection | None) -> None:
    """Write both files, if there is a rejection."""
    if rejection is not None:
        described = RejectionDescription(refuse=rejection.refuse, features=rejection.features)
        write_json(folder / REJECTION, described.model_dump(mode="json"))
        save_file(rejection.arrays(), folder / REJECTION_ARRAYS)
