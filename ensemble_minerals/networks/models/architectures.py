"""Convolutional networks without pretrained weights, registered with timm when this module is imported.

Three of them are published, and copied layer by layer: `cnn_model_1`, `cnn_model_2` and `cnn_model_2_1`. The fourth,
`cnn_seven`, is a design of this package for seven minerals. All follow timm's conventions, so they can be used like
any timm network; their blocks are in ``blocks``. They expect pixels in [0, 1].

Where the publications say nothing, the defaults of their framework hold: weights are initialized as in Glorot and
Bengio (2010, AISTATS), biases with zero. torch's own initial weights are smaller, and the signal would fade in four
dense layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F  # noqa: N812  # as torch's own pages call it
from timm.layers.adaptive_avgmax_pool import SelectAdaptivePool2d
from timm.models import build_model_with_cfg, register_model
from torch import Tensor, nn


@dataclass(frozen=True)
class BlockPlan:
    """One block: 3 x 3 convolutions with ReLU, then 2 x 2 max-pooling.

    Attributes:
        channels: Channels of each convolution.
        convolutions: Number of convolutions.
        same: Whether zero padding keeps the size of the map; else each convolution takes a pixel off every side.
        norm: Batch normalization: ``after`` each ReLU, ``before`` it, or ``none``.
        stride: Stride of the first convolution.
        pool: Whether the block ends with max-pooling.

    Example:
        >>> BlockPlan(8, same=False).build(in_chans=3)
        Sequential(
          (conv): Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1))
          (act): ReLU(inplace=True)
          (pool): MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
        )
    """

    channels: int
    convolutions: int = 1
    same: bool = True
    norm: str = "none"
    stride: int = 1
    pool: bool = True

    def build(self, in_chans: int) -> nn.Sequential:
        """The layers of the block, for maps of `in_chans` channels."""
        layers = nn.Sequential()
        for number in range(self.convolutions):
            end = f"{number + 1}" if self.convolutions > 1 else ""
            conv = nn.Conv2d(
                in_chans if number == 0 else self.channels,
                self.channels,
                3,
                stride=self.stride if number == 0 else 1,
                padding=1 if self.same else 0,
                bias=self.norm != "before",  # the normalization's own shift would undo it
            )
            layers.add_module(f"conv{end}", conv)
            if self.norm == "before":
                layers.add_module(f"bn{end}", nn.BatchNorm2d(self.channels))
            layers.add_module(f"act{end}", nn.ReLU(inplace=True))
            if self.norm == "after":
                layers.add_module(f"bn{end}", nn.BatchNorm2d(self.channels))
        if self.pool:
            layers.add_module("pool", nn.MaxPool2d(2))
        return layers


class GridFlatten(nn.Module):
    """Flattens a map. A map of another size than the grid is first average-pooled to it.

    So a network with flattening takes images of any size, and its number of parameters stays the same.

    Args:
        grid: Height and width of the map for images of the network's own size.

    Example:
        >>> import torch
        >>> GridFlatten((1, 2))(torch.tensor([[[[1.0, 3.0, 5.0, 7.0]]]]))
        tensor([[2., 6.]])
    """

    def __init__(self, grid: tuple[int, int]) -> None:
        super().__init__()
        self.grid = grid

    def forward(self, x: Tensor) -> Tensor:
        """From (n, channels, height, width) to (n, channels * grid height * grid width)."""
        if tuple(x.shape[-2:]) != self.grid:
            x = F.adaptive_avg_pool2d(x, self.grid)
        return x.flatten(1)


class PlainNetwork(nn.Module):
    """A sequence of blocks, then pooling, hidden dense layers, dropout and the classifier.

    Args:
        plans: The blocks.
        grid: Height and width of the last map if it is flattened; None pools it.
        hidden: Widths of dense layers with ReLU before the classifier.
        num_classes: Number of outputs; 0 leaves the classifier out.
        in_chans: Channels of the image.
        drop_rate: Dropout before the classifier.
        global_pool: Pooling of the last map: ``avg``, ``max``, ``avgmax``, or an empty string, which keeps the map.

    Attributes:
        blocks: The blocks.
        num_features: Channels of the last map.
        head_hidden_size: Number of inputs of the classifier.
        feature_info: Channels, reduction and name of each block, as in timm.
    """

    def __init__(
        self,
        plans: Sequence[BlockPlan],
        *,
        grid: tuple[int, int] | None = None,
        hidden: Sequence[int] = (),
        num_classes: int = 1000,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        global_pool: str = "avg",
    ) -> None:
        super().__init__()
        self.num_classes, self.in_chans, self.drop_rate = num_classes, in_chans, drop_rate
        self.feature_info: list[dict[str, Any]] = []
        self.blocks = nn.Sequential()
        channels, reduction = in_chans, 1
        for number, plan in enumerate(plans):
            self.blocks.append(plan.build(channels))
            channels, reduction = plan.channels, reduction * plan.stride * (2 if plan.pool else 1)
            info = {"num_chs": channels, "reduction": reduction, "module": f"blocks.{number}"}
            self.feature_info.append(info)
        self.num_features = channels
        self.global_pool: nn.Module
        if grid is None:
            self.global_pool, width = _pooling(global_pool), channels
        else:
            self.global_pool, width = GridFlatten(grid), channels * grid[0] * grid[1]
        self.pre_logits = nn.Sequential()
        for size in hidden:
            self.pre_logits.extend((nn.Linear(width, size), nn.ReLU(inplace=True)))
            width = size
        self.head_hidden_size = width
        self.head_drop = nn.Dropout(drop_rate)
        self.head = _classifier(width, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                _initialize(module)

    def get_classifier(self) -> nn.Module:
        """The classifier: the last dense layer."""
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier by a new one.

        Args:
            num_classes: Number of outputs; 0 leaves the classifier out.
            global_pool: Another pooling.

        Raises:
            ValueError: Another pooling for a network that flattens its last map.
        """
        if global_pool is not None:
            if isinstance(self.global_pool, GridFlatten):
                raise ValueError(f"global_pool={global_pool!r}: this network flattens its map; leave it out")
            self.global_pool = _pooling(global_pool)
        self.num_classes = num_classes
        self.head = _classifier(self.head_hidden_size, num_classes).to(next(self.parameters()).device)

    def forward_features(self, x: Tensor) -> Tensor:
        """The last map, (n, num_features, height, width)."""
        features: Tensor = self.blocks(x)
        return features

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Logits of a last map; with `pre_logits` the inputs of the classifier."""
        x = self.head_drop(self.pre_logits(self.global_pool(x)))
        return x if pre_logits else self.head(x)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, (n, num_classes), of images (n, in_chans, height, width) in [0, 1]."""
        return self.forward_head(self.forward_features(x))

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """Maps after chosen blocks, as in timm's networks.

        Args:
            x: Images.
            indices: Numbers of the blocks; an integer k takes the last k, None all.
            norm: Ignored: there is no final normalization.
            stop_early: Do not compute the blocks after the last chosen one.
            output_fmt: ``NCHW``.
            intermediates_only: Return the maps alone; else the last map and the maps.
        """
        if output_fmt != "NCHW":
            raise ValueError(f"output_fmt={output_fmt!r}: these maps are NCHW")
        every = range(len(self.blocks))
        chosen = every[-indices:] if isinstance(indices, int) else [every[i] for i in indices or every]
        maps = []
        for number, block in enumerate(self.blocks):
            if stop_early and number > max(chosen):
                break
            x = block(x)
            if number in chosen:
                maps.append(x)
        return maps if intermediates_only else (x, maps)


def _pooling(kind: str) -> nn.Module:
    pooling: nn.Module = SelectAdaptivePool2d(pool_type=kind, flatten=bool(kind))
    return pooling


def _classifier(width: int, num_classes: int) -> nn.Module:
    if not num_classes:
        return nn.Identity()
    layer = nn.Linear(width, num_classes)
    _initialize(layer)
    return layer


def _initialize(layer: nn.Conv2d | nn.Linear) -> None:
    nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _cfg(height: int, width: int, grid: tuple[int, int], least: int) -> dict[str, Any]:
    """Description of a network for timm: its input size and the smallest side it can take."""
    return {
        "url": "",
        "num_classes": 1000,
        "input_size": (3, height, width),
        "min_input_size": (3, least, least),
        "pool_size": grid,
        "crop_pct": 1.0,
        "interpolation": "bilinear",
        "mean": (0.0, 0.0, 0.0),
        "std": (1.0, 1.0, 1.0),
        "first_conv": "blocks.0.conv",
        "classifier": "head",
    }


default_cfgs = {
    "cnn_model_1": _cfg(400, 321, (12, 10), 32),
    "cnn_model_2": _cfg(180, 180, (7, 7), 78),
    "cnn_model_2_1": _cfg(180, 180, (7, 7), 78),
    "cnn_seven": _cfg(160, 160, (5, 5), 32),
}
"""timm looks for this name."""

MODELS = tuple(default_cfgs)
"""Names of the networks."""

_MODEL_2 = (*(BlockPlan(width, same=False) for width in (32, 64, 128, 256)),
            BlockPlan(256, same=False, pool=False))  # fmt: skip


def cnn_model_1(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Five narrow blocks and four hidden dense layers, for images 400 high and 321 wide.

    It has 779,253 parameters for three classes, and 96 running statistics of batch normalization.
    """
    plans = [BlockPlan(width, norm="after") for width in (12, 6, 12, 6, 12)]
    return _build("cnn_model_1", pretrained, plans, {"grid": (12, 10), "hidden": (500, 100, 50, 10)}, kwargs)


def cnn_model_2(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Five wide blocks without hidden dense layers, for 180 x 180; 1,016,131 parameters for three classes."""
    return _build("cnn_model_2", pretrained, _MODEL_2, {"grid": (7, 7)}, kwargs)


def cnn_model_2_1(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """`cnn_model_2` with dropout 0.5 between the flattened map and the classifier."""
    return _build("cnn_model_2_1", pretrained, _MODEL_2, {"grid": (7, 7), "drop_rate": 0.5}, kwargs)


def cnn_seven(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """A network for a few hundred to a few thousand photos of seven minerals, 160 x 160.

    - Two convolutions a block, with batch normalization before ReLU: it learns from the first steps at usual rates.
    - A first convolution of stride 2: luster and grain are still visible at 80 x 80, at a fourth of the cost.
    - Five halvings: each position of the last 5 x 5 map sees the whole stone.
    - The mean of that map instead of dense layers over its positions: where a stone lies in the photo says nothing
      about it, and nine tenths of the weights of `cnn_model_1` are in such dense layers.
    - Dropout before the classifier.

    It has 1,491,047 parameters for seven classes, nearly all in convolutions.
    """
    plans = [
        BlockPlan(32, norm="before", stride=2, pool=False),
        *(BlockPlan(width, 2, norm="before") for width in (48, 96, 160, 256)),
    ]
    return _build("cnn_seven", pretrained, plans, {"drop_rate": 0.4}, kwargs)


def _build(
    name: str, pretrained: bool, plans: Sequence[BlockPlan], own: dict[str, Any], kwargs: dict[str, Any]
) -> nn.Module:
    network: nn.Module = build_model_with_cfg(PlainNetwork, name, pretrained, plans=plans, **own | kwargs)
    return network


for _entry in (cnn_model_1, cnn_model_2, cnn_model_2_1, cnn_seven):
    register_model(_entry)
