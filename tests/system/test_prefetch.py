"""Work ahead of the caller: results in order, no more than a few ahead, nothing begun after the end."""

from __future__ import annotations

import threading
import time

import pytest

from ensemble_minerals.system.prefetch import prefetch


def test_results_come_in_the_order_of_the_items():
    def slow_at_first(item):
        time.sleep(0.02 if item == 0 else 0)
        return item, threading.current_thread().name

    results = list(prefetch(slow_at_first, range(9), n_threads=3, ahead=4, name="worker"))
    assert [item for item, _ in results] == list(range(9))
    assert {name.partition("_")[0] for _, name in results} == {"worker"}
    assert list(prefetch(slow_at_first, [], n_threads=3, ahead=4, name="worker")) == []


def test_only_a_few_items_are_begun_ahead():
    begun = []
    results = prefetch(begun.append, range(20), n_threads=2, ahead=3, name="worker")
    for taken in range(1, 10):
        next(results)
        time.sleep(0.005)
        assert len(begun) <= taken + 3
    results.close()


def test_closing_does_not_begin_what_waits():
    begun, release = [], threading.Event()

    def blocks(item):
        begun.append(item)
        release.wait(10)

    results = prefetch(blocks, range(20), n_threads=1, ahead=5, name="worker")
    threading.Timer(0.02, release.set).start()
    next(results)
    results.close()
    assert len(begun) < 20


def test_an_error_comes_in_its_place():
    results = prefetch(lambda item: 1 // item, [1, 0, 1], n_threads=1, ahead=3, name="worker")
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
