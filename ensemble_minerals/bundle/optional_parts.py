"""Parts that a bundle or a student may have: rejection, and properties of the classes."""

from __future__ import annotations

from collections.abc import Collection
from itertools import chain

import numpy as np

from ensemble_minerals.bundle.saved_folder import SavedFolder
from ensemble_minerals.config.fields import NotNegative, Section, Share, Some
from ensemble_minerals.config.messages import validated
from ensemble_minerals.config.properties import Properties
from ensemble_minerals.system.arrays import checked_array, read_arrays
from ensemble_minerals.system.plain_json import parse_json

REJECTION, REJECTION_ARRAYS, PROPERTIES = "rejection.json", "rejection.safetensors", "properties.json"
OPTIONAL_PARTS = frozenset({REJECTION, REJECTION_ARRAYS, PROPERTIES})


class TypicalityDescription(Section):
    """One score of how typical a photo is.

    Attributes:
        kind: How it is computed from its arrays, which are named after its position: ``0.center`` and so on.
        features: Feature extractors whose features it takes, side by side.
        weight: Of the score among all.
    """

    kind: str
    features: Some[str]
    weight: NotNegative


class RejectionDescription(Section):
    """How a photo is told from those of the fit: ``rejection.json``.

    Attributes:
        refuse: Share of photos like those of the fit that is refused in expectation.
        scores: What is joined into one score. ``rejection.safetensors`` holds their finite arrays; besides them
            ``calibration``, the joined out-of-fold scores of the rows of the fit, and ``row_group``, one for each.
    """

    refuse: Share
    scores: Some[TypicalityDescription]


def check_parts(folder: SavedFolder, classes: Collection[str], features: Collection[str]) -> None:
    """Check the optional parts that a folder has.

    Args:
        folder: The folder.
        classes: Names of the classes.
        features: Names of the feature extractors.

    Raises:
        BundleError: If one is damaged.
    """
    if {REJECTION, REJECTION_ARRAYS} & folder.files.keys():
        for missing in {REJECTION, REJECTION_ARRAYS} - folder.files.keys():
            raise folder.lacks(missing)
        with folder.reading(REJECTION) as file:
            rejection = validated(RejectionDescription, parse_json(file.read()))
            used = set(chain.from_iterable(score.features for score in rejection.scores))
            if not used <= set(features):
                raise ValueError(f"scores: {sorted(used - set(features))[0]!r} is no feature extractor here")
        with folder.reading(REJECTION_ARRAYS) as file:
            arrays, _ = read_arrays(file)
            calibration = checked_array(arrays, "calibration", np.float64, (None,))
            checked_array(arrays, "row_group", np.int64, calibration.shape)
            for name in arrays:
                checked_array(arrays, name, arrays[name].dtype.type, arrays[name].shape)
    if PROPERTIES in folder.files:
        with folder.reading(PROPERTIES) as file:
            properties = validated(Properties, parse_json(file.read()))
            if not properties.classes.keys() <= set(classes):
                unknown = min(properties.classes.keys() - set(classes))
                raise ValueError(f"classes: {unknown!r} is no class of this bundle")


def read_properties(folder: SavedFolder) -> Properties | None:
    """Properties of the classes, as `check_parts` found them right; None where the folder has none.

    Raises:
        BundleError: If they are damaged.
    """
    if PROPERTIES not in folder.files:
        return None
    with folder.reading(PROPERTIES) as file:
        return validated(Properties, parse_json(file.read()))
