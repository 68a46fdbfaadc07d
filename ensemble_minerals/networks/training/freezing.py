"""Which layers a phase trains, and with which learning rate.

skorch's Freezer comes too late: it turns gradients off in the first epoch, when the optimizer already has all
parameters. It also leaves the statistics of batch normalization moving. So layers are frozen here, before a phase
begins.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

from torch import nn

from ensemble_minerals.config.networks import Layers, PhaseConfig
from ensemble_minerals.errors import ConfigError
from ensemble_minerals.networks.models.multi_head import MultiHeadNetwork, PartlyFrozenModule


def freeze(network: MultiHeadNetwork, train: Layers) -> None:
    """Freeze all layers but the trained ones; the head is always trained.

    A frozen layer has no gradients and stays in evaluation mode: no dropout, no stochastic depth, and its batch
    normalization keeps its statistics.

    Args:
        network: Changed in place.
        train: Trained layers, as in `PhaseConfig.train`.

    Raises:
        ConfigError: Names of layers that the network does not have, or more blocks than it has.
    """
    trained = trained_names(network, train)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in trained)
        parameter.grad = None  # gradient clipping would count one that an earlier phase left
    network.frozen = tuple(_frozen_parts(network))
    network.train(network.training)


def trained_names(network: MultiHeadNetwork, train: Layers) -> frozenset[str]:
    """Names of the trained parameters, see `freeze`."""
    head = network.head_names()
    body = [name for name, _ in network.named_parameters() if name not in head]
    if train == "all":
        return head.union(body)
    if train == "head":
        return head
    if isinstance(train, str):
        n_last = int(train.removeprefix("last:"))
        if n_last > network.blocks.n:
            raise ConfigError(
                [
                    f"phases: train: {train} asks for more than the {network.blocks.n} blocks of "
                    f"{type(network.body).__name__}; write all, or last:{network.blocks.n} at most"
                ]
            )
        return head.union(name for name in body if network.depth(name) > network.blocks.n - n_last)
    return head.union(*(_inside(network, layer, body) for layer in train))


def parameter_groups(network: MultiHeadNetwork, phase: PhaseConfig) -> list[dict[str, Any]]:
    """Parameter groups of the trained parameters for an optimizer, those of the head last.

    Biases and scales of normalization layers have no weight decay. The last block has the body's learning rate; each
    block before it has `layer_decay` times the rate of the next.
    """
    head = network.head_names()
    groups: dict[tuple[bool, int, bool], dict[str, Any]] = {}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        in_head, decays = name in head, parameter.ndim > 1
        steps = 0 if in_head or phase.layer_decay == 1.0 else network.blocks.n - network.depth(name)
        rate = phase.lr if in_head else (phase.body_lr or phase.lr) * phase.layer_decay**steps
        group = {
            "params": [],
            "lr": rate,
            "initial_lr": rate,
            "weight_decay": phase.weight_decay if decays else 0.0,
        }
        groups.setdefault((in_head, -steps, decays), group)["params"].append(parameter)
    return [groups[key] for key in sorted(groups)]


def changing_names(module: PartlyFrozenModule) -> frozenset[str]:
    """Names of the tensors in the state of a module that training may change."""
    frozen = {id(tensor) for part in module.frozen for tensor in part.buffers()}
    trained = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    buffers = {name for name, buffer in module.named_buffers() if id(buffer) not in frozen}
    return frozenset(trained | buffers) & frozenset(module.state_dict())


def _frozen_parts(module: nn.Module) -> Iterator[nn.Module]:
    """The largest parts that have parameters, none of which is trained."""
    for child in module.children():
        trained = [parameter.requires_grad for parameter in child.parameters()]
        if trained and not any(trained):
            yield child
        elif trained:
            yield from _frozen_parts(child)


def _inside(network: MultiHeadNetwork, layer: str, body: list[str]) -> list[str]:
    """Names of the body's parameters inside a layer."""
    path = f"body.{layer.removeprefix('body.')}"
    inside = [name for name in body if name == path or name.startswith(f"{path}.")]
    if not inside:
        known = [name for name, module in network.body.named_modules() if name and list(module.parameters())]
        near = difflib.get_close_matches(layer, known, n=3, cutoff=0.4) or known[:5]
        raise ConfigError(
            [
                f"phases: train: {type(network.body).__name__} has no layer {layer!r}; it has {', '.join(near)}, ..."
            ]
        )
    return inside
