"""The blocks of a network, in order, and splitting a network between them."""

from __future__ import annotations

import copy
import re
from collections.abc import Collection, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from timm.models._manipulate import group_with_matcher
from torch import Tensor, nn

from ensemble_minerals.errors import ConfigError

_CONTAINERS = ("blocks", "stages", "features")

MISMATCH_ERRORS = (RuntimeError, ValueError, TypeError, AttributeError, IndexError)
"""Errors of two parts of a network that do not fit together."""


@dataclass(frozen=True)
class Blocks:
    """The block that each tensor of a network belongs to.

    Attributes:
        depth: Block of each tensor, by its name in the state: 0 for the stem, 1 to `n` for the blocks. Layers after
            the last block belong to it.
        n: Number of blocks.
    """

    depth: dict[str, int]
    n: int


def blocks_of(body: nn.Module) -> Blocks:
    """Find the blocks of a network: timm's groups of layers, or without those the entries of its main container.

    Example:
        >>> body = nn.ModuleDict({"stem": nn.Linear(2, 2), "blocks": nn.Sequential(nn.Linear(2, 2))})
        >>> blocks_of(body).depth
        {'stem.weight': 0, 'stem.bias': 0, 'blocks.0.weight': 1, 'blocks.0.bias': 1}
    """
    names = list(body.state_dict())
    if not hasattr(body, "group_matcher"):
        return _blocks_by_container(body, names)
    matcher: Any = body.group_matcher(coarse=False)  # type: ignore[operator]  # timm's
    groups = group_with_matcher(((name, None) for name in names), matcher, reverse=True)
    if isinstance(matcher, dict):
        entries = [entry for entry in matcher.values() if entry is not None]
        patterns = [
            spec if isinstance(entry, str) else spec[0] for entry in entries for spec in _specs(entry)
        ]
        matched = [name for name in names if any(re.match(pattern, name) for pattern in patterns)]
    else:
        matched = names
    last = max((groups[name] for name in matched), default=0)
    return Blocks({name: min(groups[name], last) for name in names}, last)


def _specs(entry: Any) -> Any:
    return (entry,) if isinstance(entry, str) else entry


def _blocks_by_container(body: nn.Module, names: list[str]) -> Blocks:
    """Blocks of a network without timm's groups: the children of `blocks`, `stages` or `features`, or its own."""
    container = next((name for name in _CONTAINERS if isinstance(getattr(body, name, None), nn.Module)), "")
    parts = [name for name, _ in (body.get_submodule(container)).named_children()]
    prefixes = [f"{container}.{part}." if container else f"{part}." for part in parts]
    prefixes = [prefix for prefix in prefixes if any(name.startswith(prefix) for name in names)]
    depth, reached = {}, 0
    for name in names:
        reached = next((at for at, prefix in enumerate(prefixes, 1) if name.startswith(prefix)), reached)
        depth[name] = reached
    return Blocks(depth, len(prefixes))


def split_body(body: nn.Module, n_last: int, example: Tensor) -> tuple[nn.Module, nn.Module]:
    """Split a network before its last blocks; both parts share its layers.

    The parts are two copies of the network. In the prefix the last blocks are replaced by identities, in the suffix
    all layers before them. For a network that is a sequence of layers this is the same as splitting it. Whether it is
    one is checked by running both parts.

    Args:
        body: A timm network.
        n_last: Number of blocks in the suffix, at least 1.
        example: An input of the network.

    Returns:
        Prefix and suffix; `forward_features` of one after the other is that of `body`.

    Raises:
        ConfigError: The network has fewer blocks, or is no sequence.
    """
    blocks = blocks_of(body)
    if not 0 < n_last <= blocks.n:
        raise ConfigError([f"last:{n_last}: {type(body).__name__} has {blocks.n} blocks"])
    late = {
        name.rpartition(".")[0]
        for name, depth in blocks.depth.items()
        if depth > blocks.n - n_last and "." in name
    }
    with evaluating(body), torch.no_grad():
        called, expected = _call_order(body, example)
        start = min((number for name, number in called.items() if name in late), default=0)
        early = {name for name, number in called.items() if number < start}
        prefix = _copy_without(called.keys() - early, body, called.keys())
        suffix = _copy_without(early, body, called.keys())
        if hasattr(body, "_pos_embed"):
            # A method, not a layer, of timm's transformers: it belongs to the prefix.
            suffix.__dict__["_pos_embed"] = _identity
        try:
            output = suffix.forward_features(prefix.forward_features(example))  # type: ignore[operator]  # timm's
            same = is_close(output, expected)
        except MISMATCH_ERRORS:
            same = False
    if not same:
        raise ConfigError(
            [
                f"{type(body).__name__} cannot be split before its last {n_last} blocks, since its layers are no "
                "simple sequence; set prefix_views to 0"
            ]
        )
    return prefix, suffix


def is_close(output: Tensor, expected: Tensor) -> bool:
    """Whether the parts of a network computed what the whole network computes."""
    return output.shape == expected.shape and torch.allclose(output, expected, atol=1e-4, rtol=1e-4)


def _identity(x: Tensor) -> Tensor:
    return x


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode, and at the end each of its parts back into its own mode."""
    modes = [(each, each.training) for each in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for each, mode in modes:
            each.training = mode


def _call_order(body: nn.Module, example: Tensor) -> tuple[dict[str, int], Tensor]:
    """Order in which layers that compute something are first called, and the output."""
    called: dict[str, int] = {}
    handles = []
    for name, module in body.named_modules():
        computes = not list(module.children()) or list(module.parameters(recurse=False))
        if name and computes:

            def record(*_: Any, name: str = name) -> None:
                called.setdefault(name, len(called))

            handles.append(module.register_forward_pre_hook(record))
    try:
        features: Tensor = body.forward_features(example)  # type: ignore[operator]  # timm's
    finally:
        for handle in handles:
            handle.remove()
    return called, features


def _copy_without(
    removed: Set[str], module: nn.Module, called: Collection[str], parent: str = ""
) -> nn.Module:
    """Copy of a module that shares its layers, with identities in place of the removed ones.

    Args:
        removed: Paths of the layers to remove.
        module: The module.
        called: Paths of all layers that compute something.
        parent: Path of the module, with a dot at the end.
    """
    copied = copy.copy(module)
    copied.__dict__["_modules"] = dict(module._modules)
    for name, child in module.named_children():
        path = f"{parent}{name}"
        inside = {each for each in called if each == path or each.startswith(f"{path}.")}
        if inside and inside <= removed:
            copied._modules[name] = nn.Identity()
        elif inside & removed:
            copied._modules[name] = _copy_without(removed, child, called, f"{path}.")
    return copied
