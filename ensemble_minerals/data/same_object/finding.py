"""Finds photos of the same object: likely pairs are proposed, and what they show decides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.config.schema import DuplicatesConfig
from ensemble_minerals.data.manifest import Manifest
from ensemble_minerals.data.same_object.candidates import Rule, near_pairs
from ensemble_minerals.data.same_object.groups import SameObjectReport, by_appearance, group_rows
from ensemble_minerals.data.same_object.pairs import SameObjectPair
from ensemble_minerals.system.runtime import DEFAULT_LIMITS, DecodeLimits, Runtime

_COLUMNS = ("image_id", "pixel_hash", "phash", "phash_mirrored", "label", "given_group", "path")


@dataclass(frozen=True, eq=False)
class ComparedPhotos:
    """Photos that are compared with each other, one a row.

    Attributes:
        files: Where each photo is; None where it is not at hand, so that only digests and hashes can be compared.
        image_id: Digests of the files, (n,).
        pixel_hash: Digests of the decoded pixels, (n,).
        phash: Perceptual hashes, uint64, (n,).
        phash_mirrored: Perceptual hashes of the mirrored images, uint64, (n,).
        label: Classes, (n,).
        given_group: Groups that the user gave, empty for none, (n,).
        path: Paths as in the manifest, (n,).
        embeddings: What likely pairs are proposed by, beside hashes, (n, d); or None.
        aside: Rows that are neither copies nor in conflict, (n,), see `group_rows`; none if None.
    """

    files: Sequence[Path | None]
    image_id: NDArray[np.str_]
    pixel_hash: NDArray[np.str_]
    phash: NDArray[np.uint64]
    phash_mirrored: NDArray[np.uint64]
    label: NDArray[np.str_]
    given_group: NDArray[np.str_]
    path: NDArray[np.str_]
    embeddings: NDArray[np.floating[Any]] | None = None
    aside: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.pixel_hash)

    @classmethod
    def of(
        cls,
        manifest: Manifest,
        rows: NDArray[np.intp],
        embeddings: NDArray[np.floating[Any]] | None = None,
        *,
        files: Sequence[Path | None] | None = None,
        aside: NDArray[np.bool_] | None = None,
    ) -> ComparedPhotos:
        """Rows of a manifest; their files are where it says, unless `files` says otherwise."""
        if files is None:
            files = [manifest.file(row) for row in rows.tolist()]
        columns = {name: getattr(manifest, name)[rows] for name in _COLUMNS}
        return cls(files, **columns, embeddings=embeddings, aside=aside)

    def followed_by(self, others: ComparedPhotos) -> ComparedPhotos:
        """These rows, then those of `others`; embeddings only where both have some."""
        columns = {name: np.concatenate([getattr(self, name), getattr(others, name)]) for name in _COLUMNS}
        embeddings = None
        if self.embeddings is not None and others.embeddings is not None:
            embeddings = np.concatenate([self.embeddings, others.embeddings])
        aside = [np.zeros(len(one), bool) if one.aside is None else one.aside for one in (self, others)]
        files = [*self.files, *others.files]
        return ComparedPhotos(files, **columns, embeddings=embeddings, aside=np.concatenate(aside))


def find_same_objects(
    photos: ComparedPhotos,
    config: DuplicatesConfig,
    runtime: Runtime,
    *,
    limits: DecodeLimits = DEFAULT_LIMITS,
    n_known: int = 0,
) -> SameObjectReport:
    """Group photos that show the same object, and find copies and contradictory labels.

    Args:
        photos: The photos, n of them.
        config: What counts.
        runtime: Threads, progress, and where local features are kept between runs.
        limits: Sizes of the photos that are decoded.
        n_known: The first so many photos are not compared with each other, only with the others.

    Returns:
        The report; its rows are those of `photos`.
    """
    pairs = _alike(photos, config) if config.near else iter(())
    return group_rows(photos.pixel_hash, photos.label, pairs, photos.given_group, photos.aside)


def _alike(photos: ComparedPhotos, config: DuplicatesConfig) -> Iterator[SameObjectPair]:
    _, first_row = by_appearance(photos.pixel_hash)
    rule = Rule(
        config.hash_distance,
        config.hash_cosine,
        config.cosine,
        config.conflict_hash_distance,
        config.conflict_cosine,
    )
    for near in near_pairs(photos.phash, photos.phash_mirrored, photos.embeddings, first_row, rule):
        columns = (first_row[near.first], first_row[near.second], near.same_image, near.cosine)
        for a, b, same, cosine in zip(*(column.tolist() for column in columns), strict=True):
            yield SameObjectPair(a, b, "same_picture" if same else "same_object", None, cosine)
