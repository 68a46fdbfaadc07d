"""Checks of a network before its training, so that nothing fails after an hour."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

import torch

from ensemble_minerals.config.networks import NetworkConfig
from ensemble_minerals.errors import ConfigError
from ensemble_minerals.networks.models.multi_head import build_network
from ensemble_minerals.networks.training.prefix import n_last_blocks


def check_network(config: NetworkConfig) -> None:
    """Build a network once and check that each of its phases can be trained.

    Raises:
        WeightsError: Unknown model, or weights that cannot be loaded.
        ConfigError: A head whose settings contradict each other, layers that the network does not have, or a block
            before which it cannot be split although `prefix_views` wants that; or event files for TensorBoard, which
            is not installed.
    """
    if config.tensorboard is not None and importlib.util.find_spec("tensorboard") is None:
        raise ConfigError(
            [
                f"network {config.name!r}: tensorboard needs a package: "
                "`pip install 'ensemble-minerals[tensorboard]'`, or leave the key out"
            ]
        )
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        network, _ = build_network(config, (2,))
        for phase in config.phases:
            n_last = n_last_blocks(network, phase.train)
            if config.prefix_views and n_last is not None:
                prefix, _ = network.eval().split(n_last)
                check_mixing(config, prefix(torch.rand(1, 3, *network.size)).shape[1:])


def check_mixing(config: NetworkConfig, shape: Sequence[int]) -> None:
    """Check that cached activations of this shape can be mixed as configured.

    Raises:
        ConfigError: CutMix needs maps (channels, height, width), and these are vectors.
    """
    if config.cutmix and len(shape) != 3:
        raise ConfigError(
            [
                f"network {config.name!r}: cutmix mixes feature maps, but prefix_views caches vectors for its head; "
                "set cutmix or prefix_views to 0"
            ]
        )
