from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import timm
import torch
from torch import nn

from ensemble_minerals.errors import WeightsError
from ensemble_minerals.networks.models import timm_models


class SlowlyDrawn(nn.Module):
    """Lets other threads draw between its own random numbers."""

    def __init__(self) -> None:
        super().__init__()
        numbers = []
        for _ in range(4):
            numbers.append(torch.rand(1))
            time.sleep(0.01)
        self.numbers = torch.cat(numbers)


@pytest.mark.parametrize(("model", "size"), [("vit_7b_patch16_dinov3", 224), ("beit_base_patch16_224", 4096)])
def test_a_network_that_does_not_fit_into_the_memory_is_refused_before_it_is_built(monkeypatch, model, size):
    monkeypatch.setattr(timm_models, "total_memory", lambda: 4e9)
    with pytest.raises(
        WeightsError, match=rf"{model} for {size} px takes \d+ GB of memory, and there are 4.0 GB"
    ):
        timm_models.build(model, timm_models.pretrained_cfg(model), size, {})


def test_random_weights_are_the_same_whoever_builds_beside(monkeypatch):
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: SlowlyDrawn())
    cfg = timm_models.pretrained_cfg("test_resnet")

    def numbers(_: int) -> list[float]:
        return timm_models.build("test_resnet", cfg, 32, {}).numbers.tolist()

    alone, before = numbers(0), torch.get_rng_state()
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(numbers, range(3))) == [alone] * 3
    assert torch.equal(torch.get_rng_state(), before)
