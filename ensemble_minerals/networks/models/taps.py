"""Taps: statistics of a network's inner layers, as one vector an image.

For every stage of a convolutional network and for its last feature map, the vector holds mean and standard deviation
over space. For every chosen block of a transformer it holds the class token, where there is one, and mean and
standard deviation over the patches. The statistics are part of the network, so an inference engine returns vectors,
not maps.

On demand the vector also holds how channels vary together: covariances of a few combinations of the channels, which
tell textures (Lin et al. 2015, ICCV, "Bilinear CNN models"; Gao et al. 2016, CVPR, "Compact bilinear pooling").
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Sequence
from hashlib import shake_128
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from ensemble_minerals.errors import ConfigError, WeightsError
from ensemble_minerals.networks.models.weights import LoadedNetwork

Tap: TypeAlias = tuple[Tensor, Tensor | None]
"""Output of one tapped layer: a map (n, channels, height, width) and None, or patches (n, patches, channels) and the
class token (n, channels), None where there is none."""

_SMALLEST_VARIANCE = 1e-10


class TappedNetwork(nn.Module):
    """A frozen network from 8-bit pixels to pooled statistics of its layers.

    Attributes:
        layers: Slice of each layer in the vector, by name: `stage0`, ..., `final`, or `block4`, ...
        embedding: Slice of the mean over space, or over patches, of the last tapped layer.
        n_features: Length of the vector.
        covariances: Combinations of the channels of each layer whose covariances it holds.
        size: Side of the square input in pixels.
    """

    _factor: Tensor
    _shift: Tensor

    def __init__(
        self, loaded: LoadedNetwork, layers: Sequence[int] | None = None, *, covariances: int = 0
    ) -> None:
        """Tap a network.

        Args:
            loaded: The network with its preprocessing.
            layers: Numbers of stages or blocks, from 0, or negative from the end. The final map of a convolutional
                network, where it differs from the last stage, comes after the stages. None takes every stage and
                the final map, or the blocks from a third to three quarters of the depth.
            covariances: See `pool_taps`.

        Raises:
            WeightsError: timm cannot return the inner layers of this network.
            ConfigError: A layer that the network does not have.
        """
        super().__init__()
        self.network = loaded.network.eval().requires_grad_(False)
        self.size = loaded.input_size
        self.covariances = covariances
        intermediates = getattr(loaded.network, "forward_intermediates", None)
        if intermediates is None:
            raise WeightsError(
                f"timm cannot return the inner layers of {loaded.model!r} (it has no forward_intermediates), "
                "so it cannot serve as a frozen backbone; choose another model"
            )
        parameters = inspect.signature(intermediates).parameters
        self._tokens = "return_prefix_tokens" in parameters
        self._extra = {"extra_blocks": True} if "extra_blocks" in parameters else {}
        self._class_token = getattr(loaded.network, "cls_token", None) is not None
        means, stds = torch.tensor(loaded.mean), torch.tensor(loaded.std)
        self._flip = loaded.preprocessing.order == "bgr"
        self.register_buffer("_factor", (loaded.preprocessing.scale / 255.0 / stds).view(1, 3, 1, 1))
        self.register_buffer("_shift", (means / stds).view(1, 3, 1, 1))
        self._indices: list[int] = []
        self._final = False
        self._select(loaded.model, layers)

    def forward(self, pixels: Tensor) -> Tensor:
        """Statistics of the tapped layers.

        Args:
            pixels: RGB, uint8, of shape (n, size, size, 3).

        Returns:
            float32 of shape (n, n_features).
        """
        return pool_taps(self.taps(pixels), self.covariances)

    def taps(self, pixels: Tensor) -> list[Tap]:
        """Outputs of the tapped layers, before `pool_taps` pools them.

        Args:
            pixels: As for `forward`.

        Returns:
            One entry a layer, in the order of `layers`.
        """
        x = pixels.permute(0, 3, 1, 2).float()
        if self._flip:
            x = x[:, [2, 1, 0]]
        return self.taps_of_normalized(x * self._factor - self._shift)

    def taps_of_normalized(self, x: Tensor) -> list[Tap]:
        """Outputs of the tapped layers as in `taps`, but of normalized images (n, 3, height, width)."""
        if self._tokens:
            return self._blocks(x, self._indices)
        # timm wants at least one stage, even where only the final map is needed.
        stages, final = self._maps(x, self._indices or [0], final=self._final)
        return [(each, None) for each in [*(stages if self._indices else []), *final]]

    def over(self, network: nn.Module) -> TappedNetwork:
        """The same taps on a network of the same layers, such as a part of this one."""
        other = copy.copy(self)
        other.__dict__["_modules"] = {**self._modules, "network": network}
        return other

    def _blocks(self, x: Tensor, indices: list[int] | None) -> list[Tap]:
        outputs = self._intermediates()(
            x,
            indices=indices,
            return_prefix_tokens=True,
            norm=False,
            stop_early=True,
            output_fmt="NLC",
            intermediates_only=True,
        )
        pairs = [entry if isinstance(entry, tuple | list) else (entry, None) for entry in outputs]
        return [
            (patches, prefix[:, 0] if prefix is not None and self._class_token else None)
            for patches, prefix in pairs
        ]

    def _maps(
        self, x: Tensor, indices: list[int] | None, *, final: bool
    ) -> tuple[list[Tensor], list[Tensor]]:
        common: dict[str, Any] = {"indices": indices, "norm": False, "output_fmt": "NCHW", **self._extra}
        if not final:
            return self._intermediates()(x, stop_early=True, intermediates_only=True, **common), []
        last, stages = self._intermediates()(x, **common)
        if last.ndim == 3:
            last = last.permute(0, 2, 1).unsqueeze(-1)
        elif getattr(self.network, "output_fmt", "NCHW") == "NHWC":
            last = last.permute(0, 3, 1, 2)
        return stages, [last]

    def _intermediates(self) -> Callable[..., Any]:
        return self.network.forward_intermediates  # type: ignore[return-value]  # nn.Module types attributes as tensors

    @torch.inference_mode()
    def _select(self, model: str, layers: Sequence[int] | None) -> None:
        """Compute every layer once, choose the tapped ones, and lay out the vector."""
        noise = torch.rand(1, 3, self.size, self.size, generator=torch.Generator().manual_seed(0))
        if self._tokens:
            taps = self._blocks(noise, None)
            depth = len(taps)
            names = [f"block{index}" for index in range(depth)]
            default = list(range(depth // 3, max(depth // 3 + 1, depth * 3 // 4)))
        else:
            stages, final = self._maps(noise, None, final=True)
            if final[0].shape == stages[-1].shape and torch.equal(final[0], stages[-1]):
                final = []
            taps = [(each, None) for each in [*stages, *final]]
            names = [f"stage{index}" for index in range(len(stages))] + ["final"] * len(final)
            # Where timm counts every block as a stage, the first one is the stem.
            default = list(range(1 if self._extra else 0, len(taps)))
        chosen = _chosen_layers(model, names, default, layers)
        self._final = "final" in (names[index] for index in chosen)
        self._indices = [index for index in chosen if names[index] != "final"]
        self.layers: dict[str, slice] = {}
        start = 0
        for index in chosen:
            output, class_token = taps[index]
            n_channels = output.shape[1 if output.ndim == 4 else 2]
            mean = start + (0 if class_token is None else class_token.shape[1])
            self.embedding = slice(mean, mean + n_channels)
            end = start + pool_taps([taps[index]], self.covariances).shape[1]
            self.layers[names[index]] = slice(start, end)
            start = end
        self.n_features = start


def _chosen_layers(
    model: str, names: list[str], default: list[int], layers: Sequence[int] | None
) -> list[int]:
    if layers is None:
        return default
    wrong = [index for index in layers if not -len(names) <= index < len(names)]
    if wrong or not layers:
        listed = ", ".join(f"{index} ({name})" for index, name in enumerate(names))
        raise ConfigError([f"layers: {list(layers)} of {model}: it has {listed}"])
    return sorted({index % len(names) for index in layers})


def pool_taps(taps: Sequence[Tap], covariances: int = 0) -> Tensor:
    """Statistics of tapped layers side by side, float32 of shape (n, n_features).

    Args:
        taps: Outputs of the layers.
        covariances: The signed roots of the covariances of so many combinations of the channels of each layer
            (fewer where it has fewer channels) follow its means and standard deviations; 0 leaves them out.

    >>> pool_taps([(torch.tensor([[[[1.0, 3.0]]]]), None)])  # mean and standard deviation of one channel
    tensor([[2., 1.]])
    """
    pooled = [
        _map_statistics(output, covariances)
        if output.ndim == 4
        else _token_statistics(output, class_token, covariances)
        for output, class_token in taps
    ]
    return torch.cat([statistic.float() for layer in pooled for statistic in layer], 1)


def _map_statistics(features: Tensor, covariances: int) -> list[Tensor]:
    mean = features.mean((2, 3))
    centered = features - mean[:, :, None, None]
    pooled = [mean, _deviation(centered, (2, 3))]
    return [*pooled, _covariances(centered.flatten(2), covariances)] if covariances else pooled


def _token_statistics(patches: Tensor, class_token: Tensor | None, covariances: int) -> list[Tensor]:
    mean = patches.mean(1)
    centered = patches - mean[:, None]
    pooled = [mean, _deviation(centered, (1,))]
    pooled += [_covariances(centered.transpose(1, 2), covariances)] if covariances else []
    return pooled if class_token is None else [class_token, *pooled]


def _covariances(centered: Tensor, n_combinations: int) -> Tensor:
    """Signed roots of the covariances of sums of channels with fixed random signs.

    Args:
        centered: Channels less their means, shape (n, channels, positions).
        n_combinations: Number of such sums, k; at most that of the channels.

    Returns:
        Shape (n, k * (k + 1) / 2).
    """
    n_channels = int(centered.shape[1])  # while it is traced, a tensor
    k = min(n_combinations, n_channels)
    # From a hash, whose bits are the same with every version of every library.
    bits = np.unpackbits(np.frombuffer(shake_128(b"signs").digest(k * n_channels // 8 + 1), np.uint8))
    signs = torch.from_numpy(1.0 - 2.0 * bits[: k * n_channels].reshape(k, n_channels)).to(centered)
    mixed = signs @ centered / math.sqrt(n_channels)
    products = (mixed @ mixed.transpose(1, 2) / centered.shape[2]).flatten(1)
    rows, columns = np.triu_indices(k)
    upper = products[:, torch.from_numpy(rows * k + columns)]
    return upper.sign() * upper.abs().clamp_min(_SMALLEST_VARIANCE).sqrt()


def _deviation(centered: Tensor, dims: tuple[int, ...]) -> Tensor:
    return (centered * centered).mean(dims).clamp_min(_SMALLEST_VARIANCE).sqrt()
