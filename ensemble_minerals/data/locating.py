"""Where the photos of a manifest are today: a photo is the digest of its content, a path only where it was last."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.data.decoding import photo_digest
from ensemble_minerals.data.files import list_files
from ensemble_minerals.data.manifest import Manifest, Status
from ensemble_minerals.data.own_outputs import DOCUMENTS
from ensemble_minerals.errors import DataError, ImageError

_MORE_FILES = 1000
"""In a search, so many other files are looked at besides two for each photo."""


@dataclass(frozen=True)
class LocatedPhotos:
    """Photos that are at hand, each checked by its digest.

    Attributes:
        files: The file of each row of the manifest that is at hand.
        moved: Rows whose photo was found under another path.
        changed: Rows where another photo is at the path, and theirs is nowhere.
        missing: Rows where no file is at the path, and theirs is nowhere.
    """

    files: dict[int, Path]
    moved: tuple[int, ...]
    changed: tuple[int, ...]
    missing: tuple[int, ...]

    def notes(self, root: Path) -> Iterator[str]:
        """What the user should know, one sentence each."""
        if self.moved:
            yield f"{_photos(self.moved)} of the fit found in {root} under other paths, by content."
        if self.changed:
            yield (
                f"{_photos(self.changed)} of the fit not shown: other photos are under their names in {root} now; "
                "restore the old ones, or fit again."
            )
        if self.missing and self.files:
            yield (
                f"{_photos(self.missing)} of the fit not shown: not in {root} any more; --photos says where they are "
                "now."
            )


def locate_photos(manifest: Manifest, n_threads: int = 1) -> LocatedPhotos:
    """Find the photos of a manifest below its root, by their digests; rows without a digest are left out.

    Files under other paths are looked at only where a photo is not at its own.

    Args:
        manifest: Of a fit; its root is where the photos are now.
        n_threads: Threads that read files.
    """
    rows = np.flatnonzero(manifest.image_id != "").tolist()
    at_path = {row: manifest.file(row) for row in rows}
    with ThreadPoolExecutor(n_threads, thread_name_prefix="locate") as pool:
        digests = dict(zip(rows, pool.map(_digest, at_path.values()), strict=True))
        files = {row: at_path[row] for row in rows if digests[row] == manifest.image_id[row]}
        wanted: dict[str, list[int]] = defaultdict(list)
        for row in rows:
            if row not in files:
                wanted[str(manifest.image_id[row])].append(row)
        moved = []
        if wanted and manifest.root.is_dir():
            candidates = _other_files(manifest.root, set(files.values()), 2 * len(rows) + _MORE_FILES)
            for file, digest in zip(candidates, pool.map(_digest, candidates), strict=True):
                for row in wanted.pop(digest, ()):
                    files[row] = file
                    moved.append(row)
    lost = [row for row in rows if row not in files]
    return LocatedPhotos(
        files,
        tuple(sorted(moved)),
        tuple(row for row in lost if digests[row]),
        tuple(row for row in lost if not digests[row]),
    )


def only_at_hand(manifest: Manifest, rows: NDArray[np.intp], files: Mapping[int, Path]) -> Manifest:
    """The manifest in which only some rows are usable: those of `rows` whose photo is at hand, where it is today.

    Args:
        manifest: Of a fit.
        rows: Rows that are wanted.
        files: As in `LocatedPhotos`.
    """
    number = np.arange(len(manifest))
    usable = np.isin(number, rows) & np.isin(number, list(files))
    path = [str(files.get(row, Path(old)).absolute()) for row, old in enumerate(manifest.path.tolist())]
    return manifest.replace(status=np.where(usable, Status.OK.value, Status.EXCLUDED.value), path=path)


def _other_files(root: Path, known: set[Path], most: int) -> list[Path]:
    try:
        return [
            file
            for file in islice(list_files(root), most)
            if file not in known and file.suffix.lower() not in DOCUMENTS
        ]
    except DataError:  # a folder that cannot be opened; nobody asked for it
        return []


def _digest(file: Path) -> str:
    try:
        return photo_digest(file)
    except ImageError:
        return ""


def _photos(rows: tuple[int, ...]) -> str:
    return "1 photo" if len(rows) == 1 else f"{len(rows)} photos"
