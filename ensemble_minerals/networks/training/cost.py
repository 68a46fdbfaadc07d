"""Time that training a network takes, from single steps of each phase on random images."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ensemble_minerals.config.networks import AugmentConfig, NetworkConfig
from ensemble_minerals.networks.models.blocks import evaluating
from ensemble_minerals.networks.models.multi_head import build_network
from ensemble_minerals.networks.models.transforms import TrainTransform
from ensemble_minerals.networks.threads import torch_threads
from ensemble_minerals.networks.training.freezing import freeze
from ensemble_minerals.networks.training.prefix import n_last_blocks

_BATCH = 4


class TrainingCost(NamedTuple):
    """Seconds of a photo.

    Attributes:
        training: In all epochs of all phases, at most: early stopping may end them sooner.
        forward: In one pass through the whole network.
    """

    training: float
    forward: float


def measure_training(
    network: NetworkConfig, n_classes: int, *, device: str = "cpu", n_threads: int = 1
) -> TrainingCost:
    """Time a step of each phase with the layers that it trains, and a pass through those that are frozen.

    Weights and photos do not influence the time, so random ones are used. A photo's view is part of a pass on the
    CPU; beside a GPU other processes draw it.

    Args:
        network: The network that would be trained.
        n_classes: Number of classes.
        device: Where it runs.
        n_threads: Threads on the CPU.
    """
    with torch_threads(n_threads), torch.random.fork_rng(devices=[]):
        net, _ = build_network(network.model_copy(update={"weights": "random"}), [n_classes])
        net.to(device).train()
        images = torch.rand(_BATCH, 3, *net.size, device=device)
        photo = np.zeros((*net.size, 3), dtype=np.uint8)
        draw = TrainTransform(network.augment, net.size, network.resize, 0)
        drawing = _seconds(lambda: draw(photo, epoch=0, row=0), device) if device == "cpu" else 0.0
        forward = drawing + _seconds(partial(torch.inference_mode()(net.forward), images), device) / _BATCH
        training = 0.0
        for phase in network.phases:
            freeze(net, phase.train)
            n_last = n_last_blocks(net, phase.train) if network.prefix_views else None
            inputs, module, each_epoch = images, net, drawing
            if n_last is not None:
                prefix, module = net.split(n_last)
                with torch.no_grad(), evaluating(prefix):
                    inputs = prefix(images)
                    each_view = drawing + _seconds(partial(prefix, images[:1]), device)
                # Without augmentation all views of a photo are the same.
                n_views = 1 if network.augment == AugmentConfig() else network.prefix_views
                training += distinct_views(n_views, phase.epochs) * each_view
                each_epoch = 0.0
            module.train()
            # The optimizer's step, once a batch, takes little beside the passes of its photos.
            each_epoch += _seconds(partial(_train, module, inputs), device) / _BATCH
            training += phase.epochs * each_epoch
    return TrainingCost(training, forward)


def distinct_views(n_views: int, n_epochs: int) -> float:
    """How many of the kept views of a photo some epochs draw, in expectation: each draws one.

    Example:
        >>> [distinct_views(16, epochs) for epochs in (0, 1, 2)]
        [0.0, 1.0, 1.9375]
    """
    return n_views * (1 - (1 - 1 / n_views) ** n_epochs)


def _train(module: nn.Module, inputs: Tensor) -> None:
    module(inputs).square().mean().backward()


def _seconds(run: Callable[[], object], device: str) -> float:
    """Of the second of two runs."""
    for _ in range(2):
        started = time.perf_counter()
        run()
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)
        seconds = time.perf_counter() - started
    return seconds
