"""Members and their combination once more, in torch: for gradients, and for graphs.

Predictions are numpy's (`members.predictor`, `ensemble.combination`); tests hold the two to each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ensemble_minerals.taxonomy import Taxonomy


@dataclass(frozen=True, eq=False)
class MemberSpec:
    """One member, taken apart.

    Attributes:
        features: Names of the sources it sees, side by side.
        arrays: Its layers, as `members.scorer_arrays` names them.
        description: What `members.scorer_arrays` says of them.
    """

    features: tuple[str, ...]
    arrays: Mapping[str, NDArray[np.float32]]
    description: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class EnsembleSpec:
    """All members and how their answers become one.

    Attributes:
        classes: In the order of the columns.
        members: In the order of the combination's weights.
        kind: ``"mean"``, ``"product"`` or ``"linear"``.
        weight: Of the combination: (n_members,), or (n_members * n_classes, n_classes) for ``"linear"``.
        bias: Shape (n_classes,).
        temperature: Divides the combined log-probabilities.
        floor: Smallest probability of a member that the combination sees.
    """

    classes: tuple[str, ...]
    members: tuple[MemberSpec, ...]
    kind: str
    weight: NDArray[np.floating[Any]]
    bias: NDArray[np.floating[Any]]
    temperature: float
    floor: float


class MemberGraph(nn.Module):
    """Log-probabilities of one member: its fold models averaged as `members.predictor.AveragedPredictor` does."""

    def __init__(self, member: MemberSpec, classes: tuple[str, ...]) -> None:
        """Put a member together.

        Args:
            member: Its parts.
            classes: Names of the classes.
        """
        super().__init__()
        parts = member.description["parts"]
        shares = np.array([float(part["weight"]) for part in parts])
        self._shares: list[float] = (shares / shares.sum()).tolist()
        self._parts = nn.ModuleList(
            _PartGraph(part, member.arrays, str(number), classes) for number, part in enumerate(parts)
        )
        self.requires_grad_(False)

    def forward(self, features: Tensor) -> Tensor:
        """Log-probabilities, shape (n, n_classes), of features, shape (n, n_features)."""
        answers = [part(features) for part in self._parts]
        if len(answers) == 1:
            only: Tensor = answers[0]
            return only
        weighted = [share * answer for share, answer in zip(self._shares, answers, strict=True)]
        return torch.log_softmax(torch.stack(weighted).sum(0), 1)


class _PartGraph(nn.Module):
    """Fold models that share a tree: their log-odds are averaged."""

    def __init__(
        self,
        part: Mapping[str, Any],
        arrays: Mapping[str, NDArray[np.float32]],
        prefix: str,
        classes: tuple[str, ...],
    ) -> None:
        super().__init__()
        self._one_vs_rest = bool(part["one_vs_rest"])
        self._folds = nn.ModuleList(
            nn.ModuleList(_specialist(arrays, f"{prefix}.{f}.{n}", depth) for n, depth in enumerate(depths))
            for f, depths in enumerate(part["layers"])
        )
        self._n_specialists = len(part["layers"][0])
        nodes = Taxonomy.from_tree(classes, part["tree"]).nodes
        for number, node in enumerate(nodes):
            self.register_buffer(f"_below{number}", _below(node.branches, len(classes)))

    def forward(self, features: Tensor) -> Tensor:
        folds = [[specialist(features) for specialist in fold.children()] for fold in self._folds]
        log_odds = [torch.stack([fold[n] for fold in folds]).mean(0) for n in range(self._n_specialists)]
        if self._one_vs_rest:
            return torch.log_softmax(functional.logsigmoid(torch.cat(log_odds, 1)), 1)
        taken = [
            _branch_log_proba(logits) @ self.get_buffer(f"_below{number}")
            for number, logits in enumerate(log_odds)
        ]
        return torch.stack(taken).sum(0)


class CombinationGraph(nn.Module):
    """How members' log-probabilities become one, temperature included."""

    def __init__(self, plan: EnsembleSpec) -> None:
        """Take the combination of a plan."""
        super().__init__()
        self._kind, self._temperature = plan.kind, plan.temperature
        self.register_buffer("_weight", torch.tensor(plan.weight, dtype=torch.float64))
        self.register_buffer("_bias", torch.tensor(plan.bias, dtype=torch.float64))

    def forward(self, members: Tensor) -> Tensor:
        """Combine log-probabilities, shape (n, n_members, n_classes), into (n, n_classes)."""
        weight, bias = self.get_buffer("_weight"), self.get_buffer("_bias")
        if self._kind == "mean":
            combined = (members.exp() * weight[None, :, None]).sum(1).log()
        elif self._kind == "product":
            combined = (members * weight[None, :, None]).sum(1)
        else:
            combined = (members - members.mean(2, keepdim=True)).flatten(1) @ weight + bias
        return torch.log_softmax(torch.log_softmax(combined, 1) / self._temperature, 1)


class FittedEnsembleGraph(nn.Module):
    """Features of all sources to calibrated probabilities.

    Attributes:
        floor: Smallest probability of a member that the combination sees.
        combine: From members' log-probabilities (n, n_members, n_classes) to (n, n_classes).
    """

    def __init__(self, plan: EnsembleSpec, *, exact: bool = False) -> None:
        """Build members and combination.

        Args:
            plan: What they are.
            exact: Compute in float64, as predictions do, instead of float32.
        """
        super().__init__()
        self._features = [member.features for member in plan.members]
        self._scorers = nn.ModuleList(MemberGraph(member, plan.classes) for member in plan.members)
        self.combine = CombinationGraph(plan)
        self.floor = plan.floor
        self.eval().requires_grad_(False).to(torch.float64 if exact else torch.float32)

    def forward(self, blocks: Mapping[str, Tensor]) -> Tensor:
        """Probabilities, shape (n, n_classes), of features by source, each of shape (n, n_features)."""
        members = self.votes(blocks).exp().clamp(self.floor, 1.0).log()
        combined: Tensor = self.combine(members)
        return combined.exp()

    def votes(self, blocks: Mapping[str, Tensor]) -> Tensor:
        """Log-probabilities of every member, not clipped yet, shape (n, n_members, n_classes)."""
        return torch.stack([self.vote(number, blocks) for number in range(len(self._features))], 1)

    def vote(self, number: int, blocks: Mapping[str, Tensor]) -> Tensor:
        """Log-probabilities of one member, shape (n, n_classes)."""
        seen = torch.cat([blocks[name] for name in self._features[number]], 1)
        answer: Tensor = self._scorers[number](seen)
        return answer


def _specialist(arrays: Mapping[str, NDArray[np.float32]], prefix: str, depth: int) -> nn.Sequential:
    """Affine layers with rectifiers between them."""
    layers: list[nn.Module] = []
    for number in range(depth):
        weight, bias = arrays[f"{prefix}.{number}.weight"], arrays[f"{prefix}.{number}.bias"]
        layer = nn.Linear(*weight.shape)
        with torch.no_grad():
            layer.weight.copy_(torch.tensor(weight).T)
            layer.bias.copy_(torch.tensor(bias))
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _below(branches: Sequence[Sequence[int]], n_classes: int) -> Tensor:
    """Which classes stand below each branch, shape (n_branches, n_classes)."""
    below = torch.zeros(len(branches), n_classes)
    for branch, positions in enumerate(branches):
        below[branch, list(positions)] = 1.0
    return below


def _branch_log_proba(logits: Tensor) -> Tensor:
    """Log-softmax; a single column is the log-odds of the second of two branches."""
    if logits.shape[1] == 1:
        logits = torch.cat([torch.zeros_like(logits), logits], 1)
    return torch.log_softmax(logits, 1)
