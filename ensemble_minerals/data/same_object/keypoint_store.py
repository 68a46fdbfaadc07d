"""The keypoints of many photos: computed once, kept in a file, and in memory only as long as they are compared."""

from __future__ import annotations

import tempfile
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import cache
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.data.decoding import DECODER_VERSION, decode, heif_version, photo_digest
from ensemble_minerals.data.same_object.keypoints import (
    COARSE,
    FINE,
    KEYPOINTS_VERSION,
    Detail,
    Keypoints,
    find_keypoints,
)
from ensemble_minerals.data.same_object.matching import Comparable
from ensemble_minerals.data.same_object.visual_words import visual_words
from ensemble_minerals.errors import ImageError
from ensemble_minerals.system.cache_table import CacheTable
from ensemble_minerals.system.parallel import single_thread
from ensemble_minerals.system.prefetch import prefetch
from ensemble_minerals.system.runtime import DecodeLimits, Runtime

KEYPOINTS = "keypoints.sqlite"
"""File in the cache folder: keypoints of photos, and what comparisons found."""

_AT_HAND = {COARSE: 768, FINE: 192}
"""Photos whose keypoints are held in memory, about 0.1 and 0.7 MB each."""

_CHUNK = 64  # photos of one write
_AT_ONCE = 1024  # photos whose words are read at once
_WORD = np.dtype("<u2")


@contextmanager
def open_table(runtime: Runtime) -> Iterator[CacheTable]:
    """The file of keypoints in the cache folder; without one, a temporary file."""
    with ExitStack() as stack:
        folder = runtime.cache_dir
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ensemble-minerals-")))
        yield stack.enter_context(CacheTable(folder / KEYPOINTS))


@cache
def source_of(kind: str, *details: Detail) -> str:
    """Names what is kept of keypoints of some details, and of everything that they depend on."""
    return (
        f"{kind} {KEYPOINTS_VERSION} {details} decoder={DECODER_VERSION} opencv={version('opencv-python-headless')} "
        f"pillow={version('pillow')} pi-heif={heif_version()}"
    )


class KeypointStore:
    """Keypoints and visual words by row; may be used by several threads.

    Args:
        files: Where each photo is; None where it is not at hand.
        image_ids: Digests of the files, (n,).
        table: Where keypoints and words are kept.
        runtime: Threads and progress.
        limits: Sizes of the photos that are decoded.
    """

    def __init__(
        self,
        files: Sequence[Path | None],
        image_ids: NDArray[np.str_],
        table: CacheTable,
        runtime: Runtime,
        limits: DecodeLimits,
    ) -> None:
        self._files = files
        self._ids = image_ids
        self._table = table
        self._runtime = runtime
        self._limits = limits
        self._lock = Lock()
        self._at_hand: dict[Detail, OrderedDict[int, Comparable | None]] = {
            detail: OrderedDict() for detail in _AT_HAND
        }
        self._words = source_of("words", COARSE)

    def compute(self, rows: Sequence[int]) -> None:
        """Find the coarse keypoints and words that are not in the file yet."""
        ids, first = np.unique(self._ids[rows], return_index=True)
        known = self._table.contains(self._words, ids.tolist())
        lacking = sorted(
            rows[at] for at, key in zip(first.tolist(), ids.tolist(), strict=True) if key not in known
        )
        todo = [row for row in lacking if self._files[row] is not None]
        progress = self._runtime.progress.stage("Finding keypoints")
        n_threads = self._runtime.n_jobs
        done = 0
        stream = prefetch(self._coarse, todo, n_threads=n_threads, ahead=2 * _CHUNK, name="keypoints")
        with single_thread, closing(stream):
            found = zip(todo, stream, strict=True)
            while chunk := list(islice(found, _CHUNK)):
                self._keep_coarse({self._id(row): one for row, one in chunk if one is not None})
                done += len(chunk)
                progress(done, len(todo))

    def words(self, rows: Sequence[int]) -> Iterator[NDArray[np.uint16]]:
        """The visual words of each photo, after `compute`; none for a photo that is not at hand."""
        for start in range(0, len(rows), _AT_ONCE):
            part = rows[start : start + _AT_ONCE]
            kept = dict(self._table.get(self._words, map(self._id, part)))
            for row in part:
                if (stored := kept.get(self._id(row))) is not None:
                    yield np.frombuffer(stored, _WORD).astype(np.uint16)
                else:
                    found = self.get(row, COARSE)
                    yield visual_words(found.keypoints.descriptors if found else np.zeros((0, 128), np.uint8))

    def get(self, row: int, detail: Detail = FINE) -> Comparable | None:
        """A photo ready to be compared; None where it is not at hand, or changed since it was scanned."""
        at_hand = self._at_hand[detail]
        with self._lock:
            if row in at_hand:
                at_hand.move_to_end(row)
                return at_hand[row]
        found = self._read(detail, row)
        comparable = None if found is None else Comparable(found)
        with self._lock:
            at_hand[row] = comparable
            if len(at_hand) > _AT_HAND[detail]:
                at_hand.popitem(last=False)
        return comparable

    def _id(self, row: int) -> str:
        return str(self._ids[row])

    def _read(self, detail: Detail, row: int) -> Keypoints | None:
        key = self._id(row)
        for _, stored in self._table.get(source_of("keypoints", detail), [key]):
            return Keypoints.unpack(stored)
        found = self._find(detail, row)
        if found is not None and detail == COARSE:
            self._keep_coarse({key: _packed(found)})
        elif found is not None:
            self._keep(detail, {key: found.pack()})
        return found

    def _coarse(self, row: int) -> tuple[bytes, bytes] | None:
        """What is kept of a photo's coarse keypoints, see `_packed`; None where it is not at hand."""
        found = self._find(COARSE, row)
        return None if found is None else _packed(found)

    def _find(self, detail: Detail, row: int) -> Keypoints | None:
        file = self._files[row]
        if file is None:
            return None
        try:
            pixels = decode(file, at_least=detail.needed_side, limits=self._limits).pixels
            if photo_digest(file) != self._id(row):
                return None
        except ImageError:
            return None
        return find_keypoints(pixels, detail)

    def _keep_coarse(self, found: dict[str, tuple[bytes, bytes]]) -> None:
        self._keep(COARSE, {key: keypoints for key, (keypoints, _) in found.items()})
        words = {key: words for key, (_, words) in found.items()}
        self._table.put(self._words, words, {"kind": "visual words"})

    def _keep(self, detail: Detail, found: dict[str, bytes]) -> None:
        self._table.put(source_of("keypoints", detail), found, {"kind": f"{detail.name} keypoints"})


def _packed(found: Keypoints) -> tuple[bytes, bytes]:
    """Keypoints and their visual words, as they are kept."""
    return found.pack(), visual_words(found.descriptors).astype(_WORD).tobytes()
