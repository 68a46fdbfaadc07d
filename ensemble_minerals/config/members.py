"""Members: what is trained in every fold, with its head and its over-sampler."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field, SerializeAsAny

from ensemble_minerals.config.fields import (
    Count,
    Features,
    Many,
    Name,
    NotNegative,
    Positive,
    Ratio,
    Section,
    Share,
)
from ensemble_minerals.config.kinds import Kinds


class HeadSection(Section):
    """A classifier of any kind that a member trains on its features."""

    kind: str


class LogisticHeadConfig(HeadSection):
    """L2-regularised logistic regression.

    Attributes:
        C: Inverse strength of the penalty; ``auto`` chooses it in every fold by an inner cross-validation.
    """

    kind: Literal["logistic"] = "logistic"
    C: Positive | Literal["auto"] = 300.0


class MlpHeadConfig(HeadSection):
    """A small network on the features, with early stopping on an inner split of the training rows.

    Attributes:
        hidden: Widths of the hidden layers.
        dropout: Share of hidden values that is left out while training.
        learning_rate: Of AdamW.
        weight_decay: Of AdamW.
        label_smoothing: Share of the probability that is spread over all classes.
        batch_size: Rows of one step.
        max_epochs: At most this many passes over the training rows.
        patience: Epochs without a lower loss on the inner validation rows until training ends.
        validation_fraction: Share of the training rows, by row groups, that early stopping uses.
        noise: Standard deviation of Gaussian noise on the features while training.
    """

    kind: Literal["mlp"] = "mlp"
    hidden: Many[Count] = (128,)
    dropout: Share = 0.3
    learning_rate: Positive = 3e-3
    weight_decay: NotNegative = 1e-3
    label_smoothing: Share = 0.0
    batch_size: int = Field(default=64, ge=2)
    max_epochs: Count = 100
    patience: Count = 12
    validation_fraction: Share = 0.15
    noise: NotNegative = 0.0


class DiscriminantHeadConfig(HeadSection):
    """Linear discriminant analysis with a shrunk covariance, in closed form.

    Attributes:
        shrinkage: Part of the covariance that is a multiple of the identity.
    """

    kind: Literal["discriminant"] = "discriminant"
    shrinkage: Ratio = 0.3


class RandomFeaturesHeadConfig(HeadSection):
    """A discriminant on random nonlinear features, in closed form.

    Attributes:
        n_components: Number of random features.
        shrinkage: As of ``discriminant``.
    """

    kind: Literal["random_features"] = "random_features"
    n_components: Count = 500
    shrinkage: Ratio = 0.3


HEADS = Kinds(LogisticHeadConfig, MlpHeadConfig, DiscriminantHeadConfig, RandomFeaturesHeadConfig)
"""Kinds of a member's ``head``. To add one, write its section and list it here."""

HeadConfig: TypeAlias = Annotated[SerializeAsAny[HeadSection], HEADS]


class SamplerSection(Section):
    """An over-sampler of any kind.

    Attributes:
        makes_rows: Whether it makes rows that were not there, which a member on a network cannot use.
    """

    makes_rows: ClassVar[bool] = True
    kind: str


class NoSamplerConfig(SamplerSection):
    """Leaves the training rows as they are."""

    makes_rows = False

    kind: Literal["none"] = "none"


class RandomSamplerConfig(SamplerSection):
    """Copies rows until every class has ``ratio`` times the rows of the largest.

    Attributes:
        ratio: Rows that every class has at least, as a share of the largest.
    """

    makes_rows = False

    kind: Literal["random"] = "random"
    ratio: Ratio = 1.0


class NeighborSamplerConfig(SamplerSection):
    """Makes rows between a row and its nearest neighbors, as imbalanced-learn's class of the same name does.

    Attributes:
        k_neighbors: Neighbors between which rows are made.
        ratio: Rows that every class has at least, as a share of the largest.
    """

    kind: Literal["smote", "borderline_smote", "svm_smote", "adasyn"]
    k_neighbors: Count = 5
    ratio: Ratio = 1.0


SAMPLERS = Kinds(NoSamplerConfig, RandomSamplerConfig, NeighborSamplerConfig)
"""Kinds of a member's ``sampler``. To add one, write its section and list it here."""

SamplerConfig: TypeAlias = Annotated[SerializeAsAny[SamplerSection], SAMPLERS]


class MemberConfig(Section):
    """What is trained in every fold.

    Attributes:
        name: Its name in every table; made from the other settings when None.
        features: Names of feature extractors, whose features are concatenated; ``each`` makes one member for each
            backbone; ``all`` concatenates every feature extractor.
        network: Name of a network that is trained on the photos; replaces `features`.
        specialists: For a network that is one_vs_rest or hierarchical: one body with a head for each specialist
            (``joint``), or a network for each (``separate``).
        strategy: One classifier; one for each class against the rest; or one for each group of the taxonomy.
        head: The classifier.
        sampler: The over-sampler, applied inside the training rows.
        prior_correction: Undo the change of the class prior that the over-sampler caused.
    """

    name: Name | None = None
    features: Features | None = None
    network: Name | None = None
    specialists: Literal["joint", "separate"] = "joint"
    strategy: Literal["flat", "one_vs_rest", "hierarchical"]
    head: HeadConfig = LogisticHeadConfig()
    sampler: SamplerConfig = NoSamplerConfig()
    prior_correction: bool = True


def expand_members(
    members: Sequence[MemberConfig], backbones: Sequence[str], others: Sequence[str]
) -> tuple[MemberConfig, ...]:
    """Write out the short forms: one entry a member, its features as a tuple of names, its own name.

    Args:
        members: As configured.
        backbones: Names of the backbones, which ``each`` and ``all`` stand for.
        others: Names of the other feature extractors, which ``all`` stands for as well.
    """
    taken = {member.name for member in members if member.name and member.features != "each"}
    expanded = []
    for member in members:
        head = "" if member.head.kind == "logistic" else f"-{member.head.kind}"
        if member.specialists == "separate":
            head += "-separate"
        ending = member.name or member.strategy + head
        for features in _expand(member.features, tuple(backbones), tuple(others)):
            name = member.name
            if name is None or member.features == "each":
                start = "all" if member.features == "all" else "+".join(features) or str(member.network)
                name = _free(f"{start}-{ending}", member.sampler.kind, taken)
                taken.add(name)
            expanded.append(member.model_copy(update={"name": name, "features": features}))
    return tuple(expanded)


def _expand(
    features: str | tuple[str, ...] | None, backbones: tuple[str, ...], others: tuple[str, ...]
) -> tuple[tuple[str, ...], ...]:
    if features is None:
        return ((),)
    if features == "each":
        return tuple((name,) for name in backbones)
    if features == "all":
        return ((*backbones, *others),)
    return (tuple(features),)


def _free(name: str, sampler: str, taken: set[str]) -> str:
    if name not in taken:
        return name
    name = name if sampler == "none" else f"{name}-{sampler}"
    number, free = 2, name
    while free in taken:
        free, number = f"{name}-{number}", number + 1
    return free
