"""Work ahead of the caller: results in order, no more than a few ahead, nothing begun after the end."""

from __future__ import annotations

import threading
import time

import pytest

from ensemble_minerals.system.prefetch import ROOM, expect, prefetch


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


def test_large_results_that_are_announced_have_room_before_they_are_made():
    made, most, lock = [0], [0], threading.Lock()

    def work(item):
        expect(ROOM // 4)
        expect(ROOM // 4)
        with lock:
            made[0] += 1
            most[0] = max(most[0], made[0])
        time.sleep(0.005)
        return item

    for _ in prefetch(work, range(30), n_threads=8, ahead=20, name="worker", size=lambda item: ROOM // 2):
        with lock:
            made[0] -= 1
    assert 2 <= most[0] <= 4  # two have room, one goes in its turn, one has just been taken


@pytest.mark.parametrize("n_threads", [1, 8])
def test_of_large_results_few_wait(n_threads):
    """Photos of extreme proportions stay large when they are reduced."""
    waiting, most, lock = [0], [0], threading.Lock()

    def work(item):
        with lock:
            waiting[0] += 1
            most[0] = max(most[0], waiting[0])
        return item

    results = prefetch(
        work, range(60), n_threads=n_threads, ahead=30, name="worker", size=lambda item: ROOM // 3
    )
    for number, result in enumerate(results):
        time.sleep(0.002)
        assert result == number
        with lock:
            waiting[0] -= 1
        if number == 20:
            most[0] = 0  # a first round does not know yet how large they are
    assert most[0] <= 5  # three that fit, the one whose turn it is, and the one that is taken


def test_a_result_above_all_room_does_not_block():
    sizes = {0: 1, 1: 5 * ROOM, 2: 1, 3: 7 * ROOM, 4: ROOM}
    results = prefetch(abs, [*sizes], n_threads=3, ahead=4, name="worker", size=sizes.__getitem__)
    assert list(results) == [*sizes]


def test_closing_wakes_those_who_wait_for_room():
    results = prefetch(abs, range(50), n_threads=4, ahead=20, name="waiting", size=lambda item: ROOM)
    next(results)
    time.sleep(0.01)
    results.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("waiting")]


def test_an_error_comes_in_its_place():
    results = prefetch(lambda item: 1 // item, [1, 0, 1], n_threads=1, ahead=3, name="worker")
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
