"""Forward passes of fine-tuned networks that start at the maps which their heads pool, to explain their logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ensemble_minerals.networks.attribution.activation import DetachedIdentity, ForwardPass, patch_grid
from ensemble_minerals.networks.inference import NetworkPredictor
from ensemble_minerals.networks.models.multi_head import HeadlessNetwork, MultiHeadNetwork
from ensemble_minerals.networks.models.state import NetworkState
from ensemble_minerals.networks.models.taps import Tap
from ensemble_minerals.networks.models.transforms import EvalTransform


@torch.no_grad()
def trained_forward_pass(predictor: NetworkPredictor, weights: str, image: NDArray[np.uint8]) -> ForwardPass:
    """Compute the maps of a photo's views in fine-tuned networks, once; the forward pass then starts from these.

    Every state has maps of its own, unless training changed only the heads. In a transformer whose head takes the
    class token, patches no longer count after the last block, so the forward pass starts before that block.

    Args:
        predictor: The networks; they are computed in float32.
        weights: Where their starting weights are, see `weights.parse`.
        image: RGB pixels of shape (h, w, 3).
    """
    metadata = predictor.states[0].metadata
    transform = EvalTransform(metadata["views"], predictor.states[0].size, metadata["resize"])
    images = transform(image).to(predictor.device)
    if isinstance(predictor.shared, HeadlessNetwork):
        body = predictor.shared.network
        parts = [_NetworkAtMaps(body, nn.ModuleList(predictor.suffixes), body.maps(images))]
    elif predictor.shared is not None and metadata["head"].get("pooling") == "taps":
        # The shared prefix returns pooled taps; their maps need the whole networks.
        networks = [state.build(weights).to(predictor.device) for state in predictor.states]
        parts = [_NetworkAtMaps(network, None, network.maps(images)) for network in networks]
    else:
        activations = images if predictor.shared is None else predictor.shared(images)
        networks = [suffix for suffix in predictor.suffixes if isinstance(suffix, MultiHeadNetwork)]
        parts = [_NetworkAtMaps(network, None, network.maps(activations)) for network in networks]
    if any(part.pools_class_token for part in parts):
        parts = [_before_last_block(state, weights, images) for state in predictor.states]
    module = _FromMaps(parts, predictor.shift)
    height, width = image.shape[:2]
    boxes = np.array([transform.view_box(view, height, width) for view in transform.views])
    boxes /= (width, height, width, height)
    mirrored = np.array([view.endswith("_flip") for view in transform.views])
    return ForwardPass(module, tuple(module.grids()), module.maps, tuple(_names(parts)), boxes, mirrored)


@dataclass(frozen=True, eq=False)
class _NetworkAtMaps:
    """The rest of a network after its maps.

    Attributes:
        network: The network, or its suffix.
        heads: The heads, if they are not those of `network`.
        maps: Maps from `MultiHeadNetwork.maps`; for a network split before its last block, the tokens there.
        before_last_block: Whether the network was split before its last block.
    """

    network: MultiHeadNetwork
    heads: nn.ModuleList | None
    maps: list[Tap]
    before_last_block: bool = False

    @property
    def pools_class_token(self) -> bool:
        """Whether the head takes the class token alone, so that patches no longer count."""
        body, (output, _) = self.network.body, self.maps[0]
        takes_token = self.network.pooling == "own" and getattr(body, "global_pool", "") == "token"
        return output.ndim == 3 and takes_token

    @property
    def channels_last(self) -> bool:
        """Whether the channels are the last dimension of its maps; taps are converted."""
        return self.network.pooling != "taps" and self.network.channels_last

    @property
    def n_prefix_tokens(self) -> int:
        """Number of tokens that belong to no position of the photo; taps have none."""
        return 0 if self.network.pooling == "taps" else self.network.n_prefix_tokens

    def to_grid(self, output: Tensor) -> Tensor:
        """Output of a layer as a map (n, channels, height, width)."""
        if output.ndim == 3:
            height, width = self.network.size
            return patch_grid(output[:, self.n_prefix_tokens :], height / width)
        if output.ndim == 2:
            return output[:, :, None, None]
        return output.permute(0, 3, 1, 2) if self.channels_last else output

    def from_grid(self, grid: Tensor, output: Tensor) -> Tensor:
        """The inverse of `to_grid`; prefix tokens are those of `output`."""
        if output.ndim == 3:
            return torch.cat([output[:, : self.n_prefix_tokens], grid.flatten(2).transpose(1, 2)], 1)
        if output.ndim == 2:
            return grid[:, :, 0, 0]
        return grid.permute(0, 2, 3, 1) if self.channels_last else grid

    def logits(self, maps: list[Tap]) -> Tensor:
        """Logits from maps like `maps`."""
        if self.before_last_block:
            logits: Tensor = self.network(maps[0][0])
            return logits
        pooled = self.network.pool_maps(maps)
        if self.heads is None:
            return self.network.classify(pooled)
        return torch.cat([head(pooled) for head in self.heads], dim=1)


class _FromMaps(nn.Module):
    """Networks from their maps to their logits."""

    def __init__(self, parts: Sequence[_NetworkAtMaps], shift: NDArray[np.float64]) -> None:
        super().__init__()
        self.maps = DetachedIdentity()
        self._parts = parts
        self._shift = torch.from_numpy(shift).float()

    def grids(self) -> list[Tensor]:
        """All maps, with their channels first."""
        return [part.to_grid(output) for part in self._parts for output, _ in part.maps]

    def forward(self, *grids: Tensor) -> Tensor:
        remaining = iter(self.maps(*grids))
        logits = [
            part.logits([(part.from_grid(next(remaining), output), token) for output, token in part.maps])
            for part in self._parts
        ]
        return torch.cat(logits, dim=1).float().cpu() + self._shift


def _before_last_block(state: NetworkState, weights: str, images: Tensor) -> _NetworkAtMaps:
    network = state.build(weights).to(images.device)
    prefix, suffix = network.split(1)
    return _NetworkAtMaps(suffix.eval(), None, [(prefix(images), None)], before_last_block=True)


def _names(parts: Sequence[_NetworkAtMaps]) -> list[str]:
    names = []
    for number, part in enumerate(parts):
        state = f"state{number}-" if len(parts) > 1 else ""
        several = len(part.maps) > 1
        names += [f"{state}map{layer if several else ''}" for layer in range(len(part.maps))]
    return names
