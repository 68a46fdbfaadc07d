"""Logits of trained networks. Layers that several fold states of one network share are computed once."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ensemble_minerals.errors import BundleError, ConfigError
from ensemble_minerals.networks.models.multi_head import MultiHeadNetwork
from ensemble_minerals.networks.models.state import NetworkState
from ensemble_minerals.networks.models.transforms import EvalTransform
from ensemble_minerals.networks.precision import computing_in
from ensemble_minerals.networks.threads import torch_threads

_BATCH = 16
"""Views in a batch, about."""
_SAME = ("model", "digest", "size", "resize", "preprocessing", "views", "head")
"""Metadata in which all states must agree."""


class NetworkPredictor:
    """Predicts with several states of one network at once, as those of the folds of a cross-fit.

    Attributes:
        n_views: Views of each photo.
        n_outputs: Number of logits of all states side by side.
        shared: The first blocks, which training changed in no state, from pixels in [0, 1] to activations. They run
            once for all states. None if there are none, or if the network cannot be split there.
        suffixes: The rest of each state, from the output of `shared`, or from pixels in [0, 1], to logits.
        shift: Added to the logits of all states, shape (n_outputs,).
    """

    def __init__(
        self, states: Sequence[NetworkState], weights: str, device: str = "cpu", n_threads: int = 1
    ) -> None:
        """Build the networks.

        Args:
            states: States of one network. They differ in the tensors that training changed, and perhaps in their
                subproblems.
            weights: Where the starting weights are, see `weights.parse`.
            device: Where the networks run.
            n_threads: Threads of torch.

        Raises:
            BundleError: States of different networks, or tensors that do not fit.
            WeightsError: The starting weights cannot be loaded, or are not those of the states.
        """
        if not states:
            raise ValueError("no states: a predictor needs at least one")
        metadata = states[0].metadata
        for key in _SAME:
            if any(state.metadata.get(key) != metadata.get(key) for state in states):
                raise BundleError(f"states of different networks: they disagree on {key}")
        self.states = tuple(states)
        self.device = torch.device(device)
        self.n_threads = n_threads
        # `auto` may have been resolved differently on different machines.
        precisions = {str(state.metadata.get("precision", "float32")) for state in states}
        self.precision = precisions.pop() if len(precisions) == 1 else "float32"
        self.n_views = len(metadata["views"])
        self.n_outputs = sum(state.n_outputs for state in states)
        self._transform = EvalTransform(metadata["views"], states[0].size, metadata["resize"])
        networks = [network.to(self.device) for network in _build_networks(states, weights)]
        self.shift = np.concatenate([np.asarray(state.metadata["shift"], np.float64) for state in states])
        self.shared: nn.Module | None = None
        self.suffixes: list[nn.Module] = list(networks)
        if len(networks) > 1:
            self._share_prefix(networks)

    def logits(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
        """Logits under the natural prior: the shift of each state is added.

        Args:
            images: RGB pixels, each of shape (h, w, 3).

        Returns:
            Shape (n, n_views, n_outputs): the subproblems of the first state, then those of the next.
        """
        answers: NDArray[np.float64] = np.empty((len(images), self.n_views, self.n_outputs))
        n_images = max(1, _BATCH // self.n_views)
        with torch_threads(self.n_threads), torch.inference_mode():
            for start in range(0, len(images), n_images):
                part = images[start : start + n_images]
                batch = torch.cat([self._transform(image) for image in part]).to(self.device)
                with computing_in(self.precision, self.device):
                    activations = batch if self.shared is None else self.shared(batch)
                    logits = torch.cat([suffix(activations).float() for suffix in self.suffixes], dim=1)
                answers[start : start + len(part)] = logits.cpu().numpy().reshape(len(part), self.n_views, -1)
        answers += self.shift
        return answers

    def _share_prefix(self, networks: Sequence[MultiHeadNetwork]) -> None:
        """Split the networks before the first block that training changed in any state."""
        head = networks[0].head_names()
        n_blocks = networks[0].blocks.n
        changed = [
            networks[0].depth(name)
            for state in self.states
            for name in state.tensors
            if name not in head and name.startswith("body.")
        ]
        first = min(changed, default=n_blocks + 1)
        if first == 0:
            return
        try:
            shared, template = networks[0].split(n_blocks + 1 - first)
            suffixes = [template] + [
                # A split takes several forward passes. That of the first network also fits others with its outcomes.
                _copy_with_tensors(template, network)
                if network.n_outcomes == template.n_outcomes
                else network.split(n_blocks + 1 - first)[1]
                for network in networks[1:]
            ]
        except ConfigError:
            return
        self.shared = shared.eval()
        self.suffixes = [suffix.eval() for suffix in suffixes]


def _copy_with_tensors(suffix: MultiHeadNetwork, network: MultiHeadNetwork) -> MultiHeadNetwork:
    """Copy of the suffix of one network with the tensors of another network of the same layers."""
    copied, tensors = copy.deepcopy(suffix), network.state_dict()
    copied.load_state_dict({name: tensors[name] for name in copied.state_dict()})
    return copied


def _build_networks(states: Sequence[NetworkState], weights: str) -> Iterator[MultiHeadNetwork]:
    """The networks of all states. Starting weights are loaded once for all states of the same outcomes."""
    untrained: dict[tuple[tuple[int, ...], bool], MultiHeadNetwork] = {}
    for state in states:
        kind = state.n_outcomes, state.complete
        if kind not in untrained:
            untrained[kind] = state.build_untrained(weights)
        yield state.load_into(copy.deepcopy(untrained[kind]))
