from __future__ import annotations

import torch

from ensemble_minerals.networks.threads import torch_threads


def test_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    with torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
