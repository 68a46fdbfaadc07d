"""Fitted members and their combination once more, in torch: the same answers, with gradients.

Predictions are numpy's (`members.scorer`, `ensemble.combination`). An explanation asks how an answer would move
if a feature did, so the same formulas stand here for automatic differentiation, in double precision; tests hold
the two to each other.
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

Layers = Sequence[tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]]
"""Affine layers with rectifiers between them: weight (n_in, n_out) and bias (n_out,) of each."""


@dataclass(frozen=True, eq=False)
class FoldModels:
    """Fold models that share a tree, see `members.scorer.Scorer`.

    Attributes:
        taxonomy: Classes and their tree.
        one_vs_rest: Whether the nets are one a class against the others instead of one a node of the tree.
        nets: For each fold model, the layers of one net a node (or a class).
        weight: Of these among all fold models of the member.
    """

    taxonomy: Taxonomy
    one_vs_rest: bool
    nets: Sequence[Sequence[Layers]]
    weight: float = 1.0


class MemberOdds(nn.Module):
    """Log-probabilities of the classes, by the fold models of one member."""

    def __init__(self, parts: Sequence[FoldModels]) -> None:
        super().__init__()
        self._parts = parts
        self._nets = [
            [[[(_double(w), _double(b)) for w, b in net] for net in fold] for fold in part.nets]
            for part in parts
        ]

    def forward(self, features: Tensor) -> Tensor:
        """Answer.

        Args:
            features: Shape (n, n_features).

        Returns:
            float64 of shape (n, n_classes).
        """
        x = features.double()
        answers = [self._answer(number, x) for number in range(len(self._parts))]
        if len(answers) == 1:
            return answers[0]
        weights = [part.weight / sum(one.weight for one in self._parts) for part in self._parts]
        mean = torch.stack([weight * answer for weight, answer in zip(weights, answers, strict=True)]).sum(0)
        return functional.log_softmax(mean, 1)

    def _answer(self, number: int, x: Tensor) -> Tensor:
        part, folds = self._parts[number], self._nets[number]
        logits = [
            torch.stack([_run(fold[node], x) for fold in folds]).mean(0) for node in range(len(folds[0]))
        ]
        if part.one_vs_rest:
            return functional.log_softmax(functional.logsigmoid(torch.cat(logits, 1)), 1)
        answer = x.new_zeros(len(x), len(part.taxonomy.classes))
        for node, z in zip(part.taxonomy.nodes, logits, strict=True):
            both = torch.cat([torch.zeros_like(z), z], 1) if z.shape[1] == 1 else z
            branch_of = torch.from_numpy(node.targets(np.arange(len(part.taxonomy.classes))))
            taken = functional.log_softmax(both, 1)[:, branch_of.clamp_min(0)]
            answer = answer + torch.where(branch_of >= 0, taken, 0.0)
        return answer


@dataclass(frozen=True, eq=False)
class Pool:
    """How members' log-probabilities become one, see `ensemble.combination.Combination`.

    Attributes:
        kind: ``"mean"``, ``"product"`` or ``"linear"``.
        weight: Shape (n_members,); for ``"linear"`` (n_members * n_classes, n_classes).
        bias: Shape (n_classes,).
        temperature: Divides the result.
    """

    kind: str
    weight: NDArray[np.floating[Any]]
    bias: NDArray[np.floating[Any]]
    temperature: float = 1.0

    def __call__(self, members: Tensor) -> Tensor:
        """Combine log-probabilities, shape (n, n_members, n_classes), into (n, n_classes)."""
        weight = _double(self.weight)
        if self.kind == "mean":
            combined = (members.exp() * weight[None, :, None]).sum(1).log()
        elif self.kind == "product":
            combined = (members * weight[None, :, None]).sum(1)
        else:
            centered = members - members.mean(2, keepdim=True)
            combined = centered.flatten(1) @ weight + _double(self.bias)
        return functional.log_softmax(functional.log_softmax(combined, 1) / self.temperature, 1)


@dataclass(frozen=True, eq=False)
class Voter:
    """A member among others.

    Attributes:
        features: Names of the sources it sees, side by side.
        odds: Its answer.
    """

    features: Sequence[str]
    odds: MemberOdds


class CommitteeOdds(nn.Module):
    """Log-odds of each class for one photo, as a function of what one source says of it.

    Log-odds and not log-probabilities: the latter hardly move any more where the answer is sure.
    """

    def __init__(
        self,
        voters: Sequence[Voter],
        pool: Pool,
        *,
        source: str,
        rows: Mapping[str, NDArray[np.floating[Any]]],
        side_by_side: bool = False,
        floor: float = 0.0,
    ) -> None:
        """Hold still what the other sources say.

        Args:
            voters: All members.
            pool: How they become one.
            source: The source whose features vary.
            rows: Of each other source its features of the photo, views pooled, shape (n_features,).
            side_by_side: Whether the views of `source` are concatenated instead of averaged.
            floor: Smallest probability of a member that counts. Below it the answer stands still, but its
                gradient is taken as if it did not: a member that is sure has reasons too.
        """
        super().__init__()
        self._voters = nn.ModuleList(voter.odds for voter in voters)
        self._features = [tuple(voter.features) for voter in voters]
        self._pool = pool
        self._source = source
        self._rows = {name: _double(row)[None] for name, row in rows.items() if name != source}
        self._side_by_side = side_by_side
        self._floor = float(np.log(floor)) if floor > 0 else -torch.inf

    def forward(self, views: Tensor, member: int | None = None) -> Tensor:
        """Log-odds of the classes.

        Args:
            views: Features of shape (n_views, n_features).
            member: Position of the member that is asked; all together if None.

        Returns:
            Shape (1, n_classes).
        """
        if member is not None:
            return log_odds(self._vote(member, self._blocks(views)))
        return log_odds(self._pool(self.votes(views)))

    def votes(self, views: Tensor) -> Tensor:
        """Log-probabilities of every member, shape (1, n_members, n_classes)."""
        blocks = self._blocks(views)
        answers = torch.stack([self._vote(number, blocks) for number in range(len(self._features))], 1)
        return answers + (answers.clamp(self._floor, 0.0) - answers).detach()

    def _vote(self, number: int, blocks: Mapping[str, Tensor]) -> Tensor:
        answer: Tensor = self._voters[number](torch.cat([blocks[name] for name in self._features[number]], 1))
        return answer

    def _blocks(self, views: Tensor) -> dict[str, Tensor]:
        row = views.double().flatten()[None] if self._side_by_side else views.double().mean(0, keepdim=True)
        return {**self._rows, self._source: row}


def log_odds(log_proba: Tensor) -> Tensor:
    """Log-odds of each class against all others, shape (n, n_classes), of its log-probabilities."""
    k = log_proba.shape[1]
    others = log_proba[:, None].masked_fill(torch.eye(k, dtype=torch.bool), -torch.inf)
    return log_proba - others.logsumexp(2)


def _run(net: Sequence[tuple[Tensor, Tensor]], x: Tensor) -> Tensor:
    for number, (weight, bias) in enumerate(net):
        x = (functional.relu(x) if number else x) @ weight + bias
    return x


def _double(array: NDArray[np.floating[Any]]) -> Tensor:
    return torch.from_numpy(np.array(array, dtype=np.float64))
