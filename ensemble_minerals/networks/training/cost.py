"""What training a network costs, from one step of it on random pictures."""

from __future__ import annotations

import time

import torch

from ensemble_minerals.config.networks import NetworkConfig, PhaseConfig
from ensemble_minerals.networks.models.multi_head import build_network
from ensemble_minerals.networks.threads import torch_threads

_BATCH = 4


def training_seconds(network: NetworkConfig, n_classes: int, *, device: str = "cpu") -> tuple[float, float]:
    """Seconds that a photo takes, once forward and once for a training step of all layers, on one core or a GPU.

    Neither the weights nor photos are needed: numbers do not decide the time. Of two rounds the second counts.

    Args:
        network: What would be trained.
        n_classes: Outputs.
        device: Where.
    """
    with torch_threads(1), torch.random.fork_rng(devices=[]):
        net, _ = build_network(network.model_copy(update={"weights": "random"}), [n_classes])
        net.to(device).train().requires_grad_(True)
        images = torch.rand(_BATCH, 3, *net.size, device=device)
        for _ in range(2):
            forward = _seconds(net, images, step=False)
            step = _seconds(net, images, step=True)
    return forward / _BATCH, max(step, forward) / _BATCH


def epoch_seconds(network: NetworkConfig, forward: float, step: float) -> float:
    """Seconds for each training photo over all phases, at most: early stopping may end them sooner.

    A phase that trains the head alone takes a forward pass a photo, one that trains the last layers half of a whole
    step besides; where views of the resting layers are kept, the passes through those are paid once for each view.

    Args:
        network: Its phases.
        forward: Seconds of a forward pass of a photo.
        step: Seconds of a training step of all layers for a photo.
    """
    kept = network.prefix_views > 0
    total = forward * network.prefix_views
    for phase in network.phases:
        total += phase.epochs * _photo_seconds(phase, forward, step, kept=kept)
    return total


def _photo_seconds(phase: PhaseConfig, forward: float, step: float, *, kept: bool) -> float:
    if phase.train == "all":
        return step
    if phase.train == "head":
        return 0.1 * forward if kept else forward
    return 0.5 * (step - forward) + (0.0 if kept else forward)


def _seconds(network: torch.nn.Module, images: torch.Tensor, *, step: bool) -> float:
    started = time.perf_counter()
    if step:
        network(images).square().mean().backward()
    else:
        with torch.inference_mode():
            network(images)
    if images.device.type == "cuda":
        torch.cuda.synchronize(images.device)
    return time.perf_counter() - started
