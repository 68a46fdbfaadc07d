"""Feature extractors: they turn an image into numbers, once, before members are trained."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, SerializeAsAny

from ensemble_minerals.config.fields import (
    Distinct,
    Name,
    Positive,
    Section,
    Text,
    Triple,
    View,
    Weights,
)
from ensemble_minerals.config.kinds import Kinds
from ensemble_minerals.config.names import DESCRIPTOR


class PreprocessingConfig(Section):
    """What a network expects, if its weights do not say so: ``(pixel / 255 * scale - mean) / std``.

    Attributes:
        order: Order of the channels; mean and std follow it.
        scale: The value that a white pixel gets: 1 for most, 255 for Caffe's.
        mean: Subtracted from each channel after scaling.
        std: Divides each channel after that.
    """

    order: Literal["rgb", "bgr"] = "rgb"
    scale: Positive = 1.0
    mean: Triple[float] = (0.0, 0.0, 0.0)
    std: Triple[Positive] = (1.0, 1.0, 1.0)


class ExtractorSection(Section):
    """A feature extractor of any kind.

    Attributes:
        name: What members call it.
    """

    name: Name


class BackboneConfig(ExtractorSection):
    """A frozen network whose inner layers serve as features.

    Attributes:
        name: What members call it.
        model: Any timm model name.
        weights: ``hub``, ``random``, ``package:NAME``, or the path of a weights file.
        size: Side of the square input in pixels; None takes that of the weights.
        views: Deterministic crops of each photo.
        layers: Stages (CNN) or blocks (ViT) whose output is taken, counted from 0, negative from the end; None
            chooses.
        pooling: Features of the views are averaged (``mean``), or concatenated (``concat``). ``rows`` averages them
            as well, but members on this backbone alone learn from each view, a row that counts a part of the photo.
        covariances: Of each layer the covariances of so many combinations of its channels are features, too, which
            tell textures; 0 leaves them out.
        preprocessing: Only for weights that do not state theirs.
    """

    model: Text
    weights: Weights = "hub"
    size: int | None = Field(default=None, ge=16, le=4096)
    views: Distinct[View] = ("squash",)
    layers: Distinct[int] | None = None
    pooling: Literal["mean", "concat", "rows"] = "mean"
    covariances: int = Field(default=0, ge=0, le=64)
    preprocessing: PreprocessingConfig | None = None


class DescriptorConfig(ExtractorSection):
    """Color and texture, computed without a network."""

    kind: Literal["descriptor"] = "descriptor"
    name: Name = DESCRIPTOR


EXTRACTORS = Kinds(DescriptorConfig)
"""Kinds of ``extractors``. To add one, write its section and list it here."""

ExtractorConfig: TypeAlias = Annotated[SerializeAsAny[ExtractorSection], EXTRACTORS]
