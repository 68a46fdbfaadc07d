"""Estimates of training: what they count is what training does."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ensemble_minerals.networks.models.multi_head import MultiHeadNetwork
from ensemble_minerals.networks.training import cost
from ensemble_minerals.networks.training.cost import measure_training
from ensemble_minerals.networks.training.estimator import FineTunedNetwork
from ensemble_minerals.networks.training.prefix import ActivationCache

pytestmark = pytest.mark.usefixtures("one_thread")


def test_no_weights_are_loaded_and_random_numbers_stay(network_config):
    state = torch.get_rng_state()
    assert min(measure_training(network_config(weights="hub"), 3)) > 0
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("train", ["all", "head", "last:2"])
@pytest.mark.parametrize("prefix_views", [0, 8])
def test_the_estimate_counts_the_passes_that_training_makes(
    network_config, photos, monkeypatch, train, prefix_views
):
    config = network_config(
        {"train": train, "epochs": 5},
        prefix_views=prefix_views,
        augment={"horizontal_flip": True, "brightness": 0.2},
        validation_fraction=0.0,
    )
    made = {"frozen": 0, "trained": 0}
    compute, forward = ActivationCache._compute, MultiHeadNetwork.forward

    def computed(self, image):
        made["frozen"] += 1
        return compute(self, image)

    def passed(self, images):
        made["trained"] += len(images) if torch.is_grad_enabled() else 0
        return forward(self, images)

    monkeypatch.setattr(ActivationCache, "_compute", computed)
    monkeypatch.setattr(MultiHeadNetwork, "forward", passed)
    FineTunedNetwork(config, photos).fit(np.arange(36), np.arange(36) % 3)

    def seconds_of(is_counted):
        """Of a training in which a pass of one image takes a second, and all else nothing."""
        monkeypatch.setattr(cost, "_seconds", lambda run, _: float(is_counted(getattr(run, "func", None))))
        return 36 * measure_training(config, 3).training

    assert seconds_of(lambda run: run is cost._train) == pytest.approx(made["trained"] / cost._BATCH)
    frozen = seconds_of(lambda run: run not in (None, cost._train))
    assert frozen == pytest.approx(max(0, made["frozen"] - 1), rel=0.2)  # the first shows the shape
