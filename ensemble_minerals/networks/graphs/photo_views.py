"""The views of a photo as a torch module of matrix products, so that a graph takes photos of any size.

Resampling is a weighted mean along each axis, that is, two matrix products. The weights follow from the photo's
height and width by elementary operations that every runtime has. Few runtimes have an operator for antialiased
resizing, and none of them crops between pixels. Values stay in floating point, where OpenCV and Pillow round to
integers after each step.

`predict` reads a large JPEG at 1/2, 1/4 or 1/8 of its size, in which each pixel is the mean of a square of pixels.
The same means are part of the weights, so that a graph which is given the whole photo sees what `predict` sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ensemble_minerals.data.views import CUTS, NEARLY_HALF, PILLOW_TRANSFORM

WHITE = 255.0
_CUBIC, _OPENCV_CUBIC = -0.5, -0.75
"""Parameter a of the bicubic kernel of Pillow, and of OpenCV."""
_HALF_WIDTH = 2.0
"""Half width of the kernel, in pixels of the result where a photo shrinks, else of the photo."""

_JPEG_STEPS = (2, 4, 8)
"""Factors by which a JPEG decoder reduces."""


class PhotoViews(nn.Module):
    """Draws views of photos as `data.views` and `networks.models.transforms` do.

    Args:
        names: Of views, see `data.views`.
        height: Rows of each view.
        width: Columns of each view.
        side: Pixels of the shorter side at which `predict` reads photos, see `data.image_cache.decode_side`; larger
            photos are first reduced as that does. None reduces none.
        transform: Of `data.views`. That of `networks.models.transforms` is Pillow's.

    Example:
        >>> views = PhotoViews(("squash", "pad"), height=12, width=16)
        >>> views(torch.zeros(5, 30, 40, 3, dtype=torch.uint8)).shape
        torch.Size([5, 2, 3, 12, 16])
    """

    def __init__(
        self,
        names: Sequence[str],
        height: int,
        width: int,
        side: int | None = None,
        transform: str = PILLOW_TRANSFORM,
    ) -> None:
        super().__init__()
        self._weights = _weights if transform == PILLOW_TRANSFORM else _whole_weights
        self.names = tuple(names)
        self.height = height
        self.width = width
        self.side = side

    def forward(self, photos: Tensor) -> Tensor:
        """Draw all views.

        Args:
            photos: RGB, uint8, of shape (n, any height, any width, 3).

        Returns:
            float32 between 0 and 255, of shape (n, n_views, 3, height, width).
        """
        drawn: dict[str, Tensor] = {}
        views = []
        for name in self.names:
            base = name.removesuffix("_flip")
            if base not in drawn:
                drawn[base] = self._draw(photos, base)
            views.append(drawn[base].flip(-1) if name != base else drawn[base])
        return torch.stack(views, 1)

    def _draw(self, photos: Tensor, base: str) -> Tensor:
        # Lengths are tensors, so that a graph computes them for each photo.
        pixels = [torch.arange(photos.shape[k], device=photos.device).to(torch.float32) for k in (1, 2)]
        lengths = [axis.max() + 1.0 for axis in pixels]
        factor = torch.ones_like(lengths[0])
        if self.side is not None:
            factor = _reduction(torch.minimum(*lengths), self.side)
        rows, columns = (_reduced(axis, length, factor) for axis, length in zip(pixels, lengths, strict=True))
        high, wide = rows.length, columns.length
        target_high, target_wide = torch.full_like(high, self.height), torch.full_like(wide, self.width)
        top = left = torch.zeros_like(high)
        if base == "pad":
            scale = torch.minimum(target_high / high, target_wide / wide)
            inner_high = (high * scale).round().clamp_min(1.0)
            inner_wide = (wide * scale).round().clamp_min(1.0)
            top = ((target_high - inner_high) / 2.0).floor()
            left = ((target_wide - inner_wide) / 2.0).floor()
            along_high = self._weights(rows, torch.zeros_like(high), high, inner_high, self.height, top)
            along_wide = self._weights(columns, torch.zeros_like(wide), wide, inner_wide, self.width, left)
        else:
            box_high, box_wide, off_high, off_wide = high, wide, top, left
            if base != "squash":
                cut, scale = CUTS[base], torch.minimum(high / target_high, wide / target_wide)
                box_high, box_wide = cut.side * scale * target_high, cut.side * scale * target_wide
                off_high, off_wide = cut.down * scale * target_high, cut.across * scale * target_wide
            start_high, start_wide = (high - box_high) / 2.0 + off_high, (wide - box_wide) / 2.0 + off_wide
            along_high = self._weights(rows, start_high, box_high, target_high, self.height, top)
            along_wide = self._weights(columns, start_wide, box_wide, target_wide, self.width, left)
        values = photos.to(torch.float32)
        n, wide_in = values.shape[0], values.shape[2]
        values = torch.matmul(along_high, values.reshape(n, -1, wide_in * 3))
        values = values.reshape(n, self.height, wide_in, 3).permute(0, 3, 1, 2)
        values = torch.matmul(values, along_wide.transpose(0, 1))
        if base == "pad":
            inside = along_high.sum(1)[:, None] * along_wide.sum(1)[None, :]
            values = values + WHITE * (1.0 - inside)
        return values.clamp(0.0, WHITE)


def view_names(views: Sequence[str], resize: str) -> tuple[str, ...]:
    """Names that `PhotoViews` has for the views of a fine-tuned network: padding is a view of its own here.

    >>> view_names(("squash", "squash_flip", "center"), "pad")
    ('pad', 'pad_flip', 'center')
    """
    return tuple(name.replace("squash", "pad") if resize == "pad" else name for name in views)


class _Axis(NamedTuple):
    """One axis of a photo whose pixels are averaged, some at a time.

    Attributes:
        mean: For each pixel, to which mean it belongs.
        share: Of each pixel in its mean.
        length: Number of means.
    """

    mean: Tensor
    share: Tensor
    length: Tensor


def _reduced(pixels: Tensor, length: Tensor, factor: Tensor) -> _Axis:
    mean = (pixels / factor).floor()
    return _Axis(mean, 1.0 / torch.minimum(factor, length - mean * factor), (length / factor).ceil())


def _reduction(shorter: Tensor, side: int) -> Tensor:
    """By which factor `predict` reduces a photo whose shorter side has so many pixels.

    A JPEG is read at 1/2, 1/4 or 1/8 of its size; what is twice as large as needed even then is averaged.
    """
    times = (shorter / side).floor()
    of_jpeg = torch.ones_like(times)
    for step in _JPEG_STEPS:
        of_jpeg = torch.where(times >= step, torch.full_like(times, step), of_jpeg)
    return of_jpeg * ((shorter / of_jpeg).ceil() / side).floor().clamp_min(1.0)


def _weights(
    axis: _Axis, start: Tensor, extent: Tensor, target: Tensor, length: int, offset: Tensor
) -> Tensor:
    """Weight of each pixel of one axis of the photo in each pixel of the result, as Pillow has it.

    Rows sum to 1, or to 0 for pixels of the result beyond the box.

    Args:
        axis: Of the photo.
        start: Beginning of the box on the axis, in means.
        extent: Length of the box on the axis.
        target: Length of the box on the result.
        length: Length of the result.
        offset: First pixel of the box on the result.

    Returns:
        Shape (length, n_positions).
    """
    step = extent / target
    support = step.clamp_min(1.0)
    outputs = torch.arange(length, device=axis.mean.device).to(torch.float32) - offset
    centers = start + (outputs + 0.5) * step
    distance = ((axis.mean[None, :] + 0.5 - centers[:, None]) / support).abs()
    kernel = _kernel(distance, _CUBIC) * axis.share
    inside = ((outputs >= 0.0) & (outputs < target)).to(torch.float32)[:, None]
    total = kernel.sum(1, keepdim=True)
    return inside * kernel / torch.where(total == 0.0, torch.ones_like(total), total)


def _whole_weights(
    axis: _Axis, start: Tensor, extent: Tensor, target: Tensor, length: int, offset: Tensor
) -> Tensor:
    """`_weights` as OpenCV has them, see `data.views.TRANSFORM`."""
    first = torch.minimum((start + NEARLY_HALF).floor(), axis.length - 1.0)
    last = torch.minimum((start + extent + NEARLY_HALF).floor(), axis.length)
    whole = (last - first).clamp_min(1.0)
    step = ((10.0 * whole + 3.0 * target) / (10.0 * target)).floor().clamp_min(1.0)
    n_means = (whole / step).floor()
    first = first + ((whole - n_means * step) / 2.0).floor()
    mean = ((axis.mean - first) / step).floor()
    outputs = torch.arange(length, device=axis.mean.device).to(torch.float32) - offset
    centers = (outputs + 0.5) * (n_means / target) - 0.5
    before = centers.floor()
    weights = torch.zeros(1, device=axis.mean.device)
    for tap in (-1.0, 0.0, 1.0, 2.0):  # beyond the box its outermost means are repeated
        place = torch.minimum((before + tap).clamp_min(0.0), n_means - 1.0)
        share = _kernel((before + tap - centers).abs(), _OPENCV_CUBIC)
        weights = weights + share[:, None] * (mean[None, :] == place[:, None]).to(torch.float32)
    inside = ((outputs >= 0.0) & (outputs < target)).to(torch.float32)[:, None]
    return inside * weights * axis.share / step


def _kernel(distance: Tensor, a: float) -> Tensor:
    """The bicubic kernel."""
    near = ((a + 2.0) * distance - (a + 3.0)) * distance * distance + 1.0
    far = (((distance - 5.0) * distance + 8.0) * distance - 4.0) * a
    return torch.where(
        distance < 1.0, near, torch.where(distance < _HALF_WIDTH, far, torch.zeros_like(distance))
    )
