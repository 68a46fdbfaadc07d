from __future__ import annotations

import pytest
import torch

from ensemble_minerals.networks.training.cost import epoch_seconds, training_seconds

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_training_step_takes_no_less_than_a_forward_pass_and_random_numbers_stay(network_config):
    state = torch.get_rng_state()
    forward, step = training_seconds(network_config(weights="hub"), 3)  # no weights are loaded
    assert 0 < forward <= step
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("phase", "prefix_views", "expected"),
    [
        ({"train": "all", "epochs": 3}, 0, 3 * 5.0),
        ({"train": "head", "epochs": 3}, 0, 3 * 1.0),
        ({"train": "last:2", "epochs": 3}, 0, 3 * (1.0 + 0.5 * 4.0)),
        # Each of the four views of a photo passes through the frozen layers once.
        ({"train": "head", "epochs": 30}, 4, 4 * 1.0 + 30 * 0.1),
        ({"train": "last:2", "epochs": 30}, 4, 4 * 1.0 + 30 * 0.5 * 4.0),
    ],
)
def test_a_phase_costs_the_layers_that_it_trains(network_config, phase, prefix_views, expected):
    config = network_config(phase, prefix_views=prefix_views)
    assert epoch_seconds(config, forward=1.0, step=5.0) == pytest.approx(expected)
