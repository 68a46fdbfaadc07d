"""The two halves of a network that is cut before its last blocks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ensemble_minerals.errors import ConfigError
from ensemble_minerals.networks.models.blocks import MISMATCH_ERRORS, alike, cut, evaluating
from ensemble_minerals.networks.models.taps import TappedNetwork, pool_taps


class NetworkPrefix(nn.Module):
    """The first half of a network: pixels in [0, 1] to an inner layer."""

    def __init__(self, normalize: nn.Module, body: nn.Module, memory_format: torch.memory_format) -> None:
        """Put what pixels need before a beginning.

        Args:
            normalize: What the body expects of pixels.
            body: As `cut` or `cut_taps` returned it.
            memory_format: Of the pictures.
        """
        super().__init__()
        self.normalize = normalize
        self.body = body
        self._format = memory_format

    def forward(self, images: Tensor) -> Tensor:
        """The inner layer of images (b, 3, height, width)."""
        images = images.contiguous(memory_format=self._format)
        features: Tensor = self.body.forward_features(self.normalize(images))  # type: ignore[operator]  # timm's
        return features


class TappedPrefix(nn.Module):
    """The first half of a tapped network: the inner layer, and what the taps before it saw, as one vector."""

    def __init__(self, tapped: TappedNetwork, seen: Sequence[int]) -> None:
        """Tap a beginning.

        Args:
            tapped: Taps on the first half.
            seen: Those that lie in it, by number.
        """
        super().__init__()
        self.tapped = tapped
        self.seen = tuple(seen)

    def forward_features(self, images: Tensor) -> Tensor:
        """Of normalized images (b, 3, height, width), a vector each: the inner layer, then the taps' statistics."""
        maps = self.tapped.layers_seen(images)
        # Behind the cut nothing is done to the inner layer, and the last tap sees it as it is.
        inner = maps[-1][0].flatten(1)
        pooled = [pool_taps([maps[number]]) for number in self.seen]
        return torch.cat([inner.float(), *pooled], dim=1)


class TappedSuffix:
    """The second half of a tapped network: what `TappedPrefix` returned to the statistics of all taps.

    Attributes:
        body: The layers of this half.
    """

    def __init__(
        self,
        tapped: TappedNetwork,
        seen: Sequence[int],
        shape: torch.Size,
        widths: list[int],
        memory_format: torch.memory_format,
    ) -> None:
        """Tap an end.

        Args:
            tapped: Taps on the second half.
            seen: Those that lie in the first half, by number.
            shape: Of the inner layer (channels, height, width).
            widths: Of the inner layer flattened, and of what each tap of the first half saw.
            memory_format: Of the inner layer.
        """
        self.body = tapped.network
        self._tapped = tapped
        self._seen = tuple(seen)
        self._shape = shape
        self._widths = widths
        self._format = memory_format

    def __call__(self, vectors: Tensor) -> Tensor:
        """Statistics of all taps, float32 of shape (b, n_features)."""
        inner, *before = torch.split(vectors, self._widths, dim=1)
        maps = self._tapped.layers_seen(
            inner.reshape(-1, *self._shape).contiguous(memory_format=self._format)
        )
        known = dict(zip(self._seen, before, strict=True))
        return torch.cat(
            [known[number] if number in known else pool_taps([tap]) for number, tap in enumerate(maps)], dim=1
        )


@torch.no_grad()
def cut_taps(
    tapped: TappedNetwork, n_last: int, example: Tensor, memory_format: torch.memory_format
) -> tuple[TappedPrefix, TappedSuffix]:
    """Cut a tapped network in two before its last blocks; the halves share its layers, see `cut`.

    Which tap lies in which half is found out by looking at what they see.

    Args:
        tapped: All of the network.
        n_last: Blocks in the second half, at least 1.
        example: A normalized input (1, 3, height, width).
        memory_format: Of the inner layer.

    Returns:
        Two halves; the second, after the first, gives the statistics of all taps.

    Raises:
        ConfigError: The network cannot be cut there.
    """
    with evaluating(tapped.network):
        parts = [tapped.over(part) for part in cut(tapped.network, n_last, example)]
        whole = [pool_taps([tap]) for tap in tapped.layers_seen(example)]
        try:
            maps = parts[0].layers_seen(example)
            seen = [number for number, tap in enumerate(maps) if alike(pool_taps([tap]), whole[number])]
            widths = [maps[-1][0][0].numel(), *(whole[number].shape[1] for number in seen)]
            front = TappedPrefix(parts[0], seen)
            rear = TappedSuffix(parts[1], seen, maps[-1][0].shape[1:], widths, memory_format)
            same = alike(rear(front.forward_features(example)), torch.cat(whole, dim=1))
        except MISMATCH_ERRORS:
            same = False
    if not same:
        raise ConfigError(
            [
                f"{type(tapped.network).__name__}, with a head on taps, cannot be cut before its last {n_last} "
                "blocks; set prefix_views to 0"
            ]
        )
    return front, rear
