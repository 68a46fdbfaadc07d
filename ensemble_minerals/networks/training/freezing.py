"""Which layers a phase trains, and how fast each of them.

skorch's Freezer turns gradients off at the first epoch, when the optimizer has long taken all parameters, and
knows nothing of the statistics of batch normalization; so layers are put to rest here, before a phase begins.
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
    """Let some layers learn and put all others to rest; the head always learns.

    A resting layer has no gradients and stays in evaluation mode: no dropout, no stochastic depth, and the
    statistics of its batch normalization do not move.

    Args:
        network: Changed in place.
        train: As in `PhaseConfig.train`.

    Raises:
        ConfigError: Names of layers it does not have, or more blocks than it has.
    """
    chosen = trained_names(network, train)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in chosen)
        parameter.grad = None  # of an earlier phase: clipping would count it
    network.frozen = tuple(_frozen_parts(network))
    network.train(network.training)


def trained_names(network: MultiHeadNetwork, train: Layers) -> frozenset[str]:
    """Names of the parameters that learn, see `freeze`."""
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
    """Groups of the learning parameters for an optimizer, the head's last.

    Biases and the scales of normalizations are left out of weight decay. The last block has the body's rate,
    each one further from the head the `layer_decay`-fold of the next.
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


def moving_names(module: PartlyFrozenModule) -> frozenset[str]:
    """Names of the tensors in the state of a module that training may change."""
    still = {id(tensor) for part in module.frozen for tensor in part.buffers()}
    learning = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    states = {name for name, buffer in module.named_buffers() if id(buffer) not in still}
    return frozenset(learning | states) & frozenset(module.state_dict())


def _frozen_parts(module: nn.Module) -> Iterator[nn.Module]:
    """The largest parts that have parameters, none of which learns."""
    for child in module.children():
        learning = [parameter.requires_grad for parameter in child.parameters()]
        if learning and not any(learning):
            yield child
        elif learning:
            yield from _frozen_parts(child)


def _inside(network: MultiHeadNetwork, layer: str, body: list[str]) -> list[str]:
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
