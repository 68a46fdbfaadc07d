"""A network with one body and a branch for each decision."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ensemble_minerals.config.networks import (
    LayersHeadConfig,
    NetworkConfig,
    NetworkHeadConfig,
    OwnHeadConfig,
)
from ensemble_minerals.data.subproblem import n_logits
from ensemble_minerals.errors import ConfigError
from ensemble_minerals.networks.models import timm_models
from ensemble_minerals.networks.models.blocks import Blocks, blocks_of, cut
from ensemble_minerals.networks.models.splitting import NetworkPrefix, TappedSuffix, cut_taps
from ensemble_minerals.networks.models.taps import Tap, TappedNetwork, pool_taps
from ensemble_minerals.networks.models.transforms import Normalize
from ensemble_minerals.networks.models.weights import LoadedNetwork, Preprocessing, load_network


class PartlyFrozenModule(nn.Module):
    """A module some of whose parts stay in evaluation mode while the rest trains.

    Attributes:
        frozen: Those parts: no dropout there, and statistics of batch normalization stay as they are.
    """

    frozen: tuple[nn.Module, ...]

    def __init__(self) -> None:
        super().__init__()
        self.frozen = ()

    def train(self, mode: bool = True) -> PartlyFrozenModule:
        """Set the mode of all parts but the resting ones."""
        super().train(mode)
        for module in self.frozen:
            module.eval()
        return self


class MultiHeadNetwork(PartlyFrozenModule):
    """Pixels in [0, 1] to the logits of several decisions.

    A decision of two branches has one column, the log-odds of the second; one of K > 2 branches has K columns.

    Attributes:
        normalize: What the body expects of pixels.
        body: timm's network.
        heads: One a decision; empty where the network's own classifier answers.
        blocks: Where in the body each tensor lies.
        n_outcomes: Of each decision.
        size: Height and width of the input.
        sees: ``images``, or ``pooled`` for the end of a split network that is its head alone.
    """

    def __init__(
        self, loaded: LoadedNetwork, head: NetworkHeadConfig, n_outcomes: Sequence[int], size: tuple[int, int]
    ) -> None:
        """Put heads on a network; random numbers are torch's global ones.

        Args:
            loaded: The network without a classifier; it is changed in place.
            head: What stands on it.
            n_outcomes: Of each decision.
            size: Height and width of the input.

        Raises:
            ConfigError: A head that does not fit together.
        """
        super().__init__()
        self.n_outcomes = tuple(n_outcomes)
        self.size = size
        self.sees = "images"
        self.normalize: nn.Module = Normalize(loaded.preprocessing)
        self.body = loaded.network.requires_grad_(True)
        self.heads = nn.ModuleList()
        self.pooling = head.pooling if isinstance(head, LayersHeadConfig) else "own"
        # In a tuple, where torch does not look for layers: they are those of the body.
        self._tapped: tuple[TappedNetwork, ...] = ()
        self._rear: tuple[TappedSuffix, ...] = ()
        if self.pooling == "taps":
            self._tapped = (TappedNetwork(loaded),)
            self.body.requires_grad_(True)
        self._format = torch.contiguous_format
        outputs = [n_logits(count) for count in self.n_outcomes]
        if isinstance(head, LayersHeadConfig) and isinstance(
            getattr(self.body, "pre_logits", None), nn.Module
        ):
            # VGG's dense layers, 119 million weights that only its own classifier would use.
            self.body.pre_logits = nn.Identity()
        if isinstance(head, OwnHeadConfig):
            self.body.reset_classifier(sum(outputs))  # type: ignore[operator]  # timm's
        else:
            with torch.no_grad():
                width = self.eval().pool(torch.rand(1, 3, *size)).shape[1]
            self.heads.extend(_head(head, width, columns) for columns in outputs)
        self.blocks: Blocks = blocks_of(self.body)
        if any(
            isinstance(module, nn.Conv2d) and module.kernel_size != module.stride for module in self.modules()
        ):
            self._format = torch.channels_last
            self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """Logits.

        Args:
            images: RGB in [0, 1], shape (b, 3, height, width); the end of a split network takes what its
                beginning returned.

        Returns:
            Shape (b, n_outputs).
        """
        return self.classify(images if self.sees == "pooled" else self.pool(images))

    def pool(self, images: Tensor) -> Tensor:
        """What the head sees: a vector a picture, or for the network's own classifier the last map."""
        if self._rear:
            joined: Tensor = self._rear[0](images)
            return joined
        return self.pool_maps(self.maps(images))

    def maps(self, images: Tensor) -> list[Tap]:
        """What is pooled: the last map or tokens of the body, or all that a head on taps looks at."""
        if images.ndim == 4:
            images = images.contiguous(memory_format=self._format)
        if self._tapped:
            return self._tapped[0].layers_seen(self.normalize(images))
        return [(self.body.forward_features(self.normalize(images)), None)]  # type: ignore[operator]  # timm's

    def pool_maps(self, maps: Sequence[Tap]) -> Tensor:
        """What the head sees, of what `maps` returned."""
        if self._tapped:
            return pool_taps(maps)
        features, _ = maps[0]
        return features if self.pooling == "own" else self._pooled(features)

    def classify(self, pooled: Tensor) -> Tensor:
        """Logits (b, n_outputs) of what `pool` returned."""
        if not len(self.heads):
            logits: Tensor = self.body.forward_head(pooled)  # type: ignore[operator]  # timm's
            return logits
        return torch.cat([head(pooled) for head in self.heads], dim=1)

    def head_names(self) -> frozenset[str]:
        """Names of the head's tensors in the state of this network."""
        if len(self.heads):
            return frozenset(name for name in self.state_dict() if name.startswith("heads."))
        own: Any = self.body.get_classifier()  # type: ignore[operator]  # timm's
        return frozenset(
            f"body.{path}.{name}"
            for path, module in self.body.named_modules()
            if module is own
            for name in module.state_dict()
        )

    def depth(self, name: str) -> int:
        """Block of a tensor of the body, by its name in the state of this network; see `Blocks`."""
        return self.blocks.depth[name.removeprefix("body.")]

    def split(self, n_last: int) -> tuple[nn.Module, MultiHeadNetwork]:
        """Cut the network in two before the last blocks; both halves share its layers, by the same names.

        Args:
            n_last: Blocks in the second half; 0 leaves it the head alone.

        Returns:
            Pixels in [0, 1] to an inner layer, and that layer to logits.

        Raises:
            ConfigError: A network that cannot be cut there.
        """
        suffix = copy.copy(self)
        suffix.__dict__["_modules"] = dict(self._modules)
        if n_last == 0:
            suffix.sees = "pooled"
            if len(self.heads):
                suffix.__dict__ |= {"_modules": {"heads": self.heads}, "_tapped": (), "frozen": ()}
            return HeadlessNetwork(self), suffix
        device = next(self.parameters()).device
        example = self.normalize(torch.rand(1, 3, *self.size, device=device))
        example = example.contiguous(memory_format=self._format)
        modules = suffix.__dict__["_modules"] | {"normalize": nn.Identity()}
        beginning: nn.Module
        if self._tapped:
            beginning, rear = cut_taps(self._tapped[0], n_last, example, self._format)
            suffix.__dict__ |= {"_modules": modules | {"body": rear.body}, "_tapped": (), "_rear": (rear,)}
        else:
            beginning, back = cut(self.body, n_last, example)
            suffix.__dict__["_modules"] = modules | {"body": back}
        return NetworkPrefix(self.normalize, beginning, self._format), suffix

    def _pooled(self, features: Tensor) -> Tensor:
        if features.ndim == 3:
            patches = features[:, int(getattr(self.body, "num_prefix_tokens", 0) or 0) :]
            features = patches.transpose(1, 2).unsqueeze(-1)
        elif features.ndim == 4 and getattr(self.body, "output_fmt", "NCHW") == "NHWC":
            features = features.permute(0, 3, 1, 2)
        elif features.ndim == 2:
            features = features[:, :, None, None]
        if self.pooling == "flatten":
            return features.flatten(1)
        if self.pooling == "stats":
            return pool_taps([(features, None)])
        mean, most = features.mean((2, 3)), features.amax((2, 3))
        return {"avg": mean, "max": most}.get(self.pooling, torch.cat([mean, most], dim=1))


class HeadlessNetwork(nn.Module):
    """All of a network but its head."""

    def __init__(self, network: MultiHeadNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """What the head sees of images (b, 3, height, width)."""
        return self.network.pool(images)


def build_network(config: NetworkConfig, n_outcomes: Sequence[int]) -> tuple[MultiHeadNetwork, LoadedNetwork]:
    """Load a network as configured and put its head on; the head's random numbers are torch's global ones.

    Raises:
        WeightsError: Unknown model, or weights that cannot be had or do not fit.
        ConfigError: A head that does not fit together.
    """
    stated = config.preprocessing
    loaded = load(
        config.model,
        config.weights,
        config.size,
        None if stated is None else Preprocessing(stated.mean, stated.std, stated.order, stated.scale),
    )
    return MultiHeadNetwork(loaded, config.head, n_outcomes, input_size(config.size, loaded)), loaded


def load(
    model: str, weights: str, size: int | tuple[int, int] | None, preprocessing: Preprocessing | None
) -> LoadedNetwork:
    """Load a network without classifier for an input of any shape; see `load_network`."""
    shape: dict[str, Any] = {"size": size}
    if isinstance(size, tuple):
        shape = {"size": max(size)}
        if timm_models.pretrained_cfg(model).fixed_input_size:
            shape["img_size"] = size
    loaded = load_network(model, weights, preprocessing=preprocessing, **shape)
    # Of the tensors, since a bundle keeps them in a file of its own.
    return replace(loaded, digest=timm_models.digest(loaded.network))


def input_size(size: int | tuple[int, int] | None, loaded: LoadedNetwork) -> tuple[int, int]:
    """Height and width of the input: as configured, else the weights' own."""
    if isinstance(size, int):
        return size, size
    if size is not None:
        return size
    own = getattr(loaded.network, "pretrained_cfg", {}).get("input_size")
    return (int(own[1]), int(own[2])) if own else (loaded.input_size, loaded.input_size)


def set_dense(head: nn.Module, weight: NDArray[Any], bias: NDArray[Any], rows: NDArray[Any]) -> None:
    """Make a head of one dense layer compute `rows @ weight.T + bias`.

    Args:
        head: As `MultiHeadNetwork` builds it.
        weight: Shape (columns, width).
        bias: Shape (columns,).
        rows: What the head sees in training, (n, width): their mean and variance become the statistics of its batch
            normalization, if it has one, so that training starts from the same answers as prediction.
    """
    layers = list(head.children())
    if isinstance(layers[0], nn.BatchNorm1d):
        center, variance = rows.mean(0), rows.var(0, ddof=1)
        layers[0].running_mean, layers[0].running_var = (
            torch.tensor(center).float(),
            torch.tensor(variance).float(),
        )
        bias = bias + weight @ center
        weight = weight * np.sqrt(variance + layers[0].eps)
    dense = layers[-1]
    assert isinstance(dense, nn.Linear)
    with torch.no_grad():
        dense.weight.copy_(torch.tensor(weight))
        dense.bias.copy_(torch.tensor(bias))


def _head(config: LayersHeadConfig, width: int, n_outputs: int) -> nn.Sequential:
    """Batch normalization if wanted, dropout and a dense layer, as often as there are layers; ReLU between them."""
    sizes = [width, *config.hidden, n_outputs]
    shares = config.dropout if isinstance(config.dropout, tuple) else (config.dropout,) * (len(sizes) - 1)
    if len(shares) != len(sizes) - 1:
        raise ConfigError(
            [f"head.dropout: {list(shares)} has {len(shares)} shares for {len(sizes) - 1} dense layers"]
        )
    if config.init == "probe" and config.hidden:
        raise ConfigError(
            [f"head.init: probe goes with one dense layer, but hidden is {list(config.hidden)}"]
        )
    layers: list[nn.Module] = []
    for (n_in, n_out), share in zip(pairwise(sizes), shares, strict=True):
        layers += [nn.ReLU()] if layers else []
        layers += [nn.BatchNorm1d(n_in)] if config.batch_norm else []
        layers += [nn.Dropout(share), nn.Linear(n_in, n_out)]
    if config.init == "zero":
        for parameter in layers[-1].parameters():
            nn.init.zeros_(parameter)
    return nn.Sequential(*layers)
