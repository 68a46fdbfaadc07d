"""Seconds that parts of a job take, by name."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Adds up the wall-clock time of named parts.

    Attributes:
        seconds: Time of each part so far, in the order in which the parts first ran.

    Example:
        >>> stopwatch = Stopwatch()
        >>> with stopwatch("scan"):
        ...     pass
        >>> list(stopwatch.seconds)
        ['scan']
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Add the time until the block ends to a part."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[part] = self.seconds.get(part, 0.0) + time.perf_counter() - started
