"""What is trained on a data set: the extractors and the members that a configuration describes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.config.members import MemberConfig
from ensemble_minerals.config.names import DESCRIPTOR
from ensemble_minerals.config.schema import Config
from ensemble_minerals.data.contamination import split_notes
from ensemble_minerals.data.folds import TRAINING_FOLD
from ensemble_minerals.data.manifest import Status
from ensemble_minerals.ensemble.meta_learner import MetaLearner
from ensemble_minerals.ensemble.stacked import StackedEnsemble
from ensemble_minerals.experiment.dataset import Dataset
from ensemble_minerals.experiment.extractors import used_networks
from ensemble_minerals.features.trained_network import image_side
from ensemble_minerals.members.base import Member
from ensemble_minerals.members.feature_member import FeatureMember
from ensemble_minerals.members.network_member import NetworkMember
from ensemble_minerals.members.registry import build_strategy
from ensemble_minerals.members.rows import RowData
from ensemble_minerals.system.plural import counted
from ensemble_minerals.system.runtime import Runtime
from ensemble_minerals.system.seeds import derived_seed
from ensemble_minerals.taxonomy import Taxonomy, Tree

if TYPE_CHECKING:
    from ensemble_minerals.data.image_cache import ImageCache


@dataclass(frozen=True)
class Setup:
    """Members, ready to be trained on a data set.

    Attributes:
        members: Unfitted.
        taxonomy: Groups of the classes, for roll-ups.
        notes: What the user should know, one sentence each; they were reported as progress.
        images: Shrunken photos that networks learn from, still to be prepared; one cache for each size.
    """

    members: tuple[Member, ...]
    taxonomy: Taxonomy
    notes: tuple[str, ...]
    images: tuple[ImageCache, ...]

    def row_data(self, dataset: Dataset, rows: NDArray[np.intp]) -> RowData:
        """What members see of manifest rows: feature matrices, and where networks find the photos."""
        images = np.searchsorted(dataset.manifest.usable, rows) if self.images else None
        return RowData(dataset.blocks(rows), images, dataset.blocks_of_views(rows))


def set_up(dataset: Dataset, config: Config, runtime: Runtime, *, work: Path | None = None) -> Setup:
    """Build the members of a configuration for a data set that was split.

    Args:
        dataset: As `split` left it.
        config: What to train.
        runtime: Told about notes.
        work: Folder where photos for networks will be kept; in memory if None.

    Raises:
        TaxonomyError: If the configured groups do not fit the classes.
    """
    tree, taxonomy, notes = resolve_taxonomy(config, dataset.classes)
    notes += [
        f"{name}: {why}"
        for name, extractor in dataset.extractors.items()
        if (why := extractor.metadata.get("engine_note"))
    ]
    notes += _notes_of_holdout(dataset)
    notes += _notes_of_rows(dataset)
    for note in notes:
        runtime.progress.note(note)
    images = _image_caches(config, dataset, work)
    return Setup(
        build_members(config, tree, images),
        taxonomy,
        tuple(notes),
        tuple({id(cache): cache for cache in images.values()}.values()),
    )


def build_members(
    config: Config, tree: Tree | str = "auto", images: Mapping[str, ImageCache] | None = None
) -> tuple[Member, ...]:
    """The members of a configuration, unfitted, each with a seed of its own.

    Args:
        config: What to train.
        tree: Groups of the classes for hierarchical members, or ``"auto"``.
        images: For each network the photos it learns from; without them its members cannot be fitted.
    """
    return tuple(
        _build_member(config, member, tree, images or {}, number)
        for number, member in enumerate(config.expanded_members())
    )


def build_ensemble(
    config: Config, members: Iterable[Member], runtime: Runtime, *, checkpoint: Path | None = None
) -> StackedEnsemble:
    """The ensemble that a configuration describes, unfitted.

    Args:
        config: How members are combined and calibrated.
        members: As `build_members` made them.
        runtime: How many tasks run at once, and until when members begin.
        checkpoint: Folder where finished tasks are kept; nowhere if None.
    """
    return StackedEnsemble(
        tuple(members),
        meta=build_meta_learner(config),
        refit=config.refit,
        allow_failures=config.allow_failures,
        checkpoint=checkpoint,
        runtime=runtime,
        random_state=config.seed,
    )


def build_meta_learner(config: Config) -> MetaLearner:
    """How a configuration combines and calibrates members, unfitted."""
    return MetaLearner(
        config.meta.candidates,
        config.meta.one_standard_error,
        config.meta.greedy_iterations,
        config.calibration.temperature,
    )


def _notes_of_holdout(dataset: Dataset) -> list[str]:
    """What the user should know of a plain hold-out; nothing where there are folds."""
    learned = int(np.sum(dataset.folds == TRAINING_FOLD))
    if not learned:
        return []
    return [
        f"one hold-out of {len(dataset.rows) - learned} photos: members are trained once, on the other {learned}; "
        "there are no out-of-fold rows to learn weights and a temperature from, so members count alike and the "
        "temperature is 1"
    ]


def _notes_of_rows(dataset: Dataset) -> list[str]:
    """Which photos a rule took away from the training rows, and how many; what is special about the test part."""
    manifest = dataset.manifest
    notes = []
    copies = int(np.sum(manifest.status == Status.DUPLICATE.value))
    if copies:
        notes.append(
            f"{counted(copies, 'photo')} set aside: exact copies of others of their class (duplicates.exact)"
        )
    conflicts = int(np.sum(manifest.status == Status.CONFLICT.value))
    if conflicts:
        notes.append(
            f"{counted(conflicts, 'photo')} not used: another class holds the same photo; `inspect` "
            "lists them"
        )
    return [*notes, *split_notes(manifest)]


def resolve_taxonomy(config: Config, classes: tuple[str, ...]) -> tuple[Tree | str, Taxonomy, list[str]]:
    """What hierarchical members are given, the taxonomy for roll-ups, and what to tell the user."""
    if not isinstance(config.taxonomy, str):
        taxonomy = Taxonomy.from_tree(classes, config.taxonomy)
        return taxonomy.to_tree(), taxonomy, []
    known = Taxonomy.for_minerals(classes) if config.taxonomy == "default" else None
    if known is not None:
        return known.to_tree(), known, []
    notes = []
    if config.taxonomy == "default":
        notes.append("not all classes are among the seven minerals: groups are learned inside each fold")
    return "auto", Taxonomy.flat(classes), notes


def _build_member(
    config: Config, member: MemberConfig, tree: Tree | str, images: Mapping[str, ImageCache], number: int
) -> Member:
    seed = derived_seed(config.seed, number)
    strategy = build_strategy(member, tree, seed)
    name = str(member.name)
    if member.network is None:
        return FeatureMember(name, tuple(member.features or ()), strategy)
    network = next(network for network in config.networks if network.name == member.network)
    learns_groups = member.strategy == "hierarchical" and tree == "auto"
    return NetworkMember(
        name,
        (DESCRIPTOR,) if learns_groups else (),
        strategy,
        network,
        images.get(network.name),
        member.specialists,
    )


def _image_caches(config: Config, dataset: Dataset, work: Path | None) -> dict[str, ImageCache]:
    """For each network that a member uses its photos; networks of one size share them."""
    networks = used_networks(config)
    if not networks:
        return {}
    from ensemble_minerals.data.image_cache import ImageCache

    manifest = dataset.manifest
    paths = [manifest.file(row) for row in manifest.usable]
    caches: dict[tuple[int, int], ImageCache] = {}
    by_network = {}
    for network in networks:
        key = (image_side(network), network.memory)
        if key not in caches:
            caches[key] = ImageCache(
                paths,
                side=key[0],
                folder=None if work is None else work / "pictures",
                limit_mb=network.memory,
                limits=config.data.limits,
                image_ids=manifest.image_id[manifest.usable].tolist(),
            )
        by_network[network.name] = caches[key]
    return by_network
