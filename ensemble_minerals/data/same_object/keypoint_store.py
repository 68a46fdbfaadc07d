"""The keypoints of many photos: computed once, kept in a file, and in memory only as long as they are compared."""

from __future__ import annotations

import tempfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.data.decoding import DECODER_VERSION, decode, heif_version, photo_digest
from ensemble_minerals.data.same_object.keypoints import (
    COUNT,
    KEYPOINTS_VERSION,
    SIDE,
    Keypoints,
    find_keypoints,
)
from ensemble_minerals.data.same_object.matching import Comparable
from ensemble_minerals.errors import ImageError
from ensemble_minerals.system.cache_table import CacheTable
from ensemble_minerals.system.prefetch import prefetch
from ensemble_minerals.system.runtime import DecodeLimits, Runtime

KEYPOINTS = "keypoints.sqlite"
"""File in the cache folder: keypoints of photos."""

_AT_HAND = 384
"""Photos whose keypoints are held in memory, about 0.3 MB each."""

_CHUNK = 64  # photos of one write
_NEEDED_SIDE = SIDE * 3 // 4  # the shorter side of most photos whose longer side is as long as it is needed


@dataclass(frozen=True)
class _Photo:
    file: Path | None
    image_id: str


class KeypointStore:
    """Keypoints by row; to be used in a ``with`` block, by several threads.

    Args:
        files: Where each photo is; None where it is not at hand.
        image_ids: Digests of the files.
        runtime: Threads, and the cache folder; without one a temporary file is used.
        limits: Sizes of the photos that are decoded.
    """

    def __init__(
        self, files: Sequence[Path | None], image_ids: Sequence[str], runtime: Runtime, limits: DecodeLimits
    ) -> None:
        self._photos = [_Photo(*photo) for photo in zip(files, image_ids, strict=True)]
        self._runtime = runtime
        self._limits = limits
        self._stack = ExitStack()
        self._lock = Lock()
        self._at_hand: OrderedDict[int, Comparable | None] = OrderedDict()
        self._source = (
            f"keypoints {KEYPOINTS_VERSION} side={SIDE} count={COUNT} decoder={DECODER_VERSION} "
            f"opencv={version('opencv-python-headless')} pillow={version('pillow')} pi-heif={heif_version()}"
        )

    def __enter__(self) -> Self:
        folder = self._runtime.cache_dir
        if folder is None:
            folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="ensemble-minerals-")))
        self._table = self._stack.enter_context(CacheTable(folder / KEYPOINTS))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def compute(self, rows: Sequence[int]) -> None:
        """Compute what is not in the file yet."""
        known = self._table.contains(self._source, {self._photos[row].image_id for row in rows})
        lacking = {photo.image_id: photo for photo in (self._photos[row] for row in rows)}
        todo = [photo for key, photo in lacking.items() if key not in known and photo.file is not None]
        progress = self._runtime.progress.stage("Finding keypoints")
        n_threads = self._runtime.n_jobs
        done = 0
        with closing(
            prefetch(self._find, todo, n_threads=n_threads, ahead=4 * n_threads, name="keypoints")
        ) as stream:
            found = zip(todo, stream, strict=True)
            while chunk := list(islice(found, _CHUNK)):
                self._keep({photo.image_id: one for photo, one in chunk if one is not None})
                done += len(chunk)
                progress(done, len(todo))

    def get(self, row: int) -> Comparable | None:
        """A photo ready to be compared; None where it is not at hand, or changed since it was scanned."""
        with self._lock:
            if row in self._at_hand:
                self._at_hand.move_to_end(row)
                return self._at_hand[row]
        found = self._read(self._photos[row])
        comparable = None if found is None else Comparable(found)
        with self._lock:
            self._at_hand[row] = comparable
            if len(self._at_hand) > _AT_HAND:
                self._at_hand.popitem(last=False)
        return comparable

    def descriptors(self, row: int) -> NDArray[np.uint8]:
        """The descriptors of a photo, (k, 128); none where it is not at hand."""
        found = self._read(self._photos[row])
        return np.zeros((0, 128), np.uint8) if found is None else found.descriptors

    def _read(self, photo: _Photo) -> Keypoints | None:
        stored = dict(self._table.get(self._source, [photo.image_id]))
        return Keypoints.unpack(stored[photo.image_id]) if stored else self._find(photo)

    def _find(self, photo: _Photo) -> Keypoints | None:
        if photo.file is None:
            return None
        try:
            pixels = decode(photo.file, at_least=_NEEDED_SIDE, limits=self._limits).pixels
            if photo_digest(photo.file) != photo.image_id:
                return None
        except ImageError:
            return None
        return find_keypoints(pixels)

    def _keep(self, found: Mapping[str, Keypoints]) -> None:
        self._table.put(
            self._source, {key: one.pack() for key, one in found.items()}, {"kind": "keypoints", "side": SIDE}
        )
