"""Answers of trained networks; what several fold states of one network have in common is computed once."""

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
"""Views that go through the network together."""
_SHARED = ("model", "digest", "size", "resize", "preprocessing", "views", "head")


class NetworkPredictor:
    """Several states of one network, as of the folds of a cross-fit, asked together.

    Attributes:
        n_views: Views of each photo.
        n_outputs: Columns of all states side by side.
        shared: The leading layers that training left alike in all states and that are run once; None if there are
            none, or if the network cannot be cut there.
        ends: What follows of each state, pixels in [0, 1] or the answer of `shared` to logits.
        shift: What is added to the logits of all states, shape (n_outputs,).
    """

    def __init__(
        self, states: Sequence[NetworkState], weights: str, device: str = "cpu", n_threads: int = 1
    ) -> None:
        """Build the networks.

        Args:
            states: Of one network: they differ in the tensors that training changed, and perhaps in decisions.
            weights: Where the starting weights are, see `weights.parse`.
            device: Where the networks run.
            n_threads: Of torch.

        Raises:
            BundleError: States of different networks, or tensors that do not fit.
            WeightsError: The starting weights cannot be had, or are others.
        """
        if not states:
            raise ValueError("no states: a predictor needs at least one")
        metadata = states[0].metadata
        for key in _SHARED:
            if any(state.metadata.get(key) != metadata.get(key) for state in states):
                raise BundleError(f"states of different networks: they disagree on {key}")
        self.states = tuple(states)
        self.device = torch.device(device)
        self.n_threads = n_threads
        # `auto` may have been settled differently in different processes.
        precisions = {str(state.metadata.get("precision", "float32")) for state in states}
        self.precision = precisions.pop() if len(precisions) == 1 else "float32"
        self.n_views = len(metadata["views"])
        self.n_outputs = sum(state.n_outputs for state in states)
        self._transform = EvalTransform(metadata["views"], states[0].size, metadata["resize"])
        networks = [network.to(self.device) for network in _built(states, weights)]
        self.shift = np.concatenate([np.asarray(state.metadata["shift"], np.float64) for state in states])
        self.shared: nn.Module | None = None
        self.ends: list[nn.Module] = list(networks)
        if len(networks) > 1:
            self._share(networks)

    def logits(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
        """Logits under the natural prior: each state's shift is added.

        Args:
            images: RGB pixels of shape (h, w, 3).

        Returns:
            Shape (n, n_views, n_outputs): for each state its decisions, one after the other.
        """
        answers: NDArray[np.float64] = np.empty((len(images), self.n_views, self.n_outputs))
        together = max(1, _BATCH // self.n_views)
        with torch_threads(self.n_threads), torch.inference_mode():
            for start in range(0, len(images), together):
                part = images[start : start + together]
                batch = torch.cat([self._transform(image) for image in part]).to(self.device)
                with computing_in(self.precision, self.device):
                    inner = batch if self.shared is None else self.shared(batch)
                    found = torch.cat([end(inner).float() for end in self.ends], dim=1)
                answers[start : start + len(part)] = found.cpu().numpy().reshape(len(part), self.n_views, -1)
        answers += self.shift
        return answers

    def _share(self, networks: Sequence[MultiHeadNetwork]) -> None:
        """Cut the networks before the first block that training changed in any state."""
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
            shared, pattern = networks[0].split(n_blocks + 1 - first)
            ends = [pattern] + [
                # Finding a cut takes several passes; networks of the same decisions are cut alike.
                _filled_as(pattern, network)
                if network.n_outcomes == pattern.n_outcomes
                else network.split(n_blocks + 1 - first)[1]
                for network in networks[1:]
            ]
        except ConfigError:
            return
        self.shared = shared.eval()
        self.ends = [end.eval() for end in ends]


def _filled_as(pattern: MultiHeadNetwork, network: MultiHeadNetwork) -> MultiHeadNetwork:
    """A copy of the end of one network with the tensors of another of the same layers."""
    end, tensors = copy.deepcopy(pattern), network.state_dict()
    end.load_state_dict({name: tensors[name] for name in end.state_dict()})
    return end


def _built(states: Sequence[NetworkState], weights: str) -> Iterator[MultiHeadNetwork]:
    """The networks of all states; starting weights are loaded once for all that have the same decisions."""
    frames: dict[tuple[tuple[int, ...], bool], MultiHeadNetwork] = {}
    for state in states:
        kind = state.n_outcomes, state.complete
        if kind not in frames:
            frames[kind] = state.frame(weights)
        yield state.fill(copy.deepcopy(frames[kind]))
