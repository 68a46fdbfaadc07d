"""Networks that are trained from nothing, registered with timm under their own names when this module is imported.

Three of them are published ones, layer by layer: `cnn_model_1`, `cnn_model_2` and `cnn_model_2_1`. The fourth,
`cnn_seven`, is a design of this package for seven minerals. All follow timm's conventions, so whatever takes a
timm network takes them; their blocks stand in ``blocks``. Pixels are expected in [0, 1].

What the write-ups leave to their framework is taken from there: weights start by Glorot and Bengio (2010,
AISTATS), biases at zero. torch's own start is weaker, and the signal would fade in four dense layers.
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
    """One block: convolutions of 3 x 3 with ReLU, then perhaps a maximum over 2 x 2 pixels.

    Attributes:
        channels: Of each convolution.
        convolutions: How many follow each other.
        same: Zeros around the map keep its size; else each convolution takes a pixel off every side.
        norm: Batch normalization: ``after`` each ReLU, ``before`` it, or ``none``.
        stride: Of the first convolution.
        pool: End with the maximum.
    """

    channels: int
    convolutions: int = 1
    same: bool = True
    norm: str = "none"
    stride: int = 1
    pool: bool = True

    def build(self, in_chans: int) -> nn.Sequential:
        """The layers, for maps of so many channels."""
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
    """All values of a map in one row; a map of another size than the grid is averaged onto it first.

    So a network that flattens takes pictures of any size, and has the parameters of its own size.

    Args:
        grid: Height and width of the map for pictures of the network's own size.
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
    """Blocks one after the other, then pooling, hidden dense layers, dropout and the classifier.

    Args:
        plans: The blocks.
        grid: Height and width of the last map, all of whose values go on; None pools it.
        hidden: Widths of dense layers with ReLU before the classifier.
        num_classes: Outputs; 0 leaves the classifier out.
        in_chans: Channels of the picture.
        drop_rate: Dropout before the classifier.
        global_pool: Where the map is pooled: ``avg``, ``max``, ``avgmax``, or nothing, which keeps the map.

    Attributes:
        blocks: As `plans` say.
        num_features: Channels of the last map.
        head_hidden_size: Values that the classifier sees.
        feature_info: Of each block its channels, reduction and name, as timm has it.
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
                _start(module)

    def get_classifier(self) -> nn.Module:
        """The last dense layer."""
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Start a new classifier.

        Args:
            num_classes: Outputs; 0 leaves it out.
            global_pool: Another pooling.

        Raises:
            ValueError: Another pooling for a network whose dense layers see the whole map.
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
        """Logits of a last map, or with `pre_logits` what the classifier would see."""
        x = self.head_drop(self.pre_logits(self.global_pool(x)))
        return x if pre_logits else self.head(x)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, (n, num_classes), of pictures (n, in_chans, height, width) in [0, 1]."""
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
        """Maps after chosen blocks, as in timm's networks; there is no norm to apply.

        Args:
            x: Pictures.
            indices: Blocks; a number takes so many last ones, None all.
            norm: Nothing, here.
            stop_early: Leave out the blocks after the last chosen one.
            output_fmt: ``NCHW``.
            intermediates_only: Only the maps; else the last map, too.
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
    _start(layer)
    return layer


def _start(layer: nn.Conv2d | nn.Linear) -> None:
    nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _cfg(height: int, width: int, grid: tuple[int, int], least: int) -> dict[str, Any]:
    """What a network expects of a picture, and the least side it can work on; there are no weights to load."""
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
"""For timm, which looks for this name; pictures as height and width."""

MODELS = tuple(default_cfgs)
"""Names of the networks."""

_MODEL_2 = (*(BlockPlan(width, same=False) for width in (32, 64, 128, 256)),
            BlockPlan(256, same=False, pool=False))  # fmt: skip


def cnn_model_1(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Five narrow blocks and four hidden dense layers, for pictures 400 high and 321 wide.

    For three classes 779,253 parameters and 96 running statistics of batch normalization.
    """
    plans = [BlockPlan(width, norm="after") for width in (12, 6, 12, 6, 12)]
    return _build("cnn_model_1", pretrained, plans, {"grid": (12, 10), "hidden": (500, 100, 50, 10)}, kwargs)


def cnn_model_2(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Five wide blocks and nothing hidden, for 180 x 180; 1,016,131 parameters for three classes."""
    return _build("cnn_model_2", pretrained, _MODEL_2, {"grid": (7, 7)}, kwargs)


def cnn_model_2_1(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """`cnn_model_2` with dropout 0.5 between the flattened map and the classifier."""
    return _build("cnn_model_2_1", pretrained, _MODEL_2, {"grid": (7, 7), "drop_rate": 0.5}, kwargs)


def cnn_seven(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """A design of our own for a few hundred to a few thousand photos of seven minerals, 160 x 160.

    Two convolutions a block with batch normalization before ReLU, so that it starts to learn at once at a
    usual rate; a first convolution of stride 2, since luster and grain survive at 80 x 80 and a processor has
    a fourth of the work; five halvings, so that the last 5 x 5 map sees the whole stone from every place; the
    mean of that map instead of dense layers over all its places, since where a stone lies in the picture says
    nothing of it, and nine tenths of `cnn_model_1` are such dense layers; dropout before the classifier.
    1,491,047 parameters for seven classes, nearly all in convolutions.
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
