"""Work that threads do ahead of the caller, in order and a few items at a time, so that memory is bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import islice
from typing import TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


def prefetch(
    work: Callable[[ItemT], ResultT], items: Sequence[ItemT], *, n_threads: int, ahead: int, name: str
) -> Generator[ResultT, None, None]:
    """Work on items in threads, and yield the results in the order of the items.

    Closing the generator does not wait for items that were not begun. An error of an item is raised in its place.

    Args:
        work: Called in a thread with one item.
        items: All that is worked on.
        n_threads: Number of threads.
        ahead: Items that are worked on, or done, before their result is taken; at least 1.
        name: What the threads are called.

    Yields:
        The result of each item.

    Example:
        >>> list(prefetch(abs, [-1, 2, -3], n_threads=2, ahead=2, name="abs"))
        [1, 2, 3]
    """
    with ExitStack() as stack:
        pool = ThreadPoolExecutor(n_threads, thread_name_prefix=name)
        stack.callback(pool.shutdown, wait=True, cancel_futures=True)
        remaining = iter(items)
        waiting = deque(pool.submit(work, item) for item in islice(remaining, ahead))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(work, item) for item in islice(remaining, 1))
            yield result
