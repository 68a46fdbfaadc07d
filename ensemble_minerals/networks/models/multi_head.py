"""A network with one body and a head for each subproblem."""

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
from ensemble_minerals.networks.models.blocks import Blocks, blocks_of, split_body
from ensemble_minerals.networks.models.splitting import NetworkPrefix, TappedSuffix, split_tapped
from ensemble_minerals.networks.models.taps import Tap, TappedNetwork, pool_taps
from ensemble_minerals.networks.models.transforms import Normalize
from ensemble_minerals.networks.models.weights import LoadedNetwork, Preprocessing, load_network


class PartlyFrozenModule(nn.Module):
    """A module whose frozen parts stay in evaluation mode while the rest trains.

    Attributes:
        frozen: The frozen parts. They have no dropout, and their batch normalization keeps its statistics.
    """

    frozen: tuple[nn.Module, ...]

    def __init__(self) -> None:
        super().__init__()
        self.frozen = ()

    def train(self, mode: bool = True) -> PartlyFrozenModule:
        """Set the mode of all parts but the frozen ones."""
        super().train(mode)
        for module in self.frozen:
            module.eval()
        return self


class MultiHeadNetwork(PartlyFrozenModule):
    """A network from pixels in [0, 1] to the logits of several subproblems.

    A subproblem of two outcomes has one logit, the log-odds of the second; one of K > 2 outcomes has K logits.

    Attributes:
        normalize: The preprocessing that the body expects.
        body: timm's network.
        heads: One head a subproblem; empty if the network's own classifier is used.
        blocks: Block of each tensor of the body.
        n_outcomes: Number of outcomes of each subproblem.
        size: Height and width of the input.
        input_kind: ``images``, or ``pooled`` for a suffix that is the head alone.
    """

    def __init__(
        self, loaded: LoadedNetwork, head: NetworkHeadConfig, n_outcomes: Sequence[int], size: tuple[int, int]
    ) -> None:
        """Put heads on a network, with torch's global random numbers.

        Args:
            loaded: The network without a classifier; it is changed in place.
            head: Kind of the heads.
            n_outcomes: Number of outcomes of each subproblem.
            size: Height and width of the input.

        Raises:
            ConfigError: Settings of the head that contradict each other.
        """
        super().__init__()
        self.n_outcomes = tuple(n_outcomes)
        self.size = size
        self.input_kind = "images"
        self.normalize: nn.Module = Normalize(loaded.preprocessing)
        self.body = loaded.network.requires_grad_(True)
        self.heads = nn.ModuleList()
        self.pooling = head.pooling if isinstance(head, LayersHeadConfig) else "own"
        # In tuples, where torch does not look for layers: their layers are those of the body.
        self._tapped: tuple[TappedNetwork, ...] = ()
        self._tapped_suffix: tuple[TappedSuffix, ...] = ()
        if self.pooling == "taps":
            self._tapped = (TappedNetwork(loaded),)
            self.body.requires_grad_(True)
        self._format = torch.contiguous_format
        outputs = [n_logits(count) for count in self.n_outcomes]
        if isinstance(head, LayersHeadConfig) and isinstance(
            getattr(self.body, "pre_logits", None), nn.Module
        ):
            # VGG's dense layers have 119 million weights, and only its own classifier uses them.
            self.body.pre_logits = nn.Identity()
        if isinstance(head, OwnHeadConfig):
            self.body.reset_classifier(sum(outputs))  # type: ignore[operator]  # timm's
        else:
            with torch.no_grad():
                width = self.eval().pool(torch.rand(1, 3, *size)).shape[1]
            self.heads.extend(_build_head(head, width, columns) for columns in outputs)
        self.blocks: Blocks = blocks_of(self.body)
        if any(
            isinstance(module, nn.Conv2d) and module.kernel_size != module.stride for module in self.modules()
        ):
            self._format = torch.channels_last
            self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of a batch.

        Args:
            images: RGB in [0, 1], shape (b, 3, height, width); for a suffix the output of its prefix.

        Returns:
            Shape (b, n_outputs).
        """
        return self.classify(images if self.input_kind == "pooled" else self.pool(images))

    def pool(self, images: Tensor) -> Tensor:
        """Input of the head: a vector an image, or for the network's own classifier the last map."""
        if self._tapped_suffix:
            statistics: Tensor = self._tapped_suffix[0](images)
            return statistics
        return self.pool_maps(self.maps(images))

    def maps(self, images: Tensor) -> list[Tap]:
        """Outputs that are pooled: the last map or tokens of the body, or those of all taps of a head on taps."""
        if images.ndim == 4:
            images = images.contiguous(memory_format=self._format)
        if self._tapped:
            return self._tapped[0].taps_of_normalized(self.normalize(images))
        return [(self.body.forward_features(self.normalize(images)), None)]  # type: ignore[operator]  # timm's

    def pool_maps(self, maps: Sequence[Tap]) -> Tensor:
        """Input of the head, from the result of `maps`."""
        if self._tapped:
            return pool_taps(maps)
        features, _ = maps[0]
        return features if self.pooling == "own" else self._pooled(features)

    def classify(self, pooled: Tensor) -> Tensor:
        """Logits (b, n_outputs) from the result of `pool`."""
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
        """Block of a tensor of the body, see `Blocks`.

        Args:
            name: Its name in the state of this network.
        """
        return self.blocks.depth[name.removeprefix("body.")]

    def split(self, n_last: int) -> tuple[nn.Module, MultiHeadNetwork]:
        """Split the network before its last blocks; both parts share its layers, by the same names.

        Args:
            n_last: Number of blocks in the suffix; with 0 it is the head alone.

        Returns:
            Prefix, from pixels in [0, 1] to activations, and suffix, from those to logits.

        Raises:
            ConfigError: A network that cannot be split there.
        """
        suffix = copy.copy(self)
        suffix.__dict__["_modules"] = dict(self._modules)
        if n_last == 0:
            suffix.input_kind = "pooled"
            if len(self.heads):
                suffix.__dict__ |= {"_modules": {"heads": self.heads}, "_tapped": (), "frozen": ()}
            return HeadlessNetwork(self), suffix
        device = next(self.parameters()).device
        example = self.normalize(torch.rand(1, 3, *self.size, device=device))
        example = example.contiguous(memory_format=self._format)
        modules = suffix.__dict__["_modules"] | {"normalize": nn.Identity()}
        first: nn.Module
        if self._tapped:
            first, last = split_tapped(self._tapped[0], n_last, example, self._format)
            suffix.__dict__ |= {
                "_modules": modules | {"body": last.body},
                "_tapped": (),
                "_tapped_suffix": (last,),
            }
        else:
            first, body = split_body(self.body, n_last, example)
            suffix.__dict__["_modules"] = modules | {"body": body}
        return NetworkPrefix(self.normalize, first, self._format), suffix

    @property
    def n_prefix_tokens(self) -> int:
        """Number of the body's tokens that belong to no position of the image, such as the class token."""
        return int(getattr(self.body, "num_prefix_tokens", 0) or 0)

    @property
    def channels_last(self) -> bool:
        """Whether the last map of the body has the shape (b, height, width, channels)."""
        return bool(getattr(self.body, "output_fmt", "NCHW") == "NHWC")

    def _pooled(self, features: Tensor) -> Tensor:
        if features.ndim == 3:
            patches = features[:, self.n_prefix_tokens :]
            features = patches.transpose(1, 2).unsqueeze(-1)
        elif features.ndim == 4 and self.channels_last:
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
    """A network without its head: the prefix of a network whose suffix is the head alone."""

    def __init__(self, network: MultiHeadNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Input of the head, for images (b, 3, height, width)."""
        return self.network.pool(images)


def build_network(config: NetworkConfig, n_outcomes: Sequence[int]) -> tuple[MultiHeadNetwork, LoadedNetwork]:
    """Load a network as configured and put heads on it, with torch's global random numbers.

    Args:
        config: The network.
        n_outcomes: Number of outcomes of each subproblem.

    Raises:
        WeightsError: Unknown model, or weights that cannot be loaded.
        ConfigError: Settings of the head that contradict each other.
    """
    given = config.preprocessing
    loaded = load_body(
        config.model,
        config.weights,
        config.size,
        None if given is None else Preprocessing(given.mean, given.std, given.order, given.scale),
    )
    return MultiHeadNetwork(loaded, config.head, n_outcomes, input_size(config.size, loaded)), loaded


def load_body(
    model: str, weights: str, size: int | tuple[int, int] | None, preprocessing: Preprocessing | None
) -> LoadedNetwork:
    """Load a network without a classifier for an input of any shape, see `load_network`.

    The digest of the result is that of its tensors, even if they were read from a file.
    """
    shape: dict[str, Any] = {"size": size}
    if isinstance(size, tuple):
        shape = {"size": max(size)}
        if timm_models.pretrained_cfg(model).fixed_input_size:
            shape["img_size"] = size
    loaded = load_network(model, weights, preprocessing=preprocessing, **shape)
    # Not the digest of a file: a bundle keeps the tensors in a file of its own.
    return replace(loaded, digest=timm_models.tensor_digest(loaded.network))


def input_size(size: int | tuple[int, int] | None, loaded: LoadedNetwork) -> tuple[int, int]:
    """Height and width of the input: as configured, else those of the weights."""
    if isinstance(size, int):
        return size, size
    if size is not None:
        return size
    own = getattr(loaded.network, "pretrained_cfg", {}).get("input_size")
    return (int(own[1]), int(own[2])) if own else (loaded.input_size, loaded.input_size)


def set_dense(head: nn.Module, weight: NDArray[Any], bias: NDArray[Any], rows: NDArray[Any]) -> None:
    """Set the weights of a head of one dense layer, so that it computes `rows @ weight.T + bias`.

    Args:
        head: A head of `MultiHeadNetwork`.
        weight: Shape (n_logits, width).
        bias: Shape (n_logits,).
        rows: Inputs of the head in training, (n, width). If the head has batch normalization, their mean and variance
            become its statistics, so that training starts with the logits of prediction.
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


def _build_head(config: LayersHeadConfig, width: int, n_outputs: int) -> nn.Sequential:
    """Dense layers, each after dropout and, if configured, batch normalization; ReLU between them."""
    sizes = [width, *config.hidden, n_outputs]
    rates = config.dropout if isinstance(config.dropout, tuple) else (config.dropout,) * (len(sizes) - 1)
    if len(rates) != len(sizes) - 1:
        raise ConfigError(
            [f"head.dropout: {list(rates)} has {len(rates)} shares for {len(sizes) - 1} dense layers"]
        )
    if config.init == "probe" and config.hidden:
        raise ConfigError(
            [f"head.init: probe goes with one dense layer, but hidden is {list(config.hidden)}"]
        )
    layers: list[nn.Module] = []
    for (n_in, n_out), rate in zip(pairwise(sizes), rates, strict=True):
        layers += [nn.ReLU()] if layers else []
        layers += [nn.BatchNorm1d(n_in)] if config.batch_norm else []
        layers += [nn.Dropout(rate), nn.Linear(n_in, n_out)]
    if config.init == "zero":
        for parameter in layers[-1].parameters():
            nn.init.zeros_(parameter)
    return nn.Sequential(*layers)
