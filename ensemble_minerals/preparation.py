"""What `fit` and `ablate` begin with: photos as rows, the members a configuration describes, and where to resume."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.config import Config, MemberConfig
from ensemble_minerals.dataset import Dataset, load_dataset, split
from ensemble_minerals.ensemble.committee import Blocks
from ensemble_minerals.ensemble.tasks import Member
from ensemble_minerals.errors import BundleError
from ensemble_minerals.listener import Listener
from ensemble_minerals.members.build import build_strategy
from ensemble_minerals.taxonomy import Taxonomy, Tree


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
        notes: What the user should know, one sentence each; the listener has heard them.
    """

    dataset: Dataset
    rows: NDArray[np.intp]
    labels: NDArray[np.str_]
    groups: NDArray[np.intp]
    classes: tuple[str, ...]
    members: tuple[Member, ...]
    taxonomy: Taxonomy
    notes: tuple[str, ...]

    @property
    def blocks(self) -> Blocks:
        """Feature matrices of the rows, by name of the source."""
        return self.dataset.blocks(self.rows)

    @property
    def folds(self) -> NDArray[np.int64]:
        """Fold of each row, (n,)."""
        folds: NDArray[np.int64] = self.dataset.manifest.fold[self.rows]
        return folds


def prepare(
    data: Path, config: Config, *, cache_dir: Path | None, n_threads: int, listener: Listener
) -> Prepared:
    """Read photos, compute features, find what is alike, assign folds, build the members.

    Args:
        data: Folder with one sub-folder a class, or a CSV with the columns path and label.
        config: What to train.
        cache_dir: Where fingerprints, features and converted networks are kept between runs.
        n_threads: Threads that decode.
        listener: Hears of progress and of notes.

    Raises:
        DataError: If the photos cannot be used as they are.
        WeightsError: If a backbone's weights cannot be had.
    """
    specified = config.expanded_members()
    names = _confirming(config) + [source for member in specified for source in member.features or ()]
    dataset = load_dataset(data, config, names, cache_dir=cache_dir, n_threads=n_threads, listener=listener)
    dataset = split(dataset, config)
    rows = dataset.rows()
    labels = dataset.manifest.label[rows]
    classes = tuple(sorted(set(labels.tolist())))
    tree, taxonomy, notes = _resolve_taxonomy(config, classes)
    notes += [f"{name}: {why}" for name, s in dataset.sources.items() if (why := s.facts.get("engine_note"))]
    for note in notes:
        listener.note(note)
    return Prepared(
        dataset,
        rows,
        labels,
        dataset.manifest.row_group[rows],
        classes,
        build_members(config, tree),
        taxonomy,
        tuple(notes),
    )


def build_members(config: Config, tree: Tree | str = "auto") -> tuple[Member, ...]:
    """The members of a configuration, unfitted, each with a seed of its own.

    Args:
        config: What to train.
        tree: Groups of the classes for hierarchical members, or ``"auto"``.
    """
    return tuple(
        _build_member(member, tree, config.seed, number)
        for number, member in enumerate(config.expanded_members())
    )


def inputs_digest(config: Config, dataset: Dataset, *others: object) -> str:
    """Names everything that a finished task depends on: configuration, photos, features, folds and `others`."""
    manifest = dataset.manifest
    facts = [
        config.to_yaml(),
        manifest.digest,
        *(dataset.sources[name].fingerprint for name in dataset.sources),
        manifest.fold.tobytes().hex(),
        manifest.row_group.tobytes().hex(),
        *(repr(other) for other in others),
    ]
    return blake2b("\n".join(facts).encode(), digest_size=16).hexdigest()


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


def _build_member(member: MemberConfig, tree: Tree | str, seed: int, number: int) -> Member:
    drawn = int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
    return Member(str(member.name), tuple(member.features or ()), build_strategy(member, tree, drawn))
