"""A cache of shrunken photos: each is decoded once, and processes share them through a memory map.

Training reads every photo in every epoch, and needs it only a little larger than the input of the network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import cached_property, partial
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ensemble_minerals.data.decoding import DECODER_VERSION, decoded, photo_digest
from ensemble_minerals.errors import ImageError, ImageReason
from ensemble_minerals.system.atomic import atomic_file
from ensemble_minerals.system.digest import checksum
from ensemble_minerals.system.prefetch import expect, prefetch
from ensemble_minerals.system.progress import StageProgress
from ensemble_minerals.system.runtime import DEFAULT_LIMITS, DecodeLimits
from ensemble_minerals.system.sealed import damaged, not_kept, read_sealed, write_sealed

REDUCING_GAP = 1.2
"""Photos are first reduced by averaging pixels, to this times the size, as for the views of frozen features."""

_SMALLEST_DECODE = 384  # pixels of the shorter side
_AHEAD = 32  # photos that wait for a thread
_NOT_KEPT = -1  # start of a row that is not in the cache


def decode_side(side: int, *, finely: bool = False) -> int:
    """Pixels of the shorter side at which a photo is decoded, for a network that needs `side` pixels.

    Training and prediction use the same rule, so that a photo gives the same pixels in both. Feature extractors that
    need no more than the smallest value share a decoded photo.

    Args:
        side: That are needed.
        finely: Also allow one and a half times each value, for which a photo of 12 megapixels is read at a quarter of
            its sides and not at half; see `data.views.TRANSFORM`.

    >>> decode_side(224), decode_side(500), decode_side(500, finely=True), decode_side(600, finely=True)
    (384, 768, 576, 768)
    """
    decoded = _SMALLEST_DECODE
    while decoded < side:
        between = decoded + decoded // 2
        if finely and between >= side:
            return between
        decoded *= 2
    return decoded


def shrink(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Scale an image down to a shorter side, in its proportions. A smaller image stays as it is.

    Args:
        pixels: Decoded photo of shape (h, w, 3).
        side: Shorter side of the result, in pixels.

    Example:
        >>> shrink(np.zeros((400, 600, 3), np.uint8), 100).shape
        (100, 150, 3)
    """
    height, width = pixels.shape[:2]
    if min(height, width) <= side:
        return pixels
    scale = side / min(height, width)
    size = (max(side, round(width * scale)), max(side, round(height * scale)))
    image = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC, reducing_gap=REDUCING_GAP)
    return np.array(image)


class ImageCache:
    """Shrunken photos by row.

    It can be pickled: another process opens the memory map by itself. Without a folder, the images are kept in
    memory, and a pickled copy has to decode the photos again.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        side: int,
        folder: Path | None,
        limit_mb: int,
        limits: DecodeLimits = DEFAULT_LIMITS,
        image_ids: Sequence[str] | None = None,
    ) -> None:
        """Describe a cache; nothing is decoded yet.

        Args:
            paths: File of each row.
            side: Shorter side of each image in pixels; smaller photos keep their size.
            folder: Folder of the memory map; None keeps the images in memory.
            limit_mb: Most megabytes of all images. Rows beyond the limit are decoded at each access.
            limits: Sizes of the photos that are decoded.
            image_ids: Digest of each file's content: one that has another by now was replaced, and is an error. None
                takes the files as they are.
        """
        self.image_ids = None if image_ids is None else tuple(image_ids)
        self.paths = tuple(paths)
        self.side = side
        self.folder = folder
        self.limit_mb = limit_mb
        self.limits = limits
        self._index: NDArray[np.int64] | None = None
        self._pixels: NDArray[np.uint8] | None = None
        self._told = False

    def __len__(self) -> int:
        return len(self.paths)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_index": None, "_pixels": None}

    def prepare(self, n_threads: int = 1, progress: StageProgress | None = None) -> None:
        """Decode all rows that fit into the limit, unless that was done before.

        A row that cannot be decoded is left out; `image` raises its error later. Where the folder cannot be written
        to, a warning says so, and photos are decoded at each access.

        Args:
            n_threads: Threads that decode.
            progress: Called with (rows done, rows).
        """
        if self._open():
            return
        if self.folder is None:
            memory = BytesIO()
            self._index = self._write(memory, n_threads, progress)
            self._pixels = np.frombuffer(memory.getbuffer(), np.uint8)
            return
        try:
            with (
                atomic_file(self._file(".bin"), durable=False) as images,
                images.open("wb") as stream,
            ):
                table = self._write(stream, n_threads, progress)
        except OSError as error:
            not_kept(self.folder, error)
            return
        # In place last: if the index exists, the images are complete.
        write_sealed(self._file(".index"), table.tobytes())
        self._open()

    def image(self, row: int) -> NDArray[np.uint8]:
        """The image of a row.

        Returns:
            Pixels of shape (h, w, 3), in the proportions of the photo. They are a copy that the caller may change.

        Raises:
            ImageError: If the photo is not in the cache and cannot be decoded.
        """
        if self._open() and self._index is not None and self._pixels is not None:
            start, height, width, noted = self._index[row].tolist()
            if start != _NOT_KEPT:
                pixels = np.array(self._pixels[start : start + height * width * 3])
                if checksum([pixels.data]) == noted:
                    return pixels.reshape(height, width, 3)
                self._say_damaged()
        return self._decoded(row)

    def _say_damaged(self) -> None:
        if not self._told:
            damaged(self._file(".bin"))
        self._told = True

    def _decoded(self, row: int) -> NDArray[np.uint8]:
        side, path = decode_side(self.side), self.paths[row]
        with decoded(path, at_least=side, limits=self.limits, before=partial(expect_reduced, side)) as photo:
            if self.image_ids is not None and photo_digest(path) != self.image_ids[row]:
                raise ImageError(ImageReason.CHANGED, "not the file that was scanned; run again")
            pixels = photo.pixels
            factor = min(pixels.shape[:2]) // side
            if factor > 1:
                pixels = np.array(Image.fromarray(pixels).reduce(factor))
            return shrink(pixels, self.side)

    def _write(self, stream: IO[bytes], n_threads: int, progress: StageProgress | None) -> NDArray[np.int64]:
        """Write images one after the other while they fit; return start, height, width and checksum of each row."""
        index = np.full((len(self), 4), _NOT_KEPT, np.int64)
        limit, end = self.limit_mb << 20, 0
        read = partial(_or_none, self._decoded)
        with closing(
            prefetch(read, range(len(self)), n_threads=n_threads, ahead=_AHEAD, name="decode", size=_n_bytes)
        ) as images:
            for row, pixels in enumerate(images):
                if pixels is not None:
                    if end + pixels.size > limit:
                        break
                    content = np.ascontiguousarray(pixels).data
                    stream.write(content)
                    index[row] = (end, *pixels.shape[:2], checksum([content]))
                    end += pixels.size
                if progress is not None:
                    progress(row + 1, len(self))
        return index

    def _open(self) -> bool:
        """Open the memory map, if it exists; whether it does."""
        if self._index is not None:
            return True
        sealed = None if self.folder is None else read_sealed(self._file(".index"))
        if sealed is None:
            return False
        file = self._file(".bin")
        try:
            self._pixels = np.memmap(file, np.uint8, "r") if file.stat().st_size else np.empty(0, np.uint8)
        except OSError:
            damaged(file)
            return False
        self._index = np.frombuffer(sealed, np.int64).reshape(len(self), 4)
        return True

    def _file(self, suffix: str) -> Path:
        assert self.folder is not None
        return self.folder / f"pictures-{self.side}-{self._identity}{suffix}"

    @cached_property
    def _identity(self) -> str:
        """Digest of everything that decides the content: the files as they are now, and the limits."""
        files = []
        for path in self.paths:
            try:
                metadata = path.stat()
                files.append((str(path), metadata.st_size, metadata.st_mtime_ns))
            except (OSError, ValueError):  # ValueError: a path with a null character
                files.append((str(path), -1, -1))
        limits = (self.limits.max_pixels, self.limits.min_side)
        known = repr((DECODER_VERSION, self.side, self.limit_mb, *limits, files, self.image_ids))
        return blake2b(known.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


def expect_reduced(side: int, *sides: int) -> None:
    """Before a photo is decoded, wait for room for what is left of it once its shorter side is reduced to `side`."""
    expect(3 * math.prod(sides) // max(1, min(sides) // side) ** 2)


def _or_none(decoded: Callable[[int], NDArray[np.uint8]], row: int) -> NDArray[np.uint8] | None:
    try:
        return decoded(row)
    except ImageError:
        return None


def _n_bytes(pixels: NDArray[np.uint8] | None) -> int:
    return 0 if pixels is None else pixels.nbytes
