"""What an ablation was measured on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ensemble_minerals.config.schema import Config
from ensemble_minerals.data.files import is_synthetic
from ensemble_minerals.experiment.dataset import Dataset
from ensemble_minerals.members.base import Member
from ensemble_minerals.system.versions import installed_versions


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

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        members: Sequence[Member],
        config: Config,
        *,
        notes: Sequence[str],
        timed_photos: int,
    ) -> AblationHeader:
        """Describe an ablation by what it was made of."""
        manifest = dataset.manifest
        return cls(
            data=manifest.root.resolve().name,
            data_digest=manifest.digest,
            members=tuple(member.name for member in members),
            inner_folds=config.folds.n_splits,
            seed=config.seed,
            config=config.to_yaml(),
            sources={name: extractor.fingerprint for name, extractor in dataset.extractors.items()},
            timed_photos=timed_photos,
            demonstration=is_synthetic(manifest.root),
            notes=tuple(notes),
            versions=installed_versions(),
        )
