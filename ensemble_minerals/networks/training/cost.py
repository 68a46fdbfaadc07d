"""Time that training a network takes, estimated from single steps on random images."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from ensemble_minerals.config.networks import NetworkConfig, PhaseConfig
from ensemble_minerals.networks.models.multi_head import build_network
from ensemble_minerals.networks.models.transforms import TrainTransform
from ensemble_minerals.networks.threads import torch_threads
from ensemble_minerals.networks.training.schedules import optimizer_of

_BATCH = 4


def training_seconds(network: NetworkConfig, n_classes: int, *, device: str = "cpu") -> tuple[float, float]:
    """Measure the seconds a photo takes in a forward pass and in a training step of all layers.

    Weights and photos do not influence the time, so random ones are used. The second of two rounds counts. A photo's
    view is part of both on the CPU; beside a GPU other processes draw it.

    Args:
        network: The network that would be trained.
        n_classes: Number of classes.
        device: Where it runs; on the CPU it runs on one thread.

    Returns:
        Seconds of the forward pass and of the training step.
    """
    with torch_threads(1), torch.random.fork_rng(devices=[]):
        net, _ = build_network(network.model_copy(update={"weights": "random"}), [n_classes])
        net.to(device).train().requires_grad_(True)
        kind, settings = optimizer_of(network.phases[-1])
        optimizer = kind([{"params": list(net.parameters()), "lr": 1e-9}], **settings)
        images = torch.rand(_BATCH, 3, *net.size, device=device)
        photo = np.zeros((*net.size, 3), dtype=np.uint8)
        draw = TrainTransform(network.augment, net.size, network.resize, 0)

        def forward() -> None:
            with torch.inference_mode():
                net(images)

        for _ in range(2):
            passed = _seconds(forward, device) / _BATCH
            trained = _seconds(lambda: net(images).square().mean().backward(), device) / _BATCH
            updated = _seconds(optimizer.step, device) / (network.batch_size * network.accumulate)
            drawn = _seconds(lambda: draw(photo, epoch=0, row=0), device) if device == "cpu" else 0.0
    return passed + drawn, max(trained, passed) + updated + drawn


def epoch_seconds(network: NetworkConfig, forward: float, step: float) -> float:
    """Estimate the seconds of each training photo over all phases, at most: early stopping may end them sooner.

    In an epoch, training the head alone takes a forward pass a photo. Training the last layers takes half of a
    backward pass more. With `prefix_views`, the forward pass of the frozen layers is paid once for each view.

    Args:
        network: Its phases.
        forward: Seconds of a forward pass of a photo.
        step: Seconds of a training step of all layers for a photo.

    Example:
        >>> network = NetworkConfig(name="a", model="b", phases=[{"train": "head", "epochs": 5}, {"epochs": 2}])
        >>> epoch_seconds(network, forward=1.0, step=3.0)
        11.0
    """
    cached = network.prefix_views > 0
    total = forward * network.prefix_views
    for phase in network.phases:
        total += phase.epochs * _photo_seconds(phase, forward, step, cached=cached)
    return total


def _photo_seconds(phase: PhaseConfig, forward: float, step: float, *, cached: bool) -> float:
    if phase.train == "all":
        return step
    if phase.train == "head":
        return 0.1 * forward if cached else forward
    return 0.5 * (step - forward) + (0.0 if cached else forward)


def _seconds(run: Callable[[], object], device: str) -> float:
    started = time.perf_counter()
    run()
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return time.perf_counter() - started
