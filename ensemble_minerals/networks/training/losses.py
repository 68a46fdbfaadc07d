"""What training makes small: losses of decisions over soft targets, and the mixing of photos.

A decision of two branches is one column of logits, the log-odds of its second branch; one of K > 2 branches is K
columns. A row that takes no part in a decision has a target row of zeros there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # as everybody calls it
from numpy.typing import NDArray
from torch import Tensor, nn

from ensemble_minerals.config.networks import CrossEntropyLoss, FocalLoss, LogitAdjustedLoss, LossConfig


def n_logits(n_outcomes: int) -> int:
    """Columns of logits of a decision."""
    return 1 if n_outcomes == 2 else n_outcomes


def expand_targets(targets: Tensor, n_outcomes: Sequence[int]) -> list[Tensor]:
    """Spread branch numbers into one column a branch.

    Args:
        targets: Branch of each row in each decision, shape (b, n_decisions); -1 where it takes no part. Floats of
            shape (b, sum of `n_outcomes`) are spread already and only divided.
        n_outcomes: Branches of each decision.

    Returns:
        For each decision (b, n_branches): ones and zeros, all zeros for rows that take no part.
    """
    if targets.is_floating_point():
        return list(torch.split(targets, list(n_outcomes), dim=1))
    spread = []
    for column, count in zip(targets.unbind(1), n_outcomes, strict=True):
        # The additional column at the end takes up the rows without a part.
        spread.append(F.one_hot(column.where(column >= 0, count), count + 1)[:, :count].float())
    return spread


def hard_targets(targets: Tensor, n_outcomes: Sequence[int]) -> Tensor:
    """The largest branch of each row in each decision, shape (b, n_decisions), of what `expand_targets` takes."""
    if not targets.is_floating_point():
        return targets
    parts = expand_targets(targets, n_outcomes)
    return torch.stack([part.argmax(1).where(part.sum(1) > 0, -1) for part in parts], 1)


def split_logits(logits: Tensor, n_outcomes: Sequence[int]) -> list[Tensor]:
    """Logits of each decision with one column a branch: log-odds z of two branches become (0, z).

    Args:
        logits: Shape (b, n_outputs).
        n_outcomes: Branches of each decision.

    Returns:
        For each decision (b, n_branches).
    """
    parts = torch.split(logits, [n_logits(count) for count in n_outcomes], dim=1)
    return [part if part.shape[1] > 1 else F.pad(part, (1, 0)) for part in parts]


class SubproblemLoss(nn.Module):
    """Sum over the decisions of the configured loss.

    In each decision the loss is averaged over the rows of the batch that take part; a row that is partly in it,
    after mixing, counts as that part.
    """

    def __init__(self, config: LossConfig, branch_counts: Sequence[NDArray[np.integer]]) -> None:
        """Prepare weights and priors.

        Args:
            config: Which loss.
            branch_counts: For each decision the rows of each branch in the training part.
        """
        super().__init__()
        self.config = config
        self.n_outcomes = tuple(len(counts) for counts in branch_counts)
        # A branch that lost its last row to the inner validation part must not become infinitely heavy.
        counts = [np.maximum(np.asarray(branch, np.float64), 1.0) for branch in branch_counts]
        balanced = not isinstance(config, LogitAdjustedLoss) and config.class_weight == "balanced"
        tau = config.tau if isinstance(config, LogitAdjustedLoss) else 0.0
        for number, branch in enumerate(counts):
            share = branch / branch.sum()
            weight = 1.0 / (len(branch) * share) if balanced else np.ones_like(share)
            # Derived from the configuration: no part of the state of a network.
            self.register_buffer(f"weight_{number}", torch.tensor(weight).float(), persistent=False)
            self.register_buffer(
                f"offset_{number}", torch.tensor(tau * np.log(share)).float(), persistent=False
            )

    def forward(self, logits: Tensor, targets: Sequence[Tensor]) -> Tensor:
        """The loss of a batch.

        Args:
            logits: Shape (b, n_outputs).
            targets: For each decision (b, n_branches), see `expand_targets`.

        Returns:
            A number; 0 for a decision in which no row of the batch takes part.
        """
        total = logits.new_zeros((), dtype=torch.float32)
        for number, (part, target) in enumerate(
            zip(split_logits(logits.float(), self.n_outcomes), targets, strict=True)
        ):
            log_p = F.log_softmax(part + self._buffer("offset", number), dim=1)
            costs = -log_p * self._buffer("weight", number)
            if isinstance(self.config, FocalLoss):
                # The bound keeps the slope finite where a branch is certain and gamma is below 1.
                costs = costs * (1.0 - log_p.exp()).clamp_min(1e-6) ** self.config.gamma
            if isinstance(self.config, CrossEntropyLoss):
                smoothing = self.config.label_smoothing
                costs = (1.0 - smoothing) * costs + smoothing * costs.mean(1, keepdim=True)
            total = total + (costs * target).sum() / target.sum().clamp_min(1e-6)
        return total

    def prior_shift(self) -> Tensor:
        """What added to the logits makes them speak of the training rows' own frequencies again.

        Class weights and logit adjustment teach a network to answer as if other frequencies held: by `-log(weight)`
        and `tau * log(prior)`.

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
    """Mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019) of a batch with its neighbors, linear in the targets.

    As torchvision's: one share of Beta(strength, strength) a batch, each row mixed with the one before it. With
    both strengths positive each batch draws one of the two.
    """

    def __init__(self, mixup: float, cutmix: float, seed: int = 0) -> None:
        """Set strengths.

        Args:
            mixup: Strength of mixup, 0 for none.
            cutmix: Strength of CutMix, 0 for none.
            seed: Of the mixer's own random numbers, where none are given.
        """
        self.mixup = mixup
        self.cutmix = cutmix
        self._generator = torch.Generator().manual_seed(seed)

    def __call__(
        self, images: Tensor, targets: Sequence[Tensor], generator: torch.Generator | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """Mix a batch.

        Args:
            images: Shape (b, channels, h, w).
            targets: For each decision (b, n_branches).
            generator: Where random numbers come from; the mixer's own if None.

        Returns:
            Mixed images and targets; the given ones stay as they are.
        """
        strengths = [strength for strength in (self.mixup, self.cutmix) if strength > 0]
        if not strengths:
            return images, list(targets)
        seed = int(torch.randint(1 << 62, (), generator=generator or self._generator))
        rng = np.random.default_rng(seed)  # Beta numbers of a generator of one's own are only had from numpy
        by_cutting = self.cutmix > 0 and (self.mixup == 0 or rng.random() < 0.5)
        strength = self.cutmix if by_cutting else self.mixup
        share = float(rng.beta(strength, strength))
        others = images.roll(1, 0)
        if by_cutting:
            images, share = _cut(images, others, share, rng)
        else:
            images = images * share + others * (1.0 - share)
        return images, [target * share + target.roll(1, 0) * (1.0 - share) for target in targets]


def _cut(images: Tensor, others: Tensor, share: float, rng: np.random.Generator) -> tuple[Tensor, float]:
    """Replace a rectangle of about `1 - share` of the area; the images and the share that is left."""
    height, width = images.shape[-2:]
    half = 0.5 * (1.0 - share) ** 0.5
    x, y = int(rng.integers(width)), int(rng.integers(height))
    left, right = max(x - int(half * width), 0), min(x + int(half * width), width)
    top, bottom = max(y - int(half * height), 0), min(y + int(half * height), height)
    mixed = images.clone()
    mixed[..., top:bottom, left:right] = others[..., top:bottom, left:right]
    return mixed, 1.0 - (right - left) * (bottom - top) / (width * height)
