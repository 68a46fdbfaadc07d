"""A trained network as plain data: the tensors that training changed, and metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from ensemble_minerals.config.names import shown
from ensemble_minerals.config.networks import NetworkConfig, NetworkHeadConfig
from ensemble_minerals.data.subproblem import n_logits
from ensemble_minerals.errors import BundleError, WeightsError
from ensemble_minerals.networks.models.multi_head import MultiHeadNetwork, load_body
from ensemble_minerals.networks.models.state_metadata import check_numbers, read_state_metadata
from ensemble_minerals.networks.models.tensor_file import to_plain, write_tensors
from ensemble_minerals.networks.models.timm_models import forked_random_numbers
from ensemble_minerals.networks.models.weights import LoadedNetwork, Preprocessing
from ensemble_minerals.system.held_file import HeldFile

FORMAT = 1

_HEAD: TypeAdapter[NetworkHeadConfig] = TypeAdapter(NetworkHeadConfig)
COUNTER = "num_batches_tracked"
"""End of the names of batch normalization's counters, which are not part of a state."""


@dataclass(frozen=True)
class NetworkState:
    """A trained network as plain data.

    Attributes:
        tensors: Tensors that differ from the starting weights, by name: trained layers, statistics of batch
            normalization, and the whole head.
        metadata: Plain JSON: `model`, `weights`, the `digest` of the tensors there, `size` (height, width), `resize`,
            `preprocessing`, `views`, `head` and `precision`; `decisions`, the subproblems as pairs of name and
            number of outcomes; `shift`, added to each logit so that it holds under the natural prior; `n_tensors`,
            the number of tensors of the whole network.
        origin: Where it comes from, for messages.
    """

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, Any]
    origin: str = "a trained network"

    @classmethod
    def of(
        cls,
        network: MultiHeadNetwork,
        tensors: Mapping[str, Tensor],
        *,
        start: Mapping[str, Tensor] | None = None,
        config: NetworkConfig,
        loaded: LoadedNetwork,
        subproblems: Sequence[tuple[str, int]],
        shift: NDArray[np.float64],
        precision: str,
    ) -> NetworkState:
        """State of a trained network.

        Args:
            network: The network.
            tensors: Its state dict after training, or after some epoch.
            start: Its state dict before training; None takes every tensor as changed.
            config: Configuration of the network.
            loaded: The weights it started from.
            subproblems: Name and number of outcomes of each.
            shift: Shift of the logits, shape (n_outputs,), see the class.
            precision: ``float32`` or ``bfloat16``.
        """
        head = network.head_names()
        changed = {
            name: to_plain(tensor)
            for name, tensor in tensors.items()
            if not name.endswith(COUNTER)
            and (start is None or name in head or not torch.equal(tensor.cpu(), start[name].cpu()))
        }
        metadata = {
            "model": config.model,
            "weights": config.weights,
            "digest": loaded.digest,
            "size": list(network.size),
            "resize": config.resize,
            "preprocessing": loaded.preprocessing.as_mapping(),
            "views": list(config.views),
            "head": config.head.model_dump(mode="json"),
            "precision": precision,
            "decisions": [[name, count] for name, count in subproblems],
            "shift": shift.tolist(),
            "n_tensors": sum(not name.endswith(COUNTER) for name in tensors),
        }
        return cls(changed, metadata)

    @property
    def n_outcomes(self) -> tuple[int, ...]:
        """Number of outcomes of each subproblem."""
        return tuple(int(count) for _, count in self.metadata["decisions"])

    @property
    def n_outputs(self) -> int:
        """Number of logits of all subproblems."""
        return sum(n_logits(count) for count in self.n_outcomes)

    @property
    def nbytes(self) -> int:
        """Size of the tensors in bytes."""
        return sum(tensor.nbytes for tensor in self.tensors.values())

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the input."""
        height, width = self.metadata["size"]
        return int(height), int(width)

    def save(self, path: Path) -> None:
        """Write the state as safetensors; equal states give equal bytes."""
        write_tensors(path, self.tensors, {**self.metadata, "format": FORMAT})

    @classmethod
    def load(cls, path: Path) -> NetworkState:
        """Read a file that `save` wrote, see `of_file`.

        Raises:
            BundleError: The file is missing, holds numbers that are not finite, or what `of_file` raises it for.
        """
        try:
            file = HeldFile.open(path)
            check_numbers(file)
        except (OSError, ValueError) as error:
            raise BundleError(f"{path} cannot be read as a trained network: {error}") from error
        return cls.of_file(file)

    @classmethod
    def of_file(cls, file: HeldFile) -> NetworkState:
        """Read a file that `save` wrote, whose numbers are checked already; nothing in it is executed.

        Raises:
            BundleError: The file is damaged or of another format.
        """
        try:
            _, metadata = read_state_metadata(file)
            tensors = load(file.read())
        except (SafetensorError, ValueError) as error:
            raise BundleError(
                f"{file.path} cannot be read as a trained network: {error}; fit it again"
            ) from error
        del metadata["format"]
        return cls(tensors, metadata, str(file.path))

    def build(self, weights: str) -> MultiHeadNetwork:
        """Build the network, in evaluation mode.

        Args:
            weights: Where the starting weights are now, see `weights.parse`; not used if training changed all
                tensors.

        Raises:
            WeightsError: The starting weights cannot be loaded, or are not those that training started from.
            BundleError: The tensors do not fit the network.
        """
        return self.load_into(self.build_untrained(weights))

    @property
    def complete(self) -> bool:
        """Whether training changed every tensor, so that the starting weights are not needed."""
        return len(self.tensors) == self.metadata.get("n_tensors")

    def load_into(self, network: MultiHeadNetwork) -> MultiHeadNetwork:
        """Load the trained tensors into a network from `build_untrained`, and put it into evaluation mode.

        Raises:
            BundleError: The tensors do not fit the network.
        """
        own = network.state_dict()
        for name, tensor in self.tensors.items():
            if name not in own or (own[name].shape, own[name].dtype) != (tensor.shape, tensor.dtype):
                expected = "it has no such tensor" if name not in own else f"expected {_described(own[name])}"
                raise BundleError(
                    f"{self.origin} does not fit {self.metadata['model']}: {shown(name)} is {_described(tensor)}; "
                    f"{expected}"
                )
        network.load_state_dict(dict(self.tensors), strict=False)
        return network.eval().requires_grad_(False)

    def build_untrained(self, weights: str) -> MultiHeadNetwork:
        """Build the network with its starting weights and a random head.

        Args:
            weights: As for `build`.

        Raises:
            WeightsError: The starting weights cannot be loaded, or are not those that training started from.
        """
        metadata = self.metadata
        weights = "random" if self.complete else weights
        preprocessing = Preprocessing.from_mapping(metadata["preprocessing"])
        height, width = self.size
        size = height if height == width else (height, width)
        with forked_random_numbers():
            loaded = load_body(metadata["model"], weights, size, preprocessing)
            if weights != "random" and loaded.digest != metadata["digest"]:
                raise WeightsError(
                    f"the weights {weights!r} of {metadata['model']} are not those that training started from: their "
                    f"digest is {loaded.digest}, not {metadata['digest']}; give the same file as for the fit"
                )
            return MultiHeadNetwork(
                loaded, _HEAD.validate_python(metadata["head"]), self.n_outcomes, self.size
            )


def _described(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"
