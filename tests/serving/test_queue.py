"""Photos of many requests are answered in two batches at a time, of about one size."""

from __future__ import annotations

import threading
import time

from ensemble_minerals.serving.limits import ServingLimits
from ensemble_minerals.serving.queue import PhotoQueue


class Gated:
    """Answers a batch each time it is let to, with nothing."""

    def __init__(self):
        self.batches, self.gate = [], threading.Semaphore(0)

    def predict_photos(self, photos, names, *, sets):
        self.batches.append(len(photos))
        assert self.gate.acquire(timeout=20)
        return self

    def take(self, rows):
        return rows


def test_a_batch_takes_half_of_what_waits():
    gated = Gated()
    queue = PhotoQueue(gated, ServingLimits())
    queue._seconds = 10.0  # a photo takes long: batches are patient

    def begins(n_batches):
        until = time.monotonic() + 20
        while len(gated.batches) < n_batches:
            assert time.monotonic() < until
            time.sleep(0.002)

    answers = []

    def submit(n_photos):
        answers.extend(queue.submit([b""], ["a.jpg"], None) for _ in range(n_photos))

    for n_batches in (1, 2):  # cores are idle: nobody waits for company
        submit(1)
        begins(n_batches)
    submit(6)
    gated.gate.release()
    begins(3)
    assert gated.batches == [1, 1, 4]  # one is being answered, six wait
    gated.gate.release()
    answers[1].result(20)
    submit(2)  # whose photos were answered come again, and join the two that wait
    begins(4)
    assert gated.batches == [1, 1, 4, 4]
    gated.gate.release(2)
    for answer in answers:
        assert answer.result(20) is not None
    queue.close()
