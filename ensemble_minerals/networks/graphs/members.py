"""Members and their combination as torch modules, for gradients and for exported graphs.

Predictions are computed with numpy (`members.predictor`, `ensemble.combination`); tests compare the two.
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
    """The parts of one member.

    Attributes:
        features: Names of the extractors whose features it takes, side by side.
        arrays: Arrays of its layers, as `members.serialization` names them.
        description: Description of its structure, from `members.serialization`.
    """

    features: tuple[str, ...]
    arrays: Mapping[str, NDArray[np.float32]]
    description: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class EnsembleSpec:
    """The parts of a fitted ensemble.

    Attributes:
        classes: Names of the classes, in the order of the columns.
        members: Members, in the order of the combination's weights.
        kind: Kind of the combination: ``"mean"``, ``"calibrated"``, ``"product"`` or ``"linear"``.
        weight: Weights of the combination: (n_members,), or (n_members * n_classes, n_classes) for ``"linear"``.
        bias: Bias of the combination, shape (n_classes,).
        temperature: Divides the combined log-probabilities.
        floor: Probabilities of members are clipped to at least this before they are combined.
    """

    classes: tuple[str, ...]
    members: tuple[MemberSpec, ...]
    kind: str
    weight: NDArray[np.floating[Any]]
    bias: NDArray[np.floating[Any]]
    temperature: float
    floor: float


class MemberGraph(nn.Module):
    """One member: fold models averaged as in `members.predictor.AveragedPredictor`.

    Args:
        member: Its parts.
        classes: Names of the classes.
    """

    def __init__(self, member: MemberSpec, classes: tuple[str, ...]) -> None:
        super().__init__()
        parts = member.description["parts"]
        weights = np.array([float(part["weight"]) for part in parts])
        self._weights: list[float] = (weights / weights.sum()).tolist()
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
        weighted = [weight * answer for weight, answer in zip(self._weights, answers, strict=True)]
        return torch.log_softmax(torch.stack(weighted).sum(0), 1)


class _PartGraph(nn.Module):
    """Fold models of one class tree; their logits are averaged."""

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
            nn.ModuleList(
                _build_specialist(arrays, f"{prefix}.{f}.{n}", depth) for n, depth in enumerate(depths)
            )
            for f, depths in enumerate(part["layers"])
        )
        self._n_specialists = len(part["layers"][0])
        nodes = Taxonomy.from_tree(classes, part["tree"]).nodes
        for number, node in enumerate(nodes):
            self.register_buffer(f"_classes{number}", _outcome_classes(node.branches, len(classes)))

    def forward(self, features: Tensor) -> Tensor:
        folds = [[specialist(features) for specialist in fold.children()] for fold in self._folds]
        averages = [torch.stack([fold[n] for fold in folds]).mean(0) for n in range(self._n_specialists)]
        if self._one_vs_rest:
            return torch.log_softmax(functional.logsigmoid(torch.cat(averages, 1)), 1)
        on_path = [
            _outcome_log_proba(logits) @ self.get_buffer(f"_classes{number}")
            for number, logits in enumerate(averages)
        ]
        return torch.stack(on_path).sum(0)


class CombinationGraph(nn.Module):
    """The combination of members' log-probabilities, with calibration by temperature.

    Args:
        spec: The parts of the ensemble.
    """

    def __init__(self, spec: EnsembleSpec) -> None:
        super().__init__()
        self._kind, self._temperature = spec.kind, spec.temperature
        self.register_buffer("_weight", torch.tensor(spec.weight, dtype=torch.float64))
        self.register_buffer("_bias", torch.tensor(spec.bias, dtype=torch.float64))

    def forward(self, members: Tensor) -> Tensor:
        """Combine log-probabilities, shape (n, n_members, n_classes), into (n, n_classes)."""
        weight, bias = self.get_buffer("_weight"), self.get_buffer("_bias")
        if self._kind == "mean":
            combined = (members.exp() * weight[None, :, None]).sum(1).log()
        elif self._kind == "calibrated":
            combined = torch.log_softmax(members * weight[None, :, None], 2).exp().mean(1).log()
        elif self._kind == "product":
            combined = (members * weight[None, :, None]).sum(1)
        else:
            combined = (members - members.mean(2, keepdim=True)).flatten(1) @ weight + bias
        return torch.log_softmax(torch.log_softmax(combined, 1) / self._temperature, 1)


class FittedEnsembleGraph(nn.Module):
    """A fitted ensemble, from the features of all extractors to calibrated probabilities.

    Args:
        spec: The parts of the ensemble.
        exact: Compute in float64, as predictions do, instead of float32.

    Attributes:
        floor: Probabilities of members are clipped to at least this before they are combined.
        combine: From members' log-probabilities (n, n_members, n_classes) to (n, n_classes).
    """

    def __init__(self, spec: EnsembleSpec, *, exact: bool = False) -> None:
        super().__init__()
        self._features = [member.features for member in spec.members]
        self._members = nn.ModuleList(MemberGraph(member, spec.classes) for member in spec.members)
        self.combine = CombinationGraph(spec)
        self.floor = spec.floor
        self.eval().requires_grad_(False).to(torch.float64 if exact else torch.float32)

    def forward(self, blocks: Mapping[str, Tensor]) -> Tensor:
        """Probabilities, shape (n, n_classes), of features by extractor, each of shape (n, n_features)."""
        members = self.members_log_proba(blocks).exp().clamp(self.floor, 1.0).log()
        combined: Tensor = self.combine(members)
        return combined.exp()

    def members_log_proba(self, blocks: Mapping[str, Tensor]) -> Tensor:
        """Log-probabilities of all members before clipping, shape (n, n_members, n_classes)."""
        members = range(len(self._features))
        return torch.stack([self.member_log_proba(number, blocks) for number in members], 1)

    def member_log_proba(self, number: int, blocks: Mapping[str, Tensor]) -> Tensor:
        """Log-probabilities of one member, shape (n, n_classes)."""
        features = torch.cat([blocks[name] for name in self._features[number]], 1)
        log_proba: Tensor = self._members[number](features)
        return log_proba


def _build_specialist(arrays: Mapping[str, NDArray[np.float32]], prefix: str, depth: int) -> nn.Sequential:
    """Dense layers with ReLU between them."""
    layers: list[nn.Module] = []
    for number in range(depth):
        weight, bias = arrays[f"{prefix}.{number}.weight"], arrays[f"{prefix}.{number}.bias"]
        layer = nn.Linear(*weight.shape)
        with torch.no_grad():
            layer.weight.copy_(torch.tensor(weight).T)
            layer.bias.copy_(torch.tensor(bias))
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _outcome_classes(branches: Sequence[Sequence[int]], n_classes: int) -> Tensor:
    """Membership matrix: 1 for the classes of each outcome, else 0, shape (n_outcomes, n_classes)."""
    membership = torch.zeros(len(branches), n_classes)
    for outcome, positions in enumerate(branches):
        membership[outcome, list(positions)] = 1.0
    return membership


def _outcome_log_proba(logits: Tensor) -> Tensor:
    """Log-softmax; a single column is the log-odds of the second of two outcomes."""
    if logits.shape[1] == 1:
        logits = torch.cat([torch.zeros_like(logits), logits], 1)
    return torch.log_softmax(logits, 1)
