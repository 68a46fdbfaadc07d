"""Parts that a bundle or a student may have: rejection, properties of the classes, and the photos of the fit."""

from __future__ import annotations

from collections.abc import Collection
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from ensemble_minerals.bundle.saved_folder import SavedFolder
from ensemble_minerals.config.messages import validated
from ensemble_minerals.config.properties import Properties
from ensemble_minerals.system.plain_json import parse_json

if TYPE_CHECKING:
    from ensemble_minerals.data.manifest import Manifest

MANIFEST = "manifest.csv"
REJECTION, REJECTION_ARRAYS, PROPERTIES = "rejection.json", "rejection.safetensors", "properties.json"
OPTIONAL_PARTS = frozenset({REJECTION, REJECTION_ARRAYS, PROPERTIES})


def check_properties(folder: SavedFolder, classes: Collection[str]) -> None:
    """Check the properties of the classes, if a folder has them.

    Args:
        folder: The folder.
        classes: Names of the classes.

    Raises:
        BundleError: If they are damaged.
    """
    if PROPERTIES in folder.files:
        with folder.reading(PROPERTIES) as file:
            properties = validated(Properties, parse_json(file.read()))
            if not properties.classes.keys() <= set(classes):
                unknown = min(properties.classes.keys() - set(classes))
                raise ValueError(f"classes: {unknown!r} is no class of this bundle")


def read_properties(folder: SavedFolder) -> Properties | None:
    """Properties of the classes, as `check_properties` found them right; None where the folder has none.

    Raises:
        BundleError: If they are damaged.
    """
    if PROPERTIES not in folder.files:
        return None
    with folder.reading(PROPERTIES) as file:
        return validated(Properties, parse_json(file.read()))


def read_manifest(folder: SavedFolder, root: Path) -> Manifest:
    """The photos of the fit.

    Args:
        folder: Has `MANIFEST`.
        root: Folder that the paths of the photos are relative to.

    Raises:
        BundleError: If it is damaged.
    """
    from ensemble_minerals.data.manifest import Manifest  # loads the scanner, which predictions do not need

    with folder.reading(MANIFEST) as file:
        text = file.read().decode("utf-8-sig", errors="surrogateescape")
        return Manifest.parse_csv(StringIO(text, newline=""), folder.path / MANIFEST, root)
