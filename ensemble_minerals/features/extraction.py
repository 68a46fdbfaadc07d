"""Photos to features: each photo is decoded once for all extractors, and only what the store lacks is computed.

Threads decode ahead of the caller's thread, in which the extractors run. An extractor that uses one core, such as
the descriptor, runs in threads beside it, where networks are opened, too; it is waited for, and features are stored,
while the others compute the next photos. The number of decoded photos that wait is bounded, and so is memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ensemble_minerals.data.decoding import Photo, decoded, photo_digest
from ensemble_minerals.data.image_cache import decode_side, expect_reduced
from ensemble_minerals.data.views import TRANSFORM
from ensemble_minerals.errors import FitError, ImageError, ImageReason
from ensemble_minerals.features.extraction_tasks import (
    ExtractionTask,
    count_lacking,
    empty_features,
    find_tasks,
)
from ensemble_minerals.features.extractor import FeatureExtractor
from ensemble_minerals.features.store import FeatureStore
from ensemble_minerals.system.prefetch import ROOM, prefetch
from ensemble_minerals.system.progress import StageProgress
from ensemble_minerals.system.runtime import DEFAULT_LIMITS, DecodeLimits

CHUNK = 16
"""Most photos of one call of an extractor, and of one transaction of the store."""

FIRST_CHUNK = 4
"""Photos of the first call, so that it begins soon; each next one may have twice as many, up to `CHUNK`.

More than `opened_ahead.FEW`, for which a network would be opened in another way first.
"""

AHEAD = 2 * CHUNK
"""Photos that are decoded, or being decoded, before their chunk."""


@runtime_checkable
class SingleThreaded(Protocol):
    """Marks an extractor that uses one core, so that several photos may go through it at once."""

    single_threaded: Literal[True]


@runtime_checkable
class Openable(Protocol):
    """Marks an extractor that takes a while to get ready, and may do so in another thread before its first photo."""

    def open(self, n_photos: int) -> object:
        """Get ready for so many photos at once.

        `extract` does it as well, and waits where another thread is doing it.
        """
        ...


@dataclass(frozen=True)
class ExtractionResult:
    """Features of photos.

    Attributes:
        features: For each extractor's name (n, n_views, n_features), NaN for photos that could not be read.
        errors: Position of each photo that could not be read, with the reason.
        seconds: Time spent in each extractor, summed over threads.
        decode_seconds: Time spent decoding, summed over threads.
        n_computed: Photos that each extractor computed; features of the others were in the store.
    """

    features: dict[str, NDArray[np.float32]]
    errors: dict[int, ImageError]
    seconds: dict[str, float]
    decode_seconds: float
    n_computed: dict[str, int]


def extract_features(
    photos: Sequence[Path | bytes],
    image_ids: Sequence[str],
    extractors: Sequence[FeatureExtractor],
    *,
    store: FeatureStore | None = None,
    n_threads: int = 1,
    progress: StageProgress | None = None,
    limits: DecodeLimits = DEFAULT_LIMITS,
    check_contents: bool = False,
) -> ExtractionResult:
    """Compute or fetch the features of every photo by every extractor.

    A photo's features depend on the photo and the extractor alone: not on other photos or extractors, the number of
    threads, or what was in the store. A photo whose features are all in the store is not opened.

    Args:
        photos: Their files, or the contents of those, n of them.
        image_ids: Digests of their contents, or `Manifest.feature_ids`. Photos of one id are computed once; those of
            the id "" are neither shared, nor looked up, nor stored.
        extractors: What computes the features; their names must differ.
        store: Where features are looked up, and stored chunk by chunk.
        n_threads: Threads that decode.
        progress: Called in the caller's thread with (photos done, photos to compute).
        limits: Sizes of the photos that are decoded.
        check_contents: Whether a file whose digest is not its image id any more is an error: it was replaced since,
            and features of the new image must not be stored under the old one's id.

    Returns:
        The features; photos that cannot be read keep their rows.

    Raises:
        FitError: If an extractor gives numbers that are not finite.
        ValueError: If arguments do not fit each other. Errors of an extractor are raised as they are.
    """
    names = [extractor.name for extractor in extractors]
    if len(photos) != len(image_ids):
        raise ValueError(f"{len(photos)} photos and {len(image_ids)} image ids, there should be as many")
    if len(set(names)) < len(names):
        raise ValueError(f"extractors are named {names}, their names should differ")
    features = {extractor.name: empty_features(len(photos), extractor) for extractor in extractors}
    decode_photo = partial(decoded, limits=limits)
    done, most = 0, FIRST_CHUNK
    with ExitStack() as stack:
        beside = ThreadPoolExecutor(n_threads, thread_name_prefix="beside")
        stack.callback(beside.shutdown, cancel_futures=True)
        keeper = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="keep"))
        collector = _Collector(extractors, features, store, keeper)
        for extractor in extractors:
            if isinstance(extractor, Openable) and (lacking := count_lacking(image_ids, extractor, store)):
                # Before others' features are fetched. What goes wrong there is raised by `extract`.
                beside.submit(extractor.open, min(lacking, CHUNK))
        tasks = find_tasks(photos, image_ids, extractors, features, store)
        prepare = partial(_prepare, decode_photo, check_contents, beside)
        stream = stack.enter_context(
            closing(
                prefetch(
                    prepare, tasks, n_threads=n_threads, ahead=AHEAD, name="decode", size=_Prepared.n_bytes
                )
            )
        )
        while chunk := _chunk(stream, most):
            collector.compute(chunk)
            done, most = done + len(chunk), min(2 * most, CHUNK)
            if progress is not None:
                progress(done, len(tasks))
        collector.finish()
    return ExtractionResult(
        features,
        dict(sorted(collector.errors.items())),
        collector.seconds,
        collector.decode_seconds,
        collector.n_computed,
    )


@dataclass
class _Prepared:
    """A decoded image, with what the extractors that use one core are computing of it, and their seconds."""

    task: ExtractionTask[Path | bytes]
    images: dict[int, NDArray[np.uint8]] = field(default_factory=dict)
    computing: dict[str, Future[tuple[NDArray[np.float32], float]]] = field(default_factory=dict)
    error: ImageError | None = None
    decode_seconds: float = 0.0

    def n_bytes(self) -> int:
        """Bytes of the decoded images."""
        return sum(image.nbytes for image in self.images.values())


class _Collector:
    """Runs the extractors on chunks of prepared photos, and puts features where they belong."""

    def __init__(
        self,
        extractors: Sequence[FeatureExtractor],
        features: Mapping[str, NDArray[np.float32]],
        store: FeatureStore | None,
        keeper: Executor,
    ) -> None:
        self.extractors = [each for each in extractors if not isinstance(each, SingleThreaded)]
        self.beside = [each for each in extractors if isinstance(each, SingleThreaded)]
        self.features = features
        self.store = store
        self.keeper = keeper
        self.kept: Future[None] | None = None
        self.errors: dict[int, ImageError] = {}
        self.decode_seconds = 0.0
        self.seconds = {extractor.name: 0.0 for extractor in extractors}
        self.n_computed = {extractor.name: 0 for extractor in extractors}

    def compute(self, chunk: Sequence[_Prepared]) -> None:
        """Compute what takes several cores, while the chunk before is kept."""
        for photo in chunk:
            self.decode_seconds += photo.decode_seconds
            if photo.error is not None:
                self.errors |= dict.fromkeys(photo.task.positions, photo.error)
                for array in self.features.values():
                    array[photo.task.positions] = np.nan
        readable = [photo for photo in chunk if photo.error is None]
        computed = []
        for extractor in self.extractors:
            photos = [photo for photo in readable if extractor in photo.task.lacking]
            if photos:
                images = [photo.images[_side(extractor)] for photo in photos]
                values, seconds = _timed(extractor, images)
                self.seconds[extractor.name] += seconds
                computed.append((extractor, [photo.task for photo in photos], values))
        for photo in readable:
            photo.images.clear()
        self.finish()
        self.kept = self.keeper.submit(self._keep_chunk, readable, computed)

    def finish(self) -> None:
        """Wait until all that was computed is kept."""
        if self.kept is not None:
            self.kept.result()

    def _keep_chunk(
        self,
        photos: Sequence[_Prepared],
        computed: Sequence[tuple[FeatureExtractor, list[ExtractionTask[Path | bytes]], NDArray[np.float32]]],
    ) -> None:
        for extractor, tasks, values in computed:
            self._keep(extractor, tasks, values)
        for extractor in self.beside:
            own = [photo for photo in photos if extractor in photo.task.lacking]
            if own:
                results = [photo.computing[extractor.name].result() for photo in own]
                self.seconds[extractor.name] += sum(seconds for _, seconds in results)
                values = np.concatenate([values for values, _ in results])
                self._keep(extractor, [photo.task for photo in own], values)

    def _keep(
        self,
        extractor: FeatureExtractor,
        tasks: Sequence[ExtractionTask[Path | bytes]],
        values: NDArray[np.float32],
    ) -> None:
        expected = (len(tasks), extractor.n_views, extractor.n_features)
        if values.shape != expected:
            raise ValueError(
                f"extractor {extractor.name} gave features of shape {values.shape}, not {expected}"
            )
        for task, value in zip(tasks, values, strict=True):
            if not np.isfinite(value).all():
                name = task.source if isinstance(task.source, Path) else "a photo"
                raise FitError(
                    f"feature extractor {extractor.name} gave numbers that are not finite for {name}; its "
                    "weights or its precision are at fault, try another precision or leave it out"
                )
            self.features[extractor.name][task.positions] = value
        self.n_computed[extractor.name] += len(tasks)
        if self.store is not None:
            known = [position for position, task in enumerate(tasks) if task.image_id]
            ids = [tasks[position].image_id for position in known]
            self.store.put_features(ids, extractor.fingerprint, values[known], extractor.metadata)


def _chunk(stream: Iterator[_Prepared], most: int) -> list[_Prepared]:
    """The next photos, fewer if they are large: features do not depend on what is computed together."""
    chunk: list[_Prepared] = []
    n_bytes = 0
    while len(chunk) < most and n_bytes < ROOM and (photo := next(stream, None)) is not None:
        chunk.append(photo)
        n_bytes += photo.n_bytes()
    return chunk


def _prepare(
    decode_photo: Callable[..., AbstractContextManager[Photo]],
    check_contents: bool,
    beside: Executor,
    task: ExtractionTask[Path | bytes],
) -> _Prepared:
    """Decode a photo at the sizes its extractors need, and let those that use one core begin."""
    prepared = _Prepared(task)
    started = time.perf_counter()
    try:
        prepared.images = _images(decode_photo, task)
        if check_contents and photo_digest(task.source) != task.image_id.partition(":")[0]:
            raise ImageError(ImageReason.CHANGED, "not the file that was scanned; run again")
    except ImageError as error:
        prepared.error = error
        return prepared
    finally:
        prepared.decode_seconds = time.perf_counter() - started
    for extractor in task.lacking:
        if isinstance(extractor, SingleThreaded):
            image = prepared.images[_side(extractor)]
            prepared.computing[extractor.name] = beside.submit(_timed, extractor, [image])
    return prepared


def _timed(
    extractor: FeatureExtractor, images: Sequence[NDArray[np.uint8]]
) -> tuple[NDArray[np.float32], float]:
    """The features of images, and the seconds that they took."""
    started = time.perf_counter()
    return extractor.extract(images), time.perf_counter() - started


def _images(
    decode_photo: Callable[..., AbstractContextManager[Photo]], task: ExtractionTask[Path | bytes]
) -> dict[int, NDArray[np.uint8]]:
    """The photo's pixels by decode side.

    A large photo is decoded once for each side that is needed: were the smaller image made from the larger one, an
    extractor's features would depend on which other extractors there are.
    """
    images: dict[int, NDArray[np.uint8]] = {}
    pixels: NDArray[np.uint8] | None = None
    for side in sorted({_side(extractor) for extractor in task.lacking}, reverse=True):
        if pixels is None or min(pixels.shape[:2]) >= 2 * side:
            pixels = None  # before the next one is decoded
            with decode_photo(task.source, at_least=side, before=partial(expect_reduced, side)) as photo:
                pixels = photo.pixels
                # What the decoder could not make smaller is reduced: a chunk of such photos would fill the memory.
                factor = min(pixels.shape[:2]) // side
                if factor > 1:
                    pixels = np.array(Image.fromarray(pixels).reduce(factor))
            del photo
        images[side] = pixels
    return images


def _side(extractor: FeatureExtractor) -> int:
    """Pixels of the shorter side at which photos are decoded for an extractor."""
    return decode_side(extractor.side, finely=extractor.metadata.get("transform") == TRANSFORM)
