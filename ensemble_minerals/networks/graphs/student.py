"""A student as one torch module, from photos to calibrated probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ensemble_minerals.data.image_cache import decode_side
from ensemble_minerals.data.views import needed_side
from ensemble_minerals.errors import BundleError
from ensemble_minerals.networks.graphs.photo_views import PhotoViews, view_names
from ensemble_minerals.networks.graphs.rejection import RejectionGraph
from ensemble_minerals.networks.models.multi_head import MultiHeadNetwork
from ensemble_minerals.networks.models.state import COUNTER, NetworkState
from ensemble_minerals.networks.models.tensor_file import to_plain
from ensemble_minerals.networks.threads import torch_threads
from ensemble_minerals.system.held_file import HeldFile


class StudentGraph(nn.Module):
    """A student: views, network, mean of the logits over the views, and temperature.

    Args:
        network: From pixels in [0, 1] to the logits of one subproblem.
        views: Names of the views.
        resize: Whether ``squash`` views are squeezed to the input, or padded to its shape.
        shift: Added to the logits.
        temperature: Divides the logits.
        rejection: Tells photos that show none of the classes, from the centered log-odds, if there is such a thing.

    Attributes:
        names: Names of the views, see `view_names`.
        side: Pixels that a photo's shorter side should have.
    """

    def __init__(
        self,
        network: MultiHeadNetwork,
        *,
        views: Sequence[str],
        resize: str,
        shift: Sequence[float],
        temperature: float,
        rejection: RejectionGraph | None = None,
    ) -> None:
        super().__init__()
        self.names = view_names(views, resize)
        self.side = needed_side(self.names, max(network.size))
        self._views = PhotoViews(self.names, *network.size, side=decode_side(self.side))
        self._network = network
        self._temperature = temperature
        self.rejection = rejection
        self.register_buffer("_shift", torch.tensor(list(shift), dtype=torch.float32), persistent=False)
        self.eval().requires_grad_(False)

    def forward(self, photos: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Probabilities, shape (n, n_classes), of photos, uint8 RGB of shape (n, height, width, 3).

        With a rejection their typicality, shape (n,), as well.
        """
        log_odds = self.log_odds(photos)
        proba = torch.softmax(log_odds / self._temperature, 1)
        if self.rejection is None:
            return proba
        return proba, self.rejection.of_answers(log_odds[:, None])

    def log_odds(self, photos: Tensor) -> Tensor:
        """Logits before the temperature divides them, shape (n, n_classes); two classes have (0, log-odds)."""
        views = self._views(photos) / 255.0
        logits = self._network(views.flatten(0, 1)).reshape(photos.shape[0], len(self.names), -1)
        mean: Tensor = logits.float().mean(1) + self.get_buffer("_shift")
        return torch.cat([torch.zeros_like(mean), mean], 1) if mean.shape[1] == 1 else mean

    def answer(self, photo: NDArray[np.uint8], n_threads: int = 1) -> NDArray[np.float32]:
        """`log_odds` of one decoded photo, shape (n_classes,)."""
        with torch_threads(n_threads), torch.inference_mode():
            log_odds: NDArray[np.float32] = self.log_odds(torch.tensor(photo)[None])[0].numpy()
        return log_odds


def student_graph(state: NetworkState, temperature: float) -> StudentGraph:
    """Build a trained network as a student.

    Args:
        state: Complete state of a network with one subproblem, the classes.
        temperature: Divides its logits.

    Raises:
        BundleError: If tensors do not fit.
    """
    metadata = state.metadata
    return StudentGraph(
        state.build("random"),
        views=metadata["views"],
        resize=str(metadata["resize"]),
        shift=metadata["shift"],
        temperature=temperature,
    )


def complete(state: NetworkState, weights: str) -> NetworkState:
    """The same state with all tensors of the network, so that it can be built without its starting weights."""
    tensors = state.build(weights).state_dict()
    return replace(
        state,
        tensors={name: to_plain(tensor) for name, tensor in tensors.items() if not name.endswith(COUNTER)},
    )


def read_student_graph(file: HeldFile, temperature: float) -> StudentGraph:
    """Build a student from the file of its complete state.

    Args:
        file: The file.
        temperature: Divides its logits.

    Raises:
        BundleError: If the file does not hold the complete state of such a student.
    """
    state = NetworkState.of_file(file)
    graph = student_graph(state, temperature)
    names = {name for name in graph._network.state_dict() if not name.endswith(COUNTER)}
    missing = sorted(names - state.tensors.keys())
    if missing:
        raise BundleError(f"{file.path} lacks tensors of its network: {', '.join(missing[:5])}")
    return graph
