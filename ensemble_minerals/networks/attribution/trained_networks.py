"""Trained networks opened at the maps that their heads look at, so that their logits can be explained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ensemble_minerals.data.views import DETAIL
from ensemble_minerals.networks.attribution.activation import DetachedIdentity, ForwardPass, patch_grid
from ensemble_minerals.networks.inference import NetworkPredictor
from ensemble_minerals.networks.models.multi_head import HeadlessNetwork, MultiHeadNetwork
from ensemble_minerals.networks.models.state import NetworkState
from ensemble_minerals.networks.models.taps import Tap
from ensemble_minerals.networks.models.transforms import EvalTransform


@torch.no_grad()
def trained_forward_pass(predictor: NetworkPredictor, weights: str, image: NDArray[np.uint8]) -> ForwardPass:
    """Send the views of a photo through trained networks, up to the maps that their heads look at.

    Every state has maps of its own, unless training changed nothing but heads. A transformer whose head looks at the
    class token is opened before its last block, where patches still speak to that token.

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
        openings = [_NetworkAtMaps(body, nn.ModuleList(predictor.ends), body.maps(images))]
    elif predictor.shared is not None and metadata["head"].get("pooling") == "taps":
        # What the shared half hands on of the maps that it sees is pooled already.
        networks = [state.build(weights).to(predictor.device) for state in predictor.states]
        openings = [_NetworkAtMaps(network, None, network.maps(images)) for network in networks]
    else:
        inner = images if predictor.shared is None else predictor.shared(images)
        networks = [end for end in predictor.ends if isinstance(end, MultiHeadNetwork)]
        openings = [_NetworkAtMaps(network, None, network.maps(inner)) for network in networks]
    if any(opening.asks_class_token for opening in openings):
        openings = [_before_last_block(state, weights, images) for state in predictor.states]
    module = _FromMaps(openings, predictor.shift)
    boxes = np.array([_view_box(view, transform, image.shape[:2]) for view in transform.views])
    mirrored = np.array([view.endswith("_flip") for view in transform.views])
    return ForwardPass(module, tuple(module.grids()), module.stop, tuple(_names(openings)), boxes, mirrored)


@dataclass(frozen=True, eq=False)
class _NetworkAtMaps:
    """A network stopped at its maps.

    Attributes:
        network: The network, or the end of it that is still to be run.
        heads: What follows its pooled maps, if not its own heads.
        maps: As `MultiHeadNetwork.maps` returns them; for a network cut before its last block, the tokens there.
        cut: Whether it is.
    """

    network: MultiHeadNetwork
    heads: nn.ModuleList | None
    maps: list[Tap]
    cut: bool = False

    @property
    def asks_class_token(self) -> bool:
        """Whether patches no longer count, the class token having been made of them."""
        body, (seen, _) = self.network.body, self.maps[0]
        return (
            seen.ndim == 3 and self.network.pooling == "own" and getattr(body, "global_pool", "") == "token"
        )

    @property
    def by_rows(self) -> bool:
        """Whether the channels of its map come last."""
        body = self.network.body
        return self.network.pooling != "taps" and getattr(body, "output_fmt", "NCHW") == "NHWC"

    def prefix(self, seen: Tensor) -> int:
        """Tokens of its map that have no place in the photo."""
        alone = self.network.pooling == "taps" or seen.ndim != 3
        return 0 if alone else int(getattr(self.network.body, "num_prefix_tokens", 0) or 0)

    def answer(self, maps: list[Tap]) -> Tensor:
        """Logits of the maps."""
        if self.cut:
            found: Tensor = self.network(maps[0][0])
            return found
        pooled = self.network.pool_maps(maps)
        if self.heads is None:
            return self.network.classify(pooled)
        return torch.cat([head(pooled) for head in self.heads], dim=1)


class _FromMaps(nn.Module):
    """Networks from their maps to their logits."""

    def __init__(self, openings: Sequence[_NetworkAtMaps], shift: NDArray[np.float64]) -> None:
        super().__init__()
        self.stop = DetachedIdentity()
        self._openings = openings
        self._shift = torch.from_numpy(shift).float()

    def grids(self) -> list[Tensor]:
        """All maps with their channels first."""
        return [_grid(opening, seen) for opening in self._openings for seen, _ in opening.maps]

    def forward(self, *grids: Tensor) -> Tensor:
        stopped = iter(self.stop(*grids))
        answers = [
            opening.answer(
                [(_from_grid(opening, seen, next(stopped)), token) for seen, token in opening.maps]
            )
            for opening in self._openings
        ]
        return torch.cat(answers, dim=1).float().cpu() + self._shift


def _grid(opening: _NetworkAtMaps, seen: Tensor) -> Tensor:
    if seen.ndim == 3:
        height, width = opening.network.size
        return patch_grid(seen[:, opening.prefix(seen) :], height / width)
    if seen.ndim == 2:
        return seen[:, :, None, None]
    return seen.permute(0, 3, 1, 2) if opening.by_rows else seen


def _from_grid(opening: _NetworkAtMaps, seen: Tensor, grid: Tensor) -> Tensor:
    if seen.ndim == 3:
        return torch.cat([seen[:, : opening.prefix(seen)], grid.flatten(2).transpose(1, 2)], 1)
    if seen.ndim == 2:
        return grid[:, :, 0, 0]
    return grid.permute(0, 2, 3, 1) if opening.by_rows else grid


def _before_last_block(state: NetworkState, weights: str, images: Tensor) -> _NetworkAtMaps:
    network = state.build(weights).to(images.device)
    front, back = network.split(1)
    opening = _NetworkAtMaps(back.eval(), None, [(front(images), None)])
    return replace(opening, cut=True)


def _names(openings: Sequence[_NetworkAtMaps]) -> list[str]:
    names = []
    for number, opening in enumerate(openings):
        state = f"state{number}" if len(openings) > 1 else ""
        several = len(opening.maps) > 1
        maps = [f"map{place}" if several else "map" for place in range(len(opening.maps))]
        names += [f"{state}-{name}" if state else name for name in maps]
    return names


def _view_box(view: str, transform: EvalTransform, shape: Sequence[int]) -> tuple[float, float, float, float]:
    """What a view shows of a photo: left, top, right and bottom in shares of its sides; beyond it where padded."""
    base = view.removesuffix("_flip")
    if base == "squash" and transform.resize != "pad":
        return 0.0, 0.0, 1.0, 1.0
    ratios = [side / wanted for side, wanted in zip(shape, transform.size, strict=True)]
    scale = max(ratios) if base == "squash" else min(ratios) * (DETAIL if base == "detail" else 1.0)
    down, across = (scale * wanted / side / 2 for side, wanted in zip(shape, transform.size, strict=True))
    return 0.5 - across, 0.5 - down, 0.5 + across, 0.5 + down
