"""Losses: cross-entropy, focal and logit-adjusted, over soft targets; mixup and CutMix.

A subproblem of two outcomes has one logit, the log-odds of its second outcome; one of K > 2 outcomes has K logits.
The target row of a subproblem is all zeros for a row that does not belong to it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # as everybody calls it
from numpy.typing import NDArray
from torch import Tensor, nn

from ensemble_minerals.config.networks import CrossEntropyLoss, FocalLoss, LogitAdjustedLoss, LossConfig
from ensemble_minerals.data.subproblem import n_logits


def expand_targets(targets: Tensor, n_outcomes: Sequence[int]) -> list[Tensor]:
    """Targets of each subproblem with one column an outcome.

    Args:
        targets: Outcome of each row in each subproblem, integers of shape (b, n_subproblems), -1 where it does not
            belong to it; or soft targets, floats of shape (b, sum of `n_outcomes`), which are only split.
        n_outcomes: Number of outcomes of each subproblem.

    Returns:
        For each subproblem floats of shape (b, n_outcomes), all zeros for rows that do not belong to it.

    Example:
        >>> expand_targets(torch.tensor([[2, 0], [1, -1]]), [3, 2])
        [tensor([[0., 0., 1.],
                [0., 1., 0.]]), tensor([[1., 0.],
                [0., 0.]])]
    """
    if targets.is_floating_point():
        return list(torch.split(targets, list(n_outcomes), dim=1))
    expanded = []
    for column, count in zip(targets.unbind(1), n_outcomes, strict=True):
        # Rows that do not belong to the subproblem go to an additional last column, which is cut off.
        expanded.append(F.one_hot(column.where(column >= 0, count), count + 1)[:, :count].float())
    return expanded


def hard_targets(targets: Tensor, n_outcomes: Sequence[int]) -> Tensor:
    """Most probable outcome of each row in each subproblem, shape (b, n_subproblems).

    Args:
        targets: As for `expand_targets`.
        n_outcomes: Number of outcomes of each subproblem.

    Example:
        >>> hard_targets(torch.tensor([[0.1, 0.7, 0.2, 0.0, 0.0]]), [3, 2])
        tensor([[ 1, -1]])
    """
    if not targets.is_floating_point():
        return targets
    parts = expand_targets(targets, n_outcomes)
    return torch.stack([part.argmax(1).where(part.sum(1) > 0, -1) for part in parts], 1)


def split_logits(logits: Tensor, n_outcomes: Sequence[int]) -> list[Tensor]:
    """Logits of each subproblem with one column an outcome: log-odds z of two outcomes become (0, z).

    Args:
        logits: Shape (b, n_outputs).
        n_outcomes: Number of outcomes of each subproblem.

    Returns:
        For each subproblem shape (b, n_outcomes).

    Example:
        >>> split_logits(torch.tensor([[1.0, 2.0, 3.0, 4.0]]), [3, 2])
        [tensor([[1., 2., 3.]]), tensor([[0., 4.]])]
    """
    parts = torch.split(logits, [n_logits(count) for count in n_outcomes], dim=1)
    return [part if part.shape[1] > 1 else F.pad(part, (1, 0)) for part in parts]


class SubproblemLoss(nn.Module):
    """The configured loss, summed over the subproblems.

    In each subproblem the loss is averaged over the rows of the batch that belong to it. After mixing, a row may
    belong to a subproblem in part; then it counts with that part.

    Args:
        config: Which loss.
        counts: For each subproblem the number of training rows of each outcome.

    Example:
        >>> loss = SubproblemLoss(CrossEntropyLoss(), [np.array([5, 5])])
        >>> loss(torch.tensor([[0.0]]), [torch.tensor([[0.0, 1.0]])])  # log(2)
        tensor(0.6931)
    """

    def __init__(self, config: LossConfig, counts: Sequence[NDArray[np.integer]]) -> None:
        super().__init__()
        self.config = config
        self.n_outcomes = tuple(len(each) for each in counts)
        # An outcome may lose its last row to the inner validation part; its weight must stay finite.
        positive = [np.maximum(np.asarray(each, np.float64), 1.0) for each in counts]
        balanced = not isinstance(config, LogitAdjustedLoss) and config.class_weight == "balanced"
        tau = config.tau if isinstance(config, LogitAdjustedLoss) else 0.0
        for number, each in enumerate(positive):
            prior = each / each.sum()
            weight = 1.0 / (len(each) * prior) if balanced else np.ones_like(prior)
            # Not persistent: they follow from the configuration and the rows.
            self.register_buffer(f"weight_{number}", torch.tensor(weight).float(), persistent=False)
            self.register_buffer(
                f"offset_{number}", torch.tensor(tau * np.log(prior)).float(), persistent=False
            )

    def forward(self, logits: Tensor, targets: Sequence[Tensor]) -> Tensor:
        """The loss of a batch.

        Args:
            logits: Shape (b, n_outputs).
            targets: For each subproblem shape (b, n_outcomes), see `expand_targets`.

        Returns:
            A scalar. A subproblem that no row of the batch belongs to adds 0.
        """
        total = logits.new_zeros((), dtype=torch.float32)
        for number, (part, target) in enumerate(
            zip(split_logits(logits.float(), self.n_outcomes), targets, strict=True)
        ):
            log_p = F.log_softmax(part + self._buffer("offset", number), dim=1)
            costs = -log_p * self._buffer("weight", number)
            if isinstance(self.config, FocalLoss):
                # The bound keeps the gradient finite where an outcome is certain and gamma is below 1.
                costs = costs * (1.0 - log_p.exp()).clamp_min(1e-6) ** self.config.gamma
            if isinstance(self.config, CrossEntropyLoss):
                smoothing = self.config.label_smoothing
                costs = (1.0 - smoothing) * costs + smoothing * costs.mean(1, keepdim=True)
            total = total + (costs * target).sum() / target.sum().clamp_min(1e-6)
        return total

    def prior_shift(self) -> Tensor:
        """Shift of the logits that undoes the change of the prior by class weights and logit adjustment.

        With either of them, a network learns logits for other outcome frequencies than those of the training rows.
        The shift is `-log(weight)` and `tau * log(prior)`.

        Returns:
            Shape (n_outputs,), zeros for a loss without either.
        """
        shifts = []
        for number, count in enumerate(self.n_outcomes):
            shift = self._buffer("offset", number) - self._buffer("weight", number).log()
            shifts.append(shift if count > 2 else shift[1:] - shift[:1])
        return torch.cat(shifts)

    def _buffer(self, name: str, number: int) -> Tensor:
        return self.get_buffer(f"{name}_{number}")


class Mixer:
    """Mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019) of the images and targets of a batch.

    As in torchvision, one share from Beta(strength, strength) is drawn for the batch, and each row is mixed with the
    one before it. If both strengths are positive, each batch draws one of the two methods.

    Args:
        mixup: Strength of mixup, 0 for none.
        cutmix: Strength of CutMix, 0 for none.
    """

    def __init__(self, mixup: float, cutmix: float) -> None:
        self.mixup = mixup
        self.cutmix = cutmix

    def __call__(
        self, images: Tensor, targets: Sequence[Tensor], generator: torch.Generator
    ) -> tuple[Tensor, list[Tensor]]:
        """Mix a batch.

        Args:
            images: Shape (b, channels, h, w).
            targets: For each subproblem shape (b, n_outcomes).
            generator: Source of random numbers.

        Returns:
            Mixed images and targets; the given ones are not changed.
        """
        if self.mixup == 0 and self.cutmix == 0:
            return images, list(targets)
        seed = int(torch.randint(1 << 62, (), generator=generator))
        rng = np.random.default_rng(seed)  # torch's Beta distribution takes no generator
        use_cutmix = self.cutmix > 0 and (self.mixup == 0 or rng.random() < 0.5)
        strength = self.cutmix if use_cutmix else self.mixup
        share = float(rng.beta(strength, strength))
        others = images.roll(1, 0)
        if use_cutmix:
            images, share = _cutmix(images, others, share, rng)
        else:
            images = images * share + others * (1.0 - share)
        return images, [target * share + target.roll(1, 0) * (1.0 - share) for target in targets]


def _cutmix(images: Tensor, others: Tensor, share: float, rng: np.random.Generator) -> tuple[Tensor, float]:
    """Replace a rectangle of about `1 - share` of the area; returns the images and the share that is left."""
    height, width = images.shape[-2:]
    half = 0.5 * (1.0 - share) ** 0.5
    x, y = int(rng.integers(width)), int(rng.integers(height))
    left, right = max(x - int(half * width), 0), min(x + int(half * width), width)
    top, bottom = max(y - int(half * height), 0), min(y + int(half * height), height)
    mixed = images.clone()
    mixed[..., top:bottom, left:right] = others[..., top:bottom, left:right]
    return mixed, 1.0 - (right - left) * (bottom - top) / (width * height)
