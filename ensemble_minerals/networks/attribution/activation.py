"""Class-activation maps: which parts of a photo speak for a class.

The explained score depends on the photo through feature maps, of one layer or of several. The weight of a channel is
the mean gradient of the score over its map; the contribution of a position is the weighted sum of its channels
(Grad-CAM: Selvaraju et al. 2017, ICCV; computed by Captum). If features are means of maps and the score is affine in
them, the contributions of all positions add up to what these means contribute to the score.
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
    """The forward pass of one photo through a network, with access to its feature maps.

    Attributes:
        module: From `inputs` to features of shape (n_views, n_features).
        inputs: Inputs of the module; their first dimension is the views.
        layer: A layer of the module that returns a map (n_views, channels, height, width), or several.
        names: Names of these maps.
        boxes: Left, top, right and bottom of the part of the photo that each view shows, in shares of its width and
            height, shape (n_views, 4).
        mirrored: Which views are mirror images, shape (n_views,).
    """

    module: nn.Module
    inputs: tuple[Tensor, ...]
    layer: nn.Module
    names: tuple[str, ...]
    boxes: NDArray[np.float64]
    mirrored: NDArray[np.bool_]

    @torch.no_grad()
    def features(self) -> FloatArray:
        """Features of the photo, shape (n_views, n_features)."""
        features: FloatArray = self.module(*self.inputs).float().cpu().numpy()
        return features

    @torch.no_grad()
    def maps(self) -> dict[str, FloatArray]:
        """Maps by name, each of shape (n_views, channels, height, width)."""
        outputs: list[Any] = []
        hook = self.layer.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
        try:
            self.module(*self.inputs)
        finally:
            hook.remove()
        return {
            name: each.float().cpu().numpy()
            for name, each in zip(self.names, _as_tuple(outputs[0]), strict=True)
        }


class DetachedIdentity(nn.Module):
    """Returns its inputs, detached: a layer whose outputs are the maps, and at which gradients end."""

    def forward(self, *maps: Tensor) -> tuple[Tensor, ...]:
        """The inputs, detached, so that gradients can be taken without changing the inputs."""
        return tuple(each.detach() for each in maps)


class _Pooling(nn.Module):
    """The pooling of a tapped network, from maps to features; patches are given as a map of their square grid."""

    def __init__(
        self, class_tokens: Sequence[Tensor | None], are_patches: Sequence[bool], covariances: int
    ) -> None:
        super().__init__()
        self.maps = DetachedIdentity()
        self._class_tokens, self._are_patches = class_tokens, are_patches
        self._covariances = covariances

    def forward(self, *maps: Tensor) -> Tensor:
        outputs = [
            each.flatten(2).transpose(1, 2) if are_patches else each
            for each, are_patches in zip(self.maps(*maps), self._are_patches, strict=True)
        ]
        return pool_taps(list(zip(outputs, self._class_tokens, strict=True)), self._covariances)


@torch.no_grad()
def frozen_forward_pass(
    network: TappedNetwork,
    views: NDArray[np.uint8],
    boxes: NDArray[np.float64],
    mirrored: NDArray[np.bool_],
) -> ForwardPass:
    """Compute the maps of a photo's views in a frozen network, once; the forward pass then starts from these.

    Class tokens belong to no position of the photo, so they are constants.

    Args:
        network: The network, on the CPU.
        views: Shape (n_views, size, size, 3).
        boxes: See `ForwardPass`.
        mirrored: See `ForwardPass`.
    """
    taps = [network.taps(torch.from_numpy(view[None])) for view in views]  # one at a time, as the engines do
    maps, class_tokens = [], []
    for layer in zip(*taps, strict=True):
        tokens = [token for _, token in layer if token is not None]
        class_tokens.append(torch.cat(tokens) if tokens else None)
        maps.append(torch.cat([output for output, _ in layer]))
    pooling = _Pooling(class_tokens, [each.ndim == 3 for each in maps], network.covariances)
    grids = tuple(patch_grid(each) if each.ndim == 3 else each for each in maps)
    return ForwardPass(pooling, grids, pooling.maps, tuple(network.layers), boxes, mirrored)


def patch_grid(patches: Tensor, aspect: float = 1.0) -> Tensor:
    """Patches as a map (n, channels, height, width).

    Args:
        patches: Shape (n, patches, channels), row by row from the top.
        aspect: Height of the image divided by its width.

    Example:
        >>> patch_grid(torch.zeros(1, 8, 5), aspect=0.5).shape
        torch.Size([1, 5, 2, 4])
    """
    height = max(1, round(math.sqrt(patches.shape[1] * aspect)))
    grid: Tensor = patches.transpose(1, 2).reshape(len(patches), patches.shape[2], height, -1)
    return grid


@dataclass(frozen=True, eq=False)
class Activation:
    """Contributions of the positions of a photo to a score.

    Attributes:
        score: The score.
        channels: Contributions of every channel at every position, by the name of the layer, each of shape
            (n_views, channels, height, width).
    """

    score: float
    channels: Mapping[str, FloatArray]

    @property
    def layers(self) -> dict[str, FloatArray]:
        """Contributions of every position, by the name of the layer, each of shape (n_views, height, width)."""
        return {name: each.sum(1) for name, each in self.channels.items()}


def class_activation(passed: ForwardPass, score: Callable[[Tensor], Tensor], target: int) -> Activation:
    """Attribute a score to the positions of the maps.

    Args:
        passed: The forward pass of a photo.
        score: From features (n_views, n_features) to scores (1, n_classes).
        target: Number of the score that is explained.
    """
    scores: list[Tensor] = []

    def score_of_inputs(*inputs: Tensor) -> Tensor:
        scores.append(score(passed.module(*inputs)))
        return scores[-1]

    grad_cam = LayerGradCam(score_of_inputs, passed.layer)
    attributions = grad_cam.attribute(passed.inputs, target, attr_dim_summation=False)
    channels = [each.detach().float().cpu().numpy() for each in _as_tuple(attributions)]
    return Activation(float(scores[-1][0, target].detach()), dict(zip(passed.names, channels, strict=True)))


def on_photo(
    passed: ForwardPass, layers: Sequence[FloatArray], shape: tuple[int, int], *, grid: int = 32
) -> FloatArray:
    """Project maps of views back to the photo, and add them up.

    Args:
        passed: The forward pass; it knows which part of the photo each view shows.
        layers: Contributions by layer, each of shape (n_views, height, width).
        shape: Height and width of the result, with the photo's aspect ratio.
        grid: Largest number of cells a side; finer maps are first pooled.

    Returns:
        The contribution of each pixel of the result. Contributions beyond the photo, from padded views, are left out.
    """
    height, width = shape
    left, top, right, bottom = torch.from_numpy(passed.boxes).float()[:, :, None].unbind(1)
    x = 2 * ((torch.arange(width) + 0.5) / width - left) / (right - left) - 1
    y = 2 * ((torch.arange(height) + 0.5) / height - top) / (bottom - top) - 1
    inside = (y.abs() <= 1)[:, :, None] & (x.abs() <= 1)[:, None, :]
    x = torch.where(torch.from_numpy(passed.mirrored)[:, None], -x, x)
    positions = torch.stack(
        [x[:, None, :].expand(-1, height, -1), y[:, :, None].expand(-1, -1, width)], dim=3
    )
    pixels = ((right - left) * width * (bottom - top) * height)[:, :, None]
    total = torch.zeros(len(passed.boxes), height, width)
    for contributions in layers:
        density = torch.from_numpy(contributions)[:, None] * math.prod(contributions.shape[1:])
        if max(density.shape[2:]) > grid:
            density = functional.adaptive_avg_pool2d(density, grid)
        drawn = functional.grid_sample(density, positions, padding_mode="border", align_corners=False)[:, 0]
        total += torch.where(inside, drawn / pixels, 0.0)
    summed: FloatArray = total.sum(0).numpy()
    return summed


def _as_tuple(tensors: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
    return (tensors,) if isinstance(tensors, Tensor) else tuple(tensors)
