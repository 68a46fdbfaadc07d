"""Finds photos of the same object: likely pairs are proposed, and what they show decides."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.config.schema import DuplicatesConfig
from ensemble_minerals.data.decode_budget import return_freed_memory
from ensemble_minerals.data.manifest import Files, Manifest
from ensemble_minerals.data.same_object.candidates import directions, propose_pairs
from ensemble_minerals.data.same_object.given_pairs import NO_PAIRS, GivenPairs
from ensemble_minerals.data.same_object.groups import SameObjectReport, by_appearance, group_rows
from ensemble_minerals.data.same_object.keypoint_store import KeypointStore, open_table
from ensemble_minerals.data.same_object.keypoints import COARSE, FINE, Detail
from ensemble_minerals.data.same_object.likeness import Likeness
from ensemble_minerals.data.same_object.matching import Comparable, compare, may_match
from ensemble_minerals.data.same_object.overprints import without_overprints
from ensemble_minerals.data.same_object.pairs import SameObjectPair
from ensemble_minerals.data.same_object.verdicts import Verdict, Verdicts
from ensemble_minerals.system.memmap import take
from ensemble_minerals.system.parallel import single_thread
from ensemble_minerals.system.prefetch import prefetch
from ensemble_minerals.system.runtime import DEFAULT_LIMITS, DecodeLimits, Runtime

MOST_DRAWN = 20_000
"""Pairs that keep the points that match; a report of more would fill the memory."""

UNCONFIRMED_HASH_DISTANCE = 6
"""Most different bits in the hashes of the same picture, where a photo is not at hand."""

_MIN_HASH_BITS = 16  # usually 32 of 64 are set; fewer in a plain photo, which lacks most frequencies
_BLOCK = 128  # pairs that a thread compares before they are kept
_AT_ONCE = 64 * _BLOCK  # pairs of which a list is made: those of many photos would fill the memory
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
            files = Files(manifest, rows)
        chosen = slice(None) if len(rows) == len(manifest) else rows  # all rows need no copy
        columns = {name: getattr(manifest, name)[chosen] for name in _COLUMNS}
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
    given: GivenPairs = NO_PAIRS,
    n_folds: int = 1,
) -> SameObjectReport:
    """Group photos that show the same object, and find copies and contradictory labels.

    Args:
        photos: The photos, n of them.
        config: What counts.
        runtime: Threads, progress, and where local features are kept between runs.
        limits: Sizes of the photos that are decoded.
        n_known: The first so many photos are not compared with each other, only with the others.
        given: Pairs of rows that the user wants together or apart.
        n_folds: Groups that likeness leaves each class.

    Returns:
        The report; its rows are those of `photos`.

    Raises:
        DataError: If the user's pairs contradict each other.
    """
    found: list[SameObjectPair] = []
    likeness = None
    if config.near:
        _, first_row = by_appearance(photos.pixel_hash)
        with open_table(runtime) as table:
            store = KeypointStore(photos.files, photos.image_id, table, runtime, limits)
            store.compute(first_row.tolist())
            proposed = propose_pairs(
                None if photos.embeddings is None else take(photos.embeddings, first_row),
                photos.phash[first_row],
                photos.phash_mirrored[first_row],
                store.words(first_row.tolist()),
                n_reference=int(np.searchsorted(first_row, n_known)),
                n_jobs=runtime.n_jobs,
            )
            return_freed_memory()  # what proposing took grows with the photos, what comparing takes does not
            verdicts = Verdicts(table, photos.image_id)
            found = _same_objects(photos, first_row[proposed], store, verdicts, runtime)
            by_digest = first_row[np.argsort(photos.image_id[first_row])]
            found = without_overprints(found, photos.label, by_digest, store, verdicts)
        del store  # keypoints are compared no more
        return_freed_memory()
        if config.likeness and photos.embeddings is not None:
            likeness = Likeness(directions(photos.embeddings[first_row]), proposed, n_folds)
    return group_rows(
        photos.pixel_hash,
        photos.label,
        found,
        photos.given_group,
        photos.aside,
        given=given,
        likeness=likeness,
    )


def _same_objects(
    photos: ComparedPhotos,
    proposed: NDArray[np.intp],
    store: KeypointStore,
    verdicts: Verdicts,
    runtime: Runtime,
) -> list[SameObjectPair]:
    """Compare the pairs that are proposed and were never compared, and keep those that show the same object."""
    found: list[SameObjectPair] = []
    progress = runtime.progress.stage("Comparing photos")
    for start in range(0, len(proposed), _AT_ONCE):
        part = dict.fromkeys((a, b) for a, b in proposed[start : start + _AT_ONCE].tolist())
        todo = part.copy()
        for pair, verdict in verdicts.known(list(part)):
            del todo[pair]
            _add(found, pair, verdict)
        waiting = iter(todo)
        blocks = [list(islice(waiting, _BLOCK)) for _ in range(0, len(todo), _BLOCK)]
        done = start + len(part) - len(todo)
        with closing(_compared(blocks, store, runtime.n_jobs)) as stream:
            for block, judged in zip(blocks, stream, strict=True):
                verdicts.keep(judged)
                for pair in block:
                    if pair in judged:
                        _add(found, pair, judged[pair])
                    elif _hash_distance(photos, *pair) <= UNCONFIRMED_HASH_DISTANCE:
                        found.append(SameObjectPair(*pair, "same_picture"))
                done += len(block)
                progress(done, len(proposed))
    return sorted(found, key=lambda pair: (pair.first, pair.second))


def _compared(
    blocks: Sequence[Sequence[tuple[int, int]]], store: KeypointStore, n_threads: int
) -> Generator[dict[tuple[int, int], Verdict], None, None]:
    """Verdicts on the pairs of each block, from threads."""
    work = partial(_compare_block, store)
    return prefetch(work, blocks, n_threads=n_threads, ahead=2 * n_threads, name="compare")


def _compare_block(store: KeypointStore, block: Sequence[tuple[int, int]]) -> dict[tuple[int, int], Verdict]:
    """Verdicts on the pairs of which both photos are at hand, by fine keypoints where coarse ones leave it open."""
    judged: dict[tuple[int, int], Verdict] = {}
    with single_thread:
        for pair in block:
            coarse = _both(store, pair, COARSE)
            if coarse is None:
                continue
            if not may_match(*coarse):
                judged[pair] = None
            elif (fine := _both(store, pair, FINE)) is not None:
                judged[pair] = compare(*fine)
    return judged


def _both(
    store: KeypointStore, pair: tuple[int, int], detail: Detail
) -> tuple[Comparable, Comparable] | None:
    first, second = (store.get(row, detail) for row in pair)
    return None if first is None or second is None else (first, second)


def _add(found: list[SameObjectPair], pair: tuple[int, int], verdict: Verdict) -> None:
    if verdict is not None:
        one = SameObjectPair(*pair, *verdict)
        found.append(one if len(found) < MOST_DRAWN else _without_points(one))


def _hash_distance(photos: ComparedPhotos, a: int, b: int) -> int:
    """Different bits of the perceptual hashes, mirrored or not; all of them where a photo is too plain for one."""
    one, other = int(photos.phash[a]), int(photos.phash[b])
    if min(one.bit_count(), other.bit_count()) < _MIN_HASH_BITS:
        return 64
    return min((one ^ other).bit_count(), (int(photos.phash_mirrored[a]) ^ other).bit_count())


def _without_points(pair: SameObjectPair) -> SameObjectPair:
    evidence = pair.evidence
    return pair if evidence is None else replace(pair, evidence=replace(evidence, points=evidence.points[:0]))
