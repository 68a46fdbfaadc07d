"""What the JSON files of a bundle say, besides its index."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from ensemble_minerals.bundle.index import ClassNames, Names
from ensemble_minerals.config.fields import Many, NotNegative, Section, Some
from ensemble_minerals.ensemble.calibration import Temperature
from ensemble_minerals.ensemble.combination import Kind
from ensemble_minerals.members.serialization import PredictorDescription
from ensemble_minerals.networks.training.epoch_log import Epoch


class MemberDescription(Section):
    """A member of the fitted ensemble.

    Attributes:
        name: Its name.
        features: Feature extractors whose features it sees, side by side.
        predictor: What it predicts with.
    """

    name: str
    features: Names
    predictor: PredictorDescription = Field(alias="scorer")


class EnsembleDescription(Section):
    """The fitted ensemble, but for its arrays.

    Attributes:
        classes: Names of the classes that the members were fitted for.
        members: In the order of the combination's weights.
        combination: Kind of the combination.
        temperature: Divides the combined log-probabilities.
    """

    classes: ClassNames
    members: Some[MemberDescription]
    combination: Kind
    temperature: Temperature


class _Figures(Section):
    """Figures, to which a later version may add others."""

    model_config = ConfigDict(extra="allow")


class _Interval(Section):
    estimate: float | None
    low: float | None
    high: float | None
    level: float


class _CurvePoint(Section):
    share: float
    rows: float
    accuracy: _Interval
    log_loss: _Interval


class _LearningCurve(Section):
    members: Many[str]
    points: Many[_CurvePoint]
    last_step: _Interval | None
    notes: Many[str]


class _Meta(_Figures):
    chosen: Literal["best_single", "uniform", "calibrated", "greedy", "log_pool", "logistic"]
    fold_temperatures: dict[str, Temperature] | None = None


class _ExtractorCosts(_Figures):
    predict_ms: NotNegative | None = None
    megabytes: NotNegative | None = None


class MetricsDescription(_Figures):
    """Of ``metrics.json`` what is read again.

    Attributes:
        meta: The way the members are combined, and the temperature of each fold.
        source_costs: Of each feature extractor, milliseconds a photo and megabytes.
        member_seconds: Of fitting each member.
        learning_curve: See `LearningCurve`.
    """

    meta: _Meta
    source_costs: dict[str, _ExtractorCosts] = Field(default_factory=dict)
    member_seconds: dict[str, NotNegative] = Field(default_factory=dict)
    learning_curve: _LearningCurve | None = None


class LogsDescription(Section):
    """``logs.json``: for each member, for each of its networks, the epochs."""

    members: dict[str, Many[Many[Epoch]]]
