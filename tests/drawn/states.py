"""States of networks, as a training might leave them."""

from __future__ import annotations

import numpy as np
import torch

from ensemble_minerals.networks.models.multi_head import build_network
from ensemble_minerals.networks.models.state import NetworkState
from ensemble_minerals.networks.training.callbacks import copy_tensors


def state(config, change, seed, n_outcomes=(3,)):
    """A state in which training changed the tensors whose names start so."""
    torch.manual_seed(seed)
    network, loaded = build_network(config, n_outcomes)
    start = copy_tensors(network, network.state_dict())
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.startswith(change) and tensor.is_floating_point():
                tensor.add_(0.05 * torch.rand_like(tensor))
    subproblems = [(f"decision {number}", count) for number, count in enumerate(n_outcomes)]
    n_outputs = sum(1 if count == 2 else count for count in n_outcomes)
    return NetworkState.of(
        network,
        network.state_dict(),
        start=start,
        config=config,
        loaded=loaded,
        subproblems=subproblems,
        shift=np.arange(n_outputs) + float(seed),
        precision="float32",
    )
