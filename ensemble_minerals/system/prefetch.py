"""Work that threads do ahead of the caller, in order and a few items at a time, so that memory is bounded."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from functools import partial
from itertools import islice
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

ROOM = 128_000_000
"""Bytes of results that may wait to be taken; those of a single item may take more."""


_expect: ContextVar[Callable[[int], object]] = ContextVar("expect", default=lambda n_bytes: None)


def expect(n_bytes: int) -> None:
    """For work of `prefetch`, before it takes memory: wait until a result of so many bytes has room."""
    _expect.get()(n_bytes)


def prefetch(
    work: Callable[[ItemT], ResultT],
    items: Sequence[ItemT],
    *,
    n_threads: int,
    ahead: int,
    name: str,
    size: Callable[[ResultT], int] = lambda result: 0,
) -> Generator[ResultT, None, None]:
    """Work on items in threads, and yield the results in the order of the items.

    Closing the generator does not wait for items that were not begun. An error of an item is raised in its place.

    Args:
        work: Called in a thread with one item.
        items: All that is worked on.
        n_threads: Number of threads.
        ahead: Items that are worked on, or done, before their result is taken; at least 1.
        name: What the threads are called.
        size: Bytes of a result. Of large results fewer are worked on ahead, so that about `ROOM` bytes wait.

    Yields:
        The result of each item.

    Example:
        >>> list(prefetch(abs, [-1, 2, -3], n_threads=2, ahead=2, name="abs"))
        [1, 2, 3]
    """
    room = _Room(size)

    def bounded(numbered: tuple[int, ItemT]) -> ResultT:
        with room.for_item(numbered[0]) as keep:
            _expect.set(partial(room.expect, numbered[0]))
            result = work(numbered[1])
            keep(result)
        return result

    with ExitStack() as stack:
        pool = ThreadPoolExecutor(n_threads, thread_name_prefix=name)
        stack.callback(pool.shutdown, wait=True, cancel_futures=True)
        stack.callback(room.close)
        remaining = enumerate(items)
        waiting = deque(pool.submit(bounded, item) for item in islice(remaining, ahead))
        while waiting:
            result = waiting.popleft().result()
            room.taken(result)
            waiting.extend(pool.submit(bounded, item) for item in islice(remaining, 1))
            yield result


class _Room(Generic[ResultT]):
    """Lets threads begin items while the results that wait, and those to be expected, fit into `ROOM`."""

    def __init__(self, size: Callable[[ResultT], int]) -> None:
        self._size = size
        self._changed = threading.Condition()
        self._n_taken, self._n_running, self._held, self._largest = 0, 0, 0, 0
        self._announced: dict[int, int] = {}  # bytes of results of running items
        self._closed = False

    @contextmanager
    def for_item(self, number: int) -> Iterator[Callable[[ResultT], None]]:
        """Wait for room; the item whose turn it is goes in any case, so that nobody waits for ever."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or number == self._n_taken or self._expected + self._largest <= ROOM
            )
            self._n_running += 1
        n_bytes = 0

        def keep(result: ResultT) -> None:
            nonlocal n_bytes
            n_bytes = self._size(result)

        try:
            yield keep
        finally:
            with self._changed:
                self._n_running -= 1
                self._announced.pop(number, None)
                self._held += n_bytes
                self._largest = max(self._largest, n_bytes)
                self._changed.notify_all()

    def expect(self, number: int, n_bytes: int) -> None:
        """Wait until the result of a running item has room, unless it is its turn."""
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self._closed
                    or number == self._n_taken
                    or self._held + sum(self._announced.values()) + n_bytes <= ROOM
                )
            )
            self._announced[number] = self._announced.get(number, 0) + n_bytes

    @property
    def _expected(self) -> int:
        unknown = self._n_running - len(self._announced)
        return self._held + sum(self._announced.values()) + unknown * self._largest

    def taken(self, result: ResultT) -> None:
        """A result is with the caller now."""
        with self._changed:
            self._held -= self._size(result)
            self._n_taken += 1
            self._changed.notify_all()

    def close(self) -> None:
        """Let everybody in."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
