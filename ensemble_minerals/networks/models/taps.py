"""A network that tells what its inner layers see, as one vector a picture.

The vector holds, for every stage of a convolutional network and for its last feature map, mean and standard
deviation over space; for every chosen block of a transformer the class token (where there is one), mean and
standard deviation over the patches. The statistics are part of the network, so that an engine hands out
vectors and never maps.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from ensemble_minerals.errors import ConfigError, WeightsError
from ensemble_minerals.networks.models.weights import LoadedNetwork

Tap: TypeAlias = tuple[Tensor, Tensor | None]
"""What one layer sees: a map (n, channels, height, width), or patches (n, patches, channels) and, where there is
one, the class token (n, channels)."""

_SMALLEST_VARIANCE = 1e-10


class TappedNetwork(nn.Module):
    """A frozen network from 8-bit pixels to pooled statistics of its layers.

    Attributes:
        layers: Where each layer lies in the vector, by name: `stage0`, ..., `final`, or `block4`, ...
        embedding: Where the mean over space (over patches) of the last tapped layer lies.
        n_features: Length of the vector.
        size: Side of the square input in pixels.
    """

    _factor: Tensor
    _shift: Tensor

    def __init__(self, loaded: LoadedNetwork, layers: Sequence[int] | None = None) -> None:
        """Tap a network.

        Args:
            loaded: The network with its preprocessing.
            layers: Stages or blocks, counted from 0, negative from the end; the final map of a
                convolutional network, where it differs from the last stage, comes after the stages. None
                takes every stage and the final map, or the blocks from a third to three quarters of
                the depth.

        Raises:
            WeightsError: timm cannot hand out the inner layers of this network.
            ConfigError: A layer it does not have.
        """
        super().__init__()
        self.network = loaded.network.eval().requires_grad_(False)
        self.size = loaded.input_size
        intermediates = getattr(loaded.network, "forward_intermediates", None)
        if intermediates is None:
            raise WeightsError(
                f"timm cannot hand out the inner layers of {loaded.model!r} (it has no forward_intermediates), "
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
        """Pool the layers.

        Args:
            pixels: RGB, uint8, of shape (n, size, size, 3).

        Returns:
            float32 of shape (n, n_features).
        """
        return pool_taps(self.taps(pixels))

    def taps(self, pixels: Tensor) -> list[Tap]:
        """What the layers see, before it is pooled by `pool_taps`.

        Args:
            pixels: As for `forward`.

        Returns:
            One entry a layer, in the order of `layers`.
        """
        x = pixels.permute(0, 3, 1, 2).float()
        if self._flip:
            x = x[:, [2, 1, 0]]
        return self.layers_seen(x * self._factor - self._shift)

    def layers_seen(self, x: Tensor) -> list[Tap]:
        """As `taps`, of pictures (n, 3, height, width) that are what the network expects of pixels."""
        if self._tokens:
            return self._blocks(x, self._indices)
        # timm wants at least one stage, even where the final map alone is asked for.
        stages, final = self._maps(x, self._indices or [0], final=self._final)
        return [(each, None) for each in [*(stages if self._indices else []), *final]]

    def over(self, network: nn.Module) -> TappedNetwork:
        """The same taps on a network of the same layers, such as a part of this one."""
        other = copy.copy(self)
        other.__dict__["_modules"] = {**self._modules, "network": network}
        return other

    def _blocks(self, x: Tensor, indices: list[int] | None) -> list[Tap]:
        taken = self._intermediates()(
            x,
            indices=indices,
            return_prefix_tokens=True,
            norm=False,
            stop_early=True,
            output_fmt="NLC",
            intermediates_only=True,
        )
        pairs = [entry if isinstance(entry, tuple | list) else (entry, None) for entry in taken]
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
        """Look at every layer once, choose, and lay out the vector."""
        noise = torch.rand(1, 3, self.size, self.size, generator=torch.Generator().manual_seed(0))
        if self._tokens:
            found = [_token_statistics(*entry) for entry in self._blocks(noise, None)]
            depth = len(found)
            names = [f"block{index}" for index in range(depth)]
            usual = list(range(depth // 3, max(depth // 3 + 1, depth * 3 // 4)))
        else:
            stages, final = self._maps(noise, None, final=True)
            if final[0].shape == stages[-1].shape and torch.equal(final[0], stages[-1]):
                final = []
            found = [_map_statistics(each) for each in [*stages, *final]]
            names = [f"stage{index}" for index in range(len(stages))] + ["final"] * len(final)
            # with every block to choose from, the first is the bare stem
            usual = list(range(1 if self._extra else 0, len(found)))
        chosen = _chosen(model, names, usual, layers)
        self._final = "final" in (names[index] for index in chosen)
        self._indices = [index for index in chosen if names[index] != "final"]
        self.layers: dict[str, slice] = {}
        start = 0
        for index in chosen:
            widths = [int(statistic.shape[1]) for statistic in found[index]]
            self.layers[names[index]] = slice(start, start + sum(widths))
            mean = start + (widths[0] if len(widths) == 3 else 0)
            self.embedding = slice(mean, mean + widths[-1])
            start += sum(widths)
        self.n_features = start


def _chosen(model: str, names: list[str], usual: list[int], layers: Sequence[int] | None) -> list[int]:
    if layers is None:
        return usual
    wrong = [index for index in layers if not -len(names) <= index < len(names)]
    if wrong or not layers:
        listed = ", ".join(f"{index} ({name})" for index, name in enumerate(names))
        raise ConfigError([f"layers: {list(layers)} of {model}: it has {listed}"])
    return sorted({index % len(names) for index in layers})


def pool_taps(taps: Sequence[Tap]) -> Tensor:
    """Statistics over space of the layers side by side, float32 of shape (n, n_features)."""
    pooled = [
        _map_statistics(seen) if seen.ndim == 4 else _token_statistics(seen, class_token)
        for seen, class_token in taps
    ]
    return torch.cat([statistic.float() for layer in pooled for statistic in layer], 1)


def _map_statistics(features: Tensor) -> list[Tensor]:
    mean = features.mean((2, 3))
    return [mean, _deviation(features - mean[:, :, None, None], (2, 3))]


def _token_statistics(patches: Tensor, class_token: Tensor | None) -> list[Tensor]:
    mean = patches.mean(1)
    pooled = [mean, _deviation(patches - mean[:, None], (1,))]
    return pooled if class_token is None else [class_token, *pooled]


def _deviation(centered: Tensor, dims: tuple[int, ...]) -> Tensor:
    return (centered * centered).mean(dims).clamp_min(_SMALLEST_VARIANCE).sqrt()
