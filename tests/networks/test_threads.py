from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from ensemble_minerals.networks.threads import torch_threads


@pytest.fixture
def three() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three")
def test_what_was_held_around_comes_back() -> None:
    with torch_threads(2):
        with torch_threads(1):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("three")
def test_threads_that_overlap_keep_their_number_and_restore_the_first() -> None:
    seen: list[int] = []
    first_in, second_in, second_out = threading.Event(), threading.Event(), threading.Event()

    def outlasting() -> None:
        first_in.wait(30)
        with torch_threads(1):
            second_in.set()
            second_out.wait(30)
            seen.append(torch.get_num_threads())
        seen.append(torch.get_num_threads())

    def short() -> None:
        with torch_threads(1):
            first_in.set()
            second_in.wait(30)
        seen.append(torch.get_num_threads())
        second_out.set()

    workers = [threading.Thread(target=work) for work in (outlasting, short)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert seen == [3, 1, 3]
    assert torch.get_num_threads() == 3
