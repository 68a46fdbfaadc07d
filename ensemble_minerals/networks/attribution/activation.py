"""Class-activation maps: which places of a photo speak for a class.

The score that is explained depends on the photo through maps of channels, in one layer or several. A channel counts
with the mean of the score's gradient over its map, and a place with what the channels show there (Grad-CAM: Selvaraju
et al. 2017, ICCV; computed by Captum). Where features are means of maps and the score is affine in them, the places
of all layers add up to what these means contribute to the score.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from captum.attr import LayerGradCam
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ensemble_minerals.networks.models.taps import TappedNetwork, pool_taps

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ForwardPass:
    """One photo on its way through a network, with the place where its maps can be looked at.

    Attributes:
        module: From `inputs` to features of shape (n_views, n_features).
        inputs: What it is called with; their first dimension is the views.
        layer: A module inside it whose output, or each of several, is a map (n_views, channels, height, width).
        names: Of those maps.
        boxes: Shape (n_views, 4): left, top, right, bottom of what each view shows, in shares of the
            photo's width and height.
        mirrored: Shape (n_views,): which views are mirror images.
    """

    module: nn.Module
    inputs: tuple[Tensor, ...]
    layer: nn.Module
    names: tuple[str, ...]
    boxes: NDArray[np.float64]
    mirrored: NDArray[np.bool_]

    @torch.no_grad()
    def features(self) -> FloatArray:
        """Shape (n_views, n_features)."""
        found: FloatArray = self.module(*self.inputs).float().cpu().numpy()
        return found

    @torch.no_grad()
    def maps(self) -> dict[str, FloatArray]:
        """Of each layer by name, shape (n_views, channels, height, width)."""
        seen: list[Any] = []
        hook = self.layer.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
        try:
            self.module(*self.inputs)
        finally:
            hook.remove()
        return {
            name: each.float().cpu().numpy()
            for name, each in zip(self.names, _as_tuple(seen[0]), strict=True)
        }


class DetachedIdentity(nn.Module):
    """Hands on its inputs: a layer to look at where a network has none, and where gradients end."""

    def forward(self, *maps: Tensor) -> tuple[Tensor, ...]:
        """The inputs, of which whoever looks may ask gradients without changing them."""
        return tuple(each.detach() for each in maps)


class _Pooling(nn.Module):
    """The end of a tapped network, from maps to features; patches come as a map of their square grid."""

    def __init__(self, class_tokens: Sequence[Tensor | None], patches: Sequence[bool]) -> None:
        super().__init__()
        self.stop = DetachedIdentity()
        self._class_tokens, self._patches = class_tokens, patches

    def forward(self, *maps: Tensor) -> Tensor:
        seen = [
            each.flatten(2).transpose(1, 2) if patches else each
            for each, patches in zip(self.stop(*maps), self._patches, strict=True)
        ]
        return pool_taps(list(zip(seen, self._class_tokens, strict=True)))


@torch.no_grad()
def frozen_forward_pass(
    network: TappedNetwork,
    views: NDArray[np.uint8],
    boxes: NDArray[np.float64],
    mirrored: NDArray[np.bool_],
) -> ForwardPass:
    """Send the views of a photo through a frozen network, once; what depends on its maps is left to do.

    Class tokens have no place in the photo and stand still.

    Args:
        network: On the processor.
        views: Shape (n_views, size, size, 3).
        boxes: See `ForwardPass`.
        mirrored: See `ForwardPass`.
    """
    taps = [network.taps(torch.from_numpy(view[None])) for view in views]  # one at a time, as the engines do
    maps, class_tokens = [], []
    for layer in zip(*taps, strict=True):
        tokens = [token for _, token in layer if token is not None]
        class_tokens.append(torch.cat(tokens) if tokens else None)
        maps.append(torch.cat([seen for seen, _ in layer]))
    patches = [seen.ndim == 3 for seen in maps]
    pooling = _Pooling(class_tokens, patches)
    on_grids = tuple(patch_grid(seen) if seen.ndim == 3 else seen for seen in maps)
    return ForwardPass(pooling, on_grids, pooling.stop, tuple(network.layers), boxes, mirrored)


def patch_grid(patches: Tensor, aspect: float = 1.0) -> Tensor:
    """Patches, shape (n, patches, channels), as a map (n, channels, height, width).

    Args:
        patches: In rows from the top.
        aspect: Height of the picture over its width.
    """
    height = max(1, round(math.sqrt(patches.shape[1] * aspect)))
    grid: Tensor = patches.transpose(1, 2).reshape(len(patches), patches.shape[2], height, -1)
    return grid


@dataclass(frozen=True, eq=False)
class Activation:
    """What the places of a photo contribute to a score.

    Attributes:
        score: The score.
        channels: For each layer by name the contributions of every channel at every place, shape
            (n_views, channels, height, width).
    """

    score: float
    channels: Mapping[str, FloatArray]

    @property
    def layers(self) -> dict[str, FloatArray]:
        """For each layer the contribution of every place, shape (n_views, height, width)."""
        return {name: each.sum(1) for name, each in self.channels.items()}


def class_activation(passed: ForwardPass, score: Callable[[Tensor], Tensor], target: int) -> Activation:
    """Divide a score among the places of the maps.

    Args:
        passed: A photo in a network.
        score: From features (n_views, n_features) to scores (1, n_classes).
        target: Which of them.
    """
    scores: list[Tensor] = []

    def whole(*inputs: Tensor) -> Tensor:
        scores.append(score(passed.module(*inputs)))
        return scores[-1]

    found = LayerGradCam(whole, passed.layer).attribute(passed.inputs, target, attr_dim_summation=False)
    channels = [each.detach().float().cpu().numpy() for each in _as_tuple(found)]
    return Activation(float(scores[-1][0, target].detach()), dict(zip(passed.names, channels, strict=True)))


def on_photo(
    passed: ForwardPass, layers: Sequence[FloatArray], shape: tuple[int, int], *, grid: int = 32
) -> FloatArray:
    """Bring maps of views back to where they lie in the photo, and add them up.

    Args:
        passed: States what each view shows.
        layers: Contributions by layer, each (n_views, height, width).
        shape: Height and width of the answer, of the photo's shape.
        grid: Finer maps are first summed up to so many cells a side.

    Returns:
        The contribution of each pixel of the answer; what a view shows beyond the photo is left out.
    """
    height, width = shape
    left, top, right, bottom = torch.from_numpy(passed.boxes).float()[:, :, None].unbind(1)
    x = 2 * ((torch.arange(width) + 0.5) / width - left) / (right - left) - 1
    y = 2 * ((torch.arange(height) + 0.5) / height - top) / (bottom - top) - 1
    inside = (y.abs() <= 1)[:, :, None] & (x.abs() <= 1)[:, None, :]
    x = torch.where(torch.from_numpy(passed.mirrored)[:, None], -x, x)
    places = torch.stack([x[:, None, :].expand(-1, height, -1), y[:, :, None].expand(-1, -1, width)], dim=3)
    pixels = ((right - left) * width * (bottom - top) * height)[:, :, None]
    total = torch.zeros(len(passed.boxes), height, width)
    for contributions in layers:
        density = torch.from_numpy(contributions)[:, None] * math.prod(contributions.shape[1:])
        if max(density.shape[2:]) > grid:
            density = functional.adaptive_avg_pool2d(density, grid)
        drawn = functional.grid_sample(density, places, padding_mode="border", align_corners=False)[:, 0]
        total += torch.where(inside, drawn / pixels, 0.0)
    summed: FloatArray = total.sum(0).numpy()
    return summed


def _as_tuple(found: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
    return (found,) if isinstance(found, Tensor) else tuple(found)
