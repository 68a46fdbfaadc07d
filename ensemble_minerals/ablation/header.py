"""What an ablation was measured on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class AblationHeader:
    """What was measured on what.

    Attributes:
        data: Name of the folder with the photos.
        data_digest: Of the photos.
        members: Names of the members.
        inner_folds: Folds inside the training rows of each outer fold.
        seed: Of the folds.
        config: The configuration as YAML.
        sources: Fingerprint of each feature extractor.
        timed_photos: Photos on which the feature extractors were timed.
        demonstration: Whether the photos are the demonstration set.
        notes: What the user should know.
        versions: Of the packages.
    """

    data: str
    data_digest: str
    members: tuple[str, ...]
    inner_folds: int
    seed: int
    config: str
    sources: Mapping[str, str]
    timed_photos: int
    demonstration: bool
    notes: tuple[str, ...]
    versions: Mapping[str, str]
