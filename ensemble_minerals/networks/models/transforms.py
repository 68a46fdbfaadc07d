"""Random views for training, fixed views for evaluation, and normalization of pixels.

All geometric changes of a view are one resampling of the small 8-bit image. Where a rotated or shifted view reaches
beyond the image, the image is mirrored: mineral texture simply continues, whereas black corners would be a feature
that photos to predict never have.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # as everybody calls it
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import v2

from ensemble_minerals.config.networks import AugmentConfig
from ensemble_minerals.data.views import CUTS
from ensemble_minerals.networks.models.weights import Preprocessing

WHITE = 255
_ASPECT = 4 / 3
_TOO_LARGE = 1.5
"""An image this many times larger than its view is first reduced, so that bilinear sampling skips no pixels."""


def key_seed(*key: int) -> int:
    """A seed that depends on the key alone.

    >>> key_seed(1, 2) == key_seed(1, 2), key_seed(1, 2) == key_seed(2, 1)
    (True, False)
    """
    return int.from_bytes(blake2b(repr(key).encode(), digest_size=8).digest(), "little")


@contextmanager
def seeded(*key: int) -> Iterator[None]:
    """Context in which torch's random numbers depend on the key alone; the global state is restored at the end."""
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would seed GPUs, too.
        torch.default_generator.manual_seed(key_seed(*key))
        yield


class TrainTransform:
    """Draws random views of training photos; they depend on (seed, epoch, row, draw) alone.

    Not thread-safe: the threads of a process share torch's random numbers.
    """

    def __init__(self, config: AugmentConfig, size: tuple[int, int], resize: str, seed: int) -> None:
        """Set up the transform.

        Args:
            config: The random changes.
            size: Height and width of the input in pixels.
            resize: `squash` or `pad`.
            seed: First part of the key of the random numbers.
        """
        self.config = config
        self.size = size
        self.resize = resize
        self.seed = seed
        jitter = (config.brightness, config.contrast, config.saturation, config.hue)
        self._jitter = v2.ColorJitter(*jitter) if any(jitter) else None
        self._moves = any((config.rotation, config.shift, config.shear, config.zoom))

    def __call__(self, image: NDArray[np.uint8], *, epoch: int, row: int, draw: int = 0) -> Tensor:
        """Draw a view.

        Args:
            image: RGB pixels of shape (h, w, 3).
            epoch: Second part of the key.
            row: Third part.
            draw: Last part; it distinguishes several views of one row in one epoch.

        Returns:
            Floats in [0, 1] of shape (3, height, width).
        """
        with seeded(self.seed, epoch, row, draw):
            # Resizing is faster with the channels last, everything after it with the channels first.
            pixels = self._change_geometry(torch.tensor(image).permute(2, 0, 1)).contiguous()
            if self.config.randaugment is not None:
                pixels = self._randaugment(pixels)
            if self._jitter is not None:
                pixels = self._jitter(pixels)
            return self._add_noise(pixels.float() / 255)

    def _change_geometry(self, pixels: Tensor) -> Tensor:
        """Crop, flip, rotate, shift, shear, zoom and resize: from uint8 (3, h, w) to uint8 (3, height, width)."""
        config, (height, width) = self.config, self.size
        box = (0, 0, *pixels.shape[1:])
        if config.crop is not None:
            aspect = width / height if self.resize == "squash" else 1.0
            ratio = [aspect / _ASPECT, aspect * _ASPECT]
            box = v2.RandomResizedCrop.get_params(pixels, list(config.crop), ratio)
        flips = (
            -1.0 if config.horizontal_flip and torch.rand(()) < 0.5 else 1.0,
            -1.0 if config.vertical_flip and torch.rand(()) < 0.5 else 1.0,
        )
        matrix = self._matrix() if self._moves else None
        if self.resize == "pad":
            pixels = _padded(_cropped(pixels, box), self.size)
            box = (0, 0, height, width)
        if matrix is not None:
            return _resampled(pixels, box, matrix @ np.diag((*flips, 1.0)), self.size)
        axes = [axis for axis, flip in zip((2, 1), flips, strict=True) if flip < 0]
        pixels = _resized(_cropped(pixels, box), self.size)
        return pixels.flip(axes) if axes else pixels

    def _matrix(self) -> NDArray[np.float64]:
        """Affine matrix (3, 3) from a pixel of the view to its source pixel, both relative to the center."""
        config, (height, width) = self.config, self.size
        angle, shear = (math.radians(_uniform(limit)) for limit in (config.rotation, config.shear))
        scale = 1.0 + _uniform(config.zoom)
        across, down = _uniform(config.shift) * width, _uniform(config.shift) * height
        cos, sin = scale * math.cos(angle), scale * math.sin(angle)
        turned = np.array([[cos, -sin, across], [sin, cos, down], [0.0, 0.0, 1.0]])
        sheared = np.array([[1.0, math.tan(shear), 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
        return np.linalg.inv(turned @ sheared)

    def _randaugment(self, pixels: Tensor) -> Tensor:
        assert self.config.randaugment is not None
        operations, magnitude = self.config.randaugment.operations, self.config.randaugment.magnitude
        fill = pixels.float().mean((1, 2)).tolist()
        drawn: Tensor = v2.RandAugment(operations, magnitude, fill=fill)(pixels)
        return drawn

    def _add_noise(self, image: Tensor) -> Tensor:
        """Add Gaussian noise, and erase a rectangle."""
        if self.config.noise > 0:
            image = (image + self.config.noise * torch.randn(image.shape)).clamp(0, 1)
        if self.config.erasing > 0 and torch.rand(()) < self.config.erasing:
            color = image.mean((1, 2))
            top, left, height, width, _ = v2.RandomErasing.get_params(image, (0.02, 0.33), (0.3, 3.3), [0.0])
            image[:, top : top + height, left : left + width] = color[:, None, None]
        return image


class EvalTransform:
    """Draws the fixed views of a photo, as `data.views` does, but for inputs of any shape.

    `squash` is the whole photo, squeezed or padded as `resize` says. `center` is the largest central crop of the
    input's shape. The others are parts of that, see `data.views`. `_flip` mirrors.
    """

    def __init__(self, views: Sequence[str], size: tuple[int, int], resize: str) -> None:
        """Set up the transform.

        Args:
            views: Names of the views.
            size: Height and width of the input in pixels.
            resize: `squash` or `pad`.
        """
        self.views = tuple(views)
        self.size = size
        self.resize = resize

    def __call__(self, image: NDArray[np.uint8]) -> Tensor:
        """Draw the views.

        Args:
            image: RGB pixels of shape (h, w, 3).

        Returns:
            Floats in [0, 1] of shape (n_views, 3, height, width).

        Example:
            >>> draw = EvalTransform(["squash", "center_flip"], (12, 16), "squash")
            >>> draw(np.zeros((30, 40, 3), np.uint8)).shape
            torch.Size([2, 3, 12, 16])
        """
        pixels = torch.tensor(image).permute(2, 0, 1)
        drawn: dict[str, Tensor] = {}
        for view in self.views:
            base = view.removesuffix("_flip")
            if base not in drawn:
                drawn[base] = self._draw(pixels, base)
        flipped = [
            drawn[view.removesuffix("_flip")].flip(2) if view.endswith("_flip") else drawn[view]
            for view in self.views
        ]
        return torch.stack(flipped).float() / 255

    def _draw(self, pixels: Tensor, base: str) -> Tensor:
        if base == "squash" and self.resize == "pad":
            return _padded(pixels, self.size)
        box = self.view_box(base, *pixels.shape[1:])
        image = Image.fromarray(pixels.permute(1, 2, 0).numpy())
        # Pillow crops at fractions of a pixel, as the views of frozen features do.
        resized = image.resize(self.size[::-1], Image.Resampling.BICUBIC, box=box)
        return torch.tensor(np.asarray(resized)).permute(2, 0, 1)

    def view_box(self, view: str, height: int, width: int) -> tuple[float, float, float, float]:
        """Part of a photo that a view shows.

        Args:
            view: Name of the view.
            height: Height of the photo in pixels.
            width: Width of the photo in pixels.

        Returns:
            Left, top, right and bottom in pixels; a padded view reaches beyond the photo.

        Example:
            >>> EvalTransform(["center"], (10, 10), "squash").view_box("center", height=20, width=40)
            (10.0, 0.0, 30.0, 20.0)
            >>> EvalTransform(["squash"], (10, 10), "pad").view_box("squash", height=20, width=40)
            (0.0, -10.0, 40.0, 30.0)
        """
        base = view.removesuffix("_flip")
        if base == "squash" and self.resize != "pad":
            return 0.0, 0.0, float(width), float(height)
        ratios = height / self.size[0], width / self.size[1]
        if base == "squash":
            across, down = max(ratios) * self.size[1], max(ratios) * self.size[0]
            left, top = (width - across) / 2, (height - down) / 2
        else:
            cut, whole = CUTS[base], (min(ratios) * self.size[1], min(ratios) * self.size[0])
            # A rounding error beyond the image would make Pillow raise.
            across, down = min(cut.side * whole[0], width), min(cut.side * whole[1], height)
            left, top = (
                (width - across) / 2 + cut.across * whole[0],
                (height - down) / 2 + cut.down * whole[1],
            )
        return left, top, left + across, top + down


class Normalize(nn.Module):
    """Normalizes pixels as a network expects it: order and scale of the channels, mean and standard deviation."""

    mean: Tensor
    std: Tensor

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.preprocessing = preprocessing
        mean, std, scale = preprocessing.mean, preprocessing.std, preprocessing.scale
        # Not persistent: a network's state holds no preprocessing, its metadata does.
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1) / scale, persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1) / scale, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Normalize a batch.

        Args:
            images: RGB in [0, 1], shape (b, 3, h, w).

        Returns:
            `(images * scale - mean) / std`, channels in the network's order.
        """
        if self.preprocessing.order == "bgr":
            images = images.flip(1)
        return (images - self.mean) / self.std


def _uniform(limit: float) -> float:
    """A random number between -limit and limit; drawn even if that is 0, so that later random numbers stay."""
    return (2.0 * float(torch.rand(())) - 1.0) * limit


def _cropped(pixels: Tensor, box: Sequence[int]) -> Tensor:
    top, left, height, width = box
    return pixels[:, top : top + height, left : left + width]


def _resized(pixels: Tensor, size: Sequence[int]) -> Tensor:
    """Resize 8-bit pixels, antialiased."""
    if tuple(pixels.shape[1:]) == tuple(size):
        return pixels
    resized: Tensor = v2.functional.resize(
        pixels, list(size), interpolation=v2.InterpolationMode.BICUBIC, antialias=True
    )
    return resized


def _padded(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """The whole image with its aspect ratio, centered on white."""
    height, width = pixels.shape[1:]
    scale = min(size[0] / height, size[1] / width)
    inner = _resized(pixels, [max(1, round(height * scale)), max(1, round(width * scale))])
    down, across = size[0] - inner.shape[1], size[1] - inner.shape[2]
    return F.pad(inner, (across // 2, across - across // 2, down // 2, down - down // 2), value=WHITE)


def _resampled(
    pixels: Tensor, box: Sequence[int], matrix: NDArray[np.float64], size: tuple[int, int]
) -> Tensor:
    """Draw an affine view of an image in one resampling.

    Args:
        pixels: uint8 of shape (3, h, w).
        box: Top, left, height and width of the crop that the view shows with an identity matrix.
        matrix: From pixels of the view to pixels of that crop, both relative to the center.
        size: Height and width of the view.

    Returns:
        uint8 of shape (3, *size); beyond its edges the image is mirrored.
    """
    top, left, height, width = box
    # A much larger image is first reduced to the size at which the crop has as many pixels as the view.
    reduced = [
        math.ceil(full * wanted / part) if part > _TOO_LARGE * wanted else full
        for full, wanted, part in zip(pixels.shape[1:], size, (height, width), strict=True)
    ]
    full_height, full_width = pixels.shape[1:]
    pixels = _resized(pixels, reduced)
    # affine_grid measures in half sides of the image; the box is converted to shares of the sides.
    to_pixels = np.diag((size[1] / 2, size[0] / 2, 1.0))
    to_image = np.array(
        [
            [width / full_width, 0.0, (2 * left + width) / full_width - 1.0],
            [0.0, height / full_height, (2 * top + height) / full_height - 1.0],
        ]
    )
    theta = torch.tensor(to_image @ np.linalg.inv(to_pixels) @ matrix @ to_pixels).float()
    grid = F.affine_grid(theta[None], [1, 3, *size], align_corners=False)
    view = F.grid_sample(pixels[None].float(), grid, "bilinear", "reflection", align_corners=False)
    return view[0].round().to(torch.uint8)
