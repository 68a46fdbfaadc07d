"""The queue of photos: requests in flight are gathered into batches, of which two are answered at a time.

While the networks look at one batch, the photos of the other are decoded: else cores would be idle between batches.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue

from ensemble_minerals.prediction.photo_predictor import PhotoPredictor
from ensemble_minerals.prediction.table import Predictions
from ensemble_minerals.serving.limits import ServingLimits
from ensemble_minerals.serving.problems import too_busy
from ensemble_minerals.system.stopwatch import Stopwatch

_FIRST_GUESS = 0.1
"""Seconds a photo, until some were answered."""

_AT_ONCE = 2
"""Batches that are answered at a time."""

_POLL = 0.002
"""Seconds after which a batch that waits for photos looks whether that is still worth it."""

_MEMORY = 0.9
"""Weight of the photos before in the mean time of a photo."""


@dataclass(frozen=True)
class _Job:
    """The photos of one request."""

    photos: Sequence[bytes]
    names: Sequence[Path]
    sets: float | None
    answer: Future[Predictions] = field(default_factory=Future)


class PhotoQueue:
    """Photos that wait for their answers.

    Args:
        predictor: Answers; `_AT_ONCE` threads call it.
        limits: Most photos that wait, and that are answered together.
    """

    def __init__(self, predictor: PhotoPredictor, limits: ServingLimits) -> None:
        self._predictor = predictor
        self._limits = limits
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._waiting = 0
        self._busy = 0
        self._seconds = _FIRST_GUESS
        self._threads = [
            threading.Thread(target=self._work, name=f"answer-{k}", daemon=True) for k in range(_AT_ONCE)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Photos that are not answered yet."""
        return self._waiting

    @property
    def is_alive(self) -> bool:
        """Whether photos are answered."""
        return all(thread.is_alive() for thread in self._threads)

    def submit(
        self, photos: Sequence[bytes], names: Sequence[str], sets: float | None
    ) -> Future[Predictions]:
        """Let photos be answered.

        Raises:
            ProblemError: If too many are waiting, or so many that the answer would come too late.
        """
        with self._lock:
            waiting = self._waiting + len(photos)
            late = waiting * self._seconds > self._limits.answer_seconds
            if self._waiting and (late or waiting > self._limits.waiting_photos):
                raise too_busy(self._waiting * self._seconds)
            self._waiting += len(photos)
        job = _Job(photos, [Path(name) for name in names], sets)
        self._jobs.put(job)
        return job.answer

    def close(self) -> None:
        """Answer what waits, and end."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            batch, n_photos, last = self._gather(job)
            with self._lock:
                self._busy += 1
            self._answer(batch)
            with self._lock:
                self._busy -= 1
                self._waiting -= n_photos
            if last:
                return

    def _gather(self, first: _Job) -> tuple[list[_Job], int, bool]:
        """A batch that begins with a job: its jobs and photos, and whether it is the last.

        It is half of what waits, for the other thread to take as much. While that thread keeps the cores busy, a
        batch waits for the time of a photo to become so large: small ones take longer a photo.
        """
        batch, n_photos = [first], len(first.photos)
        until = time.monotonic() + self._seconds
        while _AT_ONCE * n_photos < self._waiting and n_photos < self._limits.batch_photos:
            patient = self._busy > 0 and time.monotonic() < until
            try:
                following = self._jobs.get(timeout=_POLL if patient else 0.0)
            except Empty:
                if patient:
                    continue
                break
            if following is None:
                return batch, n_photos, True
            batch.append(following)
            n_photos += len(following.photos)
        return batch, n_photos, False

    def _answer(self, batch: Sequence[_Job]) -> None:
        wanted = [job for job in batch if job.answer.set_running_or_notify_cancel()]
        for sets in dict.fromkeys(job.sets for job in wanted):
            jobs = [job for job in wanted if job.sets == sets]
            photos = [photo for job in jobs for photo in job.photos]
            stopwatch = Stopwatch()
            try:
                with stopwatch("answer"):
                    found = self._predictor.predict_photos(
                        photos, [name for job in jobs for name in job.names], sets=sets
                    )
            except Exception as error:  # whatever it is, those who wait are told
                for job in jobs:
                    job.answer.set_exception(error)
                continue
            seconds = stopwatch.seconds["answer"] / len(photos) / self._busy
            self._seconds = _MEMORY * self._seconds + (1 - _MEMORY) * seconds
            start = 0
            for job in jobs:
                job.answer.set_result(found.take(slice(start, start + len(job.photos))))
                start += len(job.photos)
