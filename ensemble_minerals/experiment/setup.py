"""What `fit` and `ablate` begin with: photos as rows, the members a configuration describes, and where to resume."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.config.members import MemberConfig
from ensemble_minerals.config.names import DESCRIPTOR
from ensemble_minerals.config.networks import NetworkConfig
from ensemble_minerals.config.schema import Config
from ensemble_minerals.data.folds import TRAINING_FOLD
from ensemble_minerals.ensemble.fitted import Blocks
from ensemble_minerals.ensemble.stacked import StackedEnsemble
from ensemble_minerals.ensemble.tasks import Member
from ensemble_minerals.errors import BundleError
from ensemble_minerals.experiment.dataset import Dataset, Scan, load_dataset, split
from ensemble_minerals.features.trained_network import image_side
from ensemble_minerals.members.network_member import PHOTOS, NetworkStrategy
from ensemble_minerals.members.registry import build_strategy
from ensemble_minerals.system.parallel import Cluster
from ensemble_minerals.system.progress import Progress
from ensemble_minerals.taxonomy import Taxonomy, Tree

if TYPE_CHECKING:
    from ensemble_minerals.data.image_cache import ImageCache


@dataclass(frozen=True)
class Prepared:
    """Photos and members, ready to be fitted.

    Attributes:
        dataset: Scanned, with features, row groups and folds.
        rows: Manifest rows to learn from, (n,).
        labels: Their classes, (n,).
        groups: Their row groups, (n,).
        classes: Names of the classes, ascending.
        members: Unfitted.
        taxonomy: For roll-ups.
        notes: What the user should know, one sentence each; they were reported as progress.
        images: Shrunken photos that networks learn from, still to be prepared; one table for each size.
    """

    dataset: Dataset
    rows: NDArray[np.intp]
    labels: NDArray[np.str_]
    groups: NDArray[np.intp]
    classes: tuple[str, ...]
    members: tuple[Member, ...]
    taxonomy: Taxonomy
    notes: tuple[str, ...]
    images: tuple[ImageCache, ...] = ()

    @property
    def blocks(self) -> Blocks:
        """Feature matrices of the rows, by name of the source."""
        return self.blocks_of(self.rows)

    def blocks_of(self, rows: NDArray[np.intp]) -> dict[str, NDArray[Any]]:
        """Feature matrices of manifest rows, and the positions of their photos where networks learn from them."""
        blocks: dict[str, NDArray[Any]] = self.dataset.blocks(rows)
        if self.images:
            positions = np.searchsorted(self.dataset.manifest.usable, rows)
            blocks[PHOTOS] = positions[:, None].astype(np.float64)
        return blocks

    @property
    def folds(self) -> NDArray[np.int64]:
        """Fold of each row, (n,)."""
        folds: NDArray[np.int64] = self.dataset.manifest.fold[self.rows]
        return folds


def prepare(
    data: Path,
    config: Config,
    *,
    cache_dir: Path | None,
    n_threads: int,
    progress: Progress,
    work: Path | None = None,
    found: Scan | None = None,
    cluster: Cluster | None = None,
) -> Prepared:
    """Read photos, compute features, find what is alike, assign folds, build the members.

    Args:
        data: Folder with one sub-folder a class, or a CSV with the columns path and label.
        config: What to train.
        cache_dir: Where fingerprints, features and converted networks are kept between runs.
        n_threads: Threads that decode.
        progress: Told of progress and of notes.
        work: Where pictures for networks will be kept; in memory if None.
        found: The photos, where they have been read already.
        cluster: Whose workers compute the features, if it is not this machine.

    Raises:
        DataError: If the photos cannot be used as they are.
        WeightsError: If the weights of a backbone or of a network cannot be had.
        ConfigError: If a network cannot be built as it is described. Both kinds of errors of a network wait for its
            members where the configuration lets those fail.
    """
    networks = _used_networks(config)
    if networks and not config.allow_failures:
        from ensemble_minerals.networks.training.setting import check_network  # brings torch along

        for network in networks:
            check_network(network)
    dataset = load_dataset(
        data,
        config,
        extractor_names(config),
        cache_dir=cache_dir,
        n_threads=n_threads,
        progress=progress,
        found=found,
        cluster=cluster,
    )
    dataset = split(dataset, config)
    rows = dataset.rows()
    labels = dataset.manifest.label[rows]
    classes = tuple(sorted(set(labels.tolist())))
    tree, taxonomy, notes = _resolve_taxonomy(config, classes)
    notes += [
        f"{name}: {why}" for name, s in dataset.extractors.items() if (why := s.metadata.get("engine_note"))
    ]
    notes += _notes_of_holdout(dataset)
    for note in notes:
        progress.note(note)
    images = _image_caches(config, dataset, work)
    return Prepared(
        dataset,
        rows,
        labels,
        dataset.manifest.row_group[rows],
        classes,
        build_members(config, tree, images),
        taxonomy,
        tuple(notes),
        tuple({id(table): table for table in images.values()}.values()),
    )


def extractor_names(config: Config) -> list[str]:
    """The feature extractors that a configuration needs; some may stand there twice."""
    specified = config.expanded_members()
    names = _confirming(config) + [extractor for member in specified for extractor in member.features or ()]
    # Where groups of classes must be learned, a network's member learns them from color and texture.
    return names + [
        DESCRIPTOR for member in specified if member.network and member.strategy == "hierarchical"
    ]


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
    config: Config,
    members: Sequence[Member],
    *,
    n_jobs: int,
    checkpoint: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    deadline: float | None = None,
) -> StackedEnsemble:
    """The ensemble that a configuration describes, unfitted; for what is not in it see `StackedEnsemble`."""
    return StackedEnsemble(
        members,
        candidates=config.meta.candidates,
        one_standard_error=config.meta.one_standard_error,
        greedy_iterations=config.meta.greedy_iterations,
        calibrate=config.calibration.temperature,
        refit=config.refit,
        allow_failures=config.allow_failures,
        n_jobs=n_jobs,
        checkpoint=checkpoint,
        progress=progress,
        deadline=deadline,
        random_state=config.seed,
    )


def inputs_digest(config: Config, dataset: Dataset, *others: object) -> str:
    """Names everything that a finished task depends on: configuration, photos, features, folds and `others`."""
    manifest = dataset.manifest
    metadata = [
        config.to_yaml(),
        manifest.digest,
        *(dataset.extractors[name].fingerprint for name in dataset.extractors),
        manifest.fold.tobytes().hex(),
        manifest.row_group.tobytes().hex(),
        *(repr(other) for other in others),
    ]
    return blake2b("\n".join(metadata).encode(), digest_size=16).hexdigest()


def checkpoint_root(out: Path, *, resume: bool, overwrite: bool, work: str) -> Path:
    """Folder of interrupted work beside `out`, emptied unless the work is to be resumed.

    Args:
        out: Where the finished work will stand.
        resume: Take up what was interrupted.
        overwrite: Replace what stands at `out`, and forget interrupted work unless it is to be resumed.
        work: What it is, for messages, such as "a fit".

    Raises:
        BundleError: If `out` exists, or interrupted work does, and neither flag is given; or `out` has no name.
    """
    if not out.name or out.name == "..":
        raise BundleError(f"{str(out)!r} is no name for something new; name a folder, such as artifacts/mine")
    root = out.with_name(f".{out.name}.checkpoint")
    if out.exists() and not overwrite:
        raise BundleError(f"{out} exists; choose another --out, or replace it with --overwrite")
    if root.exists() and overwrite and not resume:
        shutil.rmtree(root)
    if root.exists() and not resume:
        raise BundleError(
            f"{work} into {out} was interrupted; take it up with --resume, or start anew with --overwrite"
        )
    return root


def _confirming(config: Config) -> list[str]:
    """The source that confirms near-duplicates; none where the configuration has no backbone."""
    return [config.backbones[0].name] if config.backbones and config.duplicates.near else []


def _notes_of_holdout(dataset: Dataset) -> list[str]:
    """What the user should know of a plain hold-out; nothing where there are folds."""
    folds = dataset.manifest.fold[dataset.rows()]
    learned = int(np.sum(folds == TRAINING_FOLD))
    if not learned:
        return []
    return [
        f"one hold-out of {len(folds) - learned} photos: members are trained once, on the other {learned}; there "
        "are no out-of-fold rows to learn weights and a temperature from, so members count alike and the "
        "temperature is 1"
    ]


def _resolve_taxonomy(config: Config, classes: tuple[str, ...]) -> tuple[Tree | str, Taxonomy, list[str]]:
    """What hierarchical members are given, the tree for roll-ups, and what to tell the user."""
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
    drawn = int(np.random.SeedSequence((config.seed, number)).generate_state(1)[0])
    strategy = build_strategy(member, tree, drawn)
    name = str(member.name)
    if member.network is None:
        return Member(name, tuple(member.features or ()), strategy)
    network = next(network for network in config.networks if network.name == member.network)
    learns_groups = member.strategy == "hierarchical" and tree == "auto"
    return Member(
        name,
        (PHOTOS, DESCRIPTOR) if learns_groups else (PHOTOS,),
        NetworkStrategy(strategy, network, images.get(network.name), member.specialists),
    )


def _used_networks(config: Config) -> list[NetworkConfig]:
    used = {member.network for member in config.members}
    return [network for network in config.networks if network.name in used]


def _image_caches(config: Config, dataset: Dataset, work: Path | None) -> dict[str, ImageCache]:
    """For each network that a member uses its photos; networks of one size share them."""
    wanted = _used_networks(config)
    if not wanted:
        return {}
    from ensemble_minerals.data.image_cache import ImageCache

    manifest = dataset.manifest
    paths = [manifest.file(row) for row in manifest.usable]
    tables: dict[tuple[int, int], ImageCache] = {}
    by_network = {}
    for network in wanted:
        key = (image_side(network), network.memory)
        if key not in tables:
            tables[key] = ImageCache(
                paths,
                side=key[0],
                folder=None if work is None else work / "pictures",
                limit_mb=network.memory,
                limits=config.data.limits,
            )
        by_network[network.name] = tables[key]
    return by_network
