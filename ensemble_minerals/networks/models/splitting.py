"""The two parts of a network that is split before its last blocks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ensemble_minerals.errors import ConfigError
from ensemble_minerals.networks.models.blocks import MISMATCH_ERRORS, evaluating, is_close, split_body
from ensemble_minerals.networks.models.taps import TappedNetwork, pool_taps


class NetworkPrefix(nn.Module):
    """The first blocks of a network: from pixels in [0, 1] to activations.

    Args:
        normalize: The preprocessing that the body expects.
        body: Prefix of the body, from `split_body` or `split_tapped`.
        memory_format: Memory format of the images.
    """

    def __init__(self, normalize: nn.Module, body: nn.Module, memory_format: torch.memory_format) -> None:
        super().__init__()
        self.normalize = normalize
        self.body = body
        self._format = memory_format

    def forward(self, images: Tensor) -> Tensor:
        """Activations of images (b, 3, height, width)."""
        images = images.contiguous(memory_format=self._format)
        features: Tensor = self.body.forward_features(self.normalize(images))  # type: ignore[operator]  # timm's
        return features


class TappedPrefix(nn.Module):
    """The first blocks of a tapped network: its activations and the statistics of its taps, as one vector.

    Args:
        tapped: Taps on the first blocks.
        own_taps: Numbers of the taps that lie in the first blocks.
    """

    def __init__(self, tapped: TappedNetwork, own_taps: Sequence[int]) -> None:
        super().__init__()
        self.tapped = tapped
        self.own_taps = tuple(own_taps)

    def forward_features(self, images: Tensor) -> Tensor:
        """Vectors of normalized images (b, 3, height, width): activations, then the statistics of its taps."""
        maps = self.tapped.taps_of_normalized(images)
        # All layers after the split are identities, so the last tap returns the activations at the split.
        activations = maps[-1][0].flatten(1)
        statistics = [pool_taps([maps[number]]) for number in self.own_taps]
        return torch.cat([activations.float(), *statistics], dim=1)


class TappedSuffix:
    """The last blocks of a tapped network: from the vectors of `TappedPrefix` to the statistics of all taps.

    Args:
        tapped: Taps on the last blocks.
        prefix_taps: Numbers of the taps that lie in the first blocks.
        shape: Shape of the activations (channels, height, width).
        widths: Lengths of the flattened activations and of the statistics of each tap in the first blocks.
        memory_format: Memory format of the activations.

    Attributes:
        body: The last blocks.
    """

    def __init__(
        self,
        tapped: TappedNetwork,
        prefix_taps: Sequence[int],
        shape: torch.Size,
        widths: list[int],
        memory_format: torch.memory_format,
    ) -> None:
        self.body = tapped.network
        self._tapped = tapped
        self._prefix_taps = tuple(prefix_taps)
        self._shape = shape
        self._widths = widths
        self._format = memory_format

    def __call__(self, vectors: Tensor) -> Tensor:
        """Statistics of all taps, float32 of shape (b, n_features)."""
        activations, *statistics = torch.split(vectors, self._widths, dim=1)
        maps = self._tapped.taps_of_normalized(
            activations.reshape(-1, *self._shape).contiguous(memory_format=self._format)
        )
        known = dict(zip(self._prefix_taps, statistics, strict=True))
        return torch.cat(
            [known[number] if number in known else pool_taps([tap]) for number, tap in enumerate(maps)], dim=1
        )


@torch.no_grad()
def split_tapped(
    tapped: TappedNetwork, n_last: int, example: Tensor, memory_format: torch.memory_format
) -> tuple[TappedPrefix, TappedSuffix]:
    """Split a tapped network before its last blocks; both parts share its layers, see `split_body`.

    A tap lies in the prefix if its statistics there are those of the whole network.

    Args:
        tapped: The whole network.
        n_last: Number of blocks in the suffix, at least 1.
        example: A normalized input (1, 3, height, width).
        memory_format: Memory format of the activations.

    Returns:
        Prefix and suffix; one after the other they compute the statistics of all taps.

    Raises:
        ConfigError: The network cannot be split there.
    """
    with evaluating(tapped.network):
        prefix_taps, suffix_taps = [tapped.over(part) for part in split_body(tapped.network, n_last, example)]
        expected = [pool_taps([tap]) for tap in tapped.taps_of_normalized(example)]
        try:
            maps = prefix_taps.taps_of_normalized(example)
            own = [number for number, tap in enumerate(maps) if is_close(pool_taps([tap]), expected[number])]
            widths = [maps[-1][0][0].numel(), *(expected[number].shape[1] for number in own)]
            prefix = TappedPrefix(prefix_taps, own)
            suffix = TappedSuffix(suffix_taps, own, maps[-1][0].shape[1:], widths, memory_format)
            same = is_close(suffix(prefix.forward_features(example)), torch.cat(expected, dim=1))
        except MISMATCH_ERRORS:
            same = False
    if not same:
        raise ConfigError(
            [
                f"{type(tapped.network).__name__}, with a head on taps, cannot be split before its last {n_last} "
                "blocks; set prefix_views to 0"
            ]
        )
    return prefix, suffix
