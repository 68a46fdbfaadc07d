"""The order of a network's layers: which block each belongs to, and where it can be cut in two."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from timm.models._manipulate import group_with_matcher
from torch import Tensor, nn

from ensemble_minerals.errors import ConfigError

_CONTAINERS = ("blocks", "stages", "features")

MISMATCH_ERRORS = (RuntimeError, ValueError, TypeError, AttributeError, IndexError)
"""What halves raise that do not fit together, when they are tried."""


@dataclass(frozen=True)
class Blocks:
    """How deep in a network each of its tensors lies.

    Attributes:
        depth: Of each tensor, by its name in the state: 0 for the stem, 1 to `n` for the blocks. What follows the
            last block counts to it.
        n: Number of blocks.
    """

    depth: dict[str, int]
    n: int


def blocks_of(body: nn.Module) -> Blocks:
    """Find the blocks of a network, as timm groups its layers; else as its first sequence of layers does."""
    names = list(body.state_dict())
    if not hasattr(body, "group_matcher"):
        return _in_order(body, names)
    matcher: Any = body.group_matcher(coarse=False)  # type: ignore[operator]  # timm's
    found = group_with_matcher(((name, None) for name in names), matcher, reverse=True)
    if isinstance(matcher, dict):
        entries = [entry for entry in matcher.values() if entry is not None]
        patterns = [
            spec if isinstance(entry, str) else spec[0] for entry in entries for spec in _specs(entry)
        ]
        matched = [name for name in names if any(re.match(pattern, name) for pattern in patterns)]
    else:
        matched = names
    last = max((found[name] for name in matched), default=0)
    return Blocks({name: min(found[name], last) for name in names}, last)


def _specs(entry: Any) -> Any:
    return (entry,) if isinstance(entry, str) else entry


def _in_order(body: nn.Module, names: list[str]) -> Blocks:
    container = next((name for name in _CONTAINERS if isinstance(getattr(body, name, None), nn.Module)), "")
    parts = [name for name, _ in (body.get_submodule(container)).named_children()]
    prefixes = [f"{container}.{part}." if container else f"{part}." for part in parts]
    prefixes = [prefix for prefix in prefixes if any(name.startswith(prefix) for name in names)]
    depth, reached = {}, 0
    for name in names:
        reached = next((at for at, prefix in enumerate(prefixes, 1) if name.startswith(prefix)), reached)
        depth[name] = reached
    return Blocks(depth, len(prefixes))


def cut(body: nn.Module, n_last: int, example: Tensor) -> tuple[nn.Module, nn.Module]:
    """Cut a network in two before its last blocks; the halves share its layers.

    Layers before the cut become identities in one copy of the network's frame, those after it in the other, which
    is the same as cutting wherever a network is a sequence. Whether it was one is found out by trying.

    Args:
        body: A timm network.
        n_last: Blocks in the second half, at least 1.
        example: An input of the network.

    Returns:
        Two networks whose `forward_features`, one after the other, are that of `body`.

    Raises:
        ConfigError: It has not so many blocks, or is no sequence.
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
        called, whole = _calls(body, example)
        start = min((number for name, number in called.items() if name in late), default=0)
        early = {name for name, number in called.items() if number < start}
        front = _frame(body, "", called.keys() - early, called.keys())
        back = _frame(body, "", early, called.keys())
        if hasattr(body, "_pos_embed"):
            # A method of timm's transformers that is no layer: it belongs to the first half.
            back.__dict__["_pos_embed"] = _as_it_is
        try:
            halves = back.forward_features(front.forward_features(example))  # type: ignore[operator]  # timm's
            same = alike(halves, whole)
        except MISMATCH_ERRORS:
            same = False
    if not same:
        raise ConfigError(
            [
                f"{type(body).__name__} cannot be cut before its last {n_last} blocks, since its layers are not "
                "simply one after the other; set prefix_views to 0"
            ]
        )
    return front, back


def alike(one: Tensor, other: Tensor) -> bool:
    """Whether halves computed what the whole network does."""
    return one.shape == other.shape and torch.allclose(one, other, atol=1e-4, rtol=1e-4)


def _as_it_is(x: Tensor) -> Tensor:
    return x


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module to rest; its parts, which others may share, get their modes back."""
    modes = [(each, each.training) for each in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for each, mode in modes:
            each.training = mode


def _calls(body: nn.Module, example: Tensor) -> tuple[dict[str, int], Tensor]:
    """When each layer that computes by itself is first called, and the output."""
    called: dict[str, int] = {}
    handles = []
    for name, module in body.named_modules():
        computes = not list(module.children()) or list(module.parameters(recurse=False))
        if name and computes:

            def note(*_: Any, name: str = name) -> None:
                called.setdefault(name, len(called))

            handles.append(module.register_forward_pre_hook(note))
    try:
        features: Tensor = body.forward_features(example)  # type: ignore[operator]  # timm's
    finally:
        for handle in handles:
            handle.remove()
    return called, features


def _frame(module: nn.Module, prefix: str, without: set[str], called: Any) -> nn.Module:
    """A copy of a module that shares its layers, with an identity for each part that is all among those without."""
    frame = copy.copy(module)
    frame.__dict__["_modules"] = dict(module._modules)
    for name, child in module.named_children():
        path = f"{prefix}{name}"
        inside = {each for each in called if each == path or each.startswith(f"{path}.")}
        if inside and inside <= without:
            frame._modules[name] = nn.Identity()
        elif inside & without:
            frame._modules[name] = _frame(child, f"{path}.", without, called)
    return frame
