"""The configuration: one closed, frozen object that says everything about a fit, besides the photos.

Values are taken as they are written: the text "3" is no number, and an unknown key is an error. Nothing is looked at
but the configuration itself: no data, no weights, no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from ensemble_minerals.config.checks import cross_problems
from ensemble_minerals.config.extractors import BackboneConfig, ExtractorConfig
from ensemble_minerals.config.fields import (
    Classes,
    Count,
    Distinct,
    Groups,
    Many,
    Section,
    Share,
    Text,
)
from ensemble_minerals.config.members import MemberConfig, expand_members
from ensemble_minerals.config.names import DESCRIPTOR
from ensemble_minerals.config.networks import NetworkConfig
from ensemble_minerals.config.yaml import OneLine, dump_yaml
from ensemble_minerals.errors import ConfigError
from ensemble_minerals.system.runtime import DEFAULT_LIMITS, DecodeLimits


class DataConfig(Section):
    """Which files are read as photos.

    Attributes:
        max_pixels: Most pixels of a photo; one with more is too_large.
        min_side: Fewest pixels of its shorter side; one with fewer is too_small.
    """

    max_pixels: Count = DEFAULT_LIMITS.max_pixels
    min_side: Count = DEFAULT_LIMITS.min_side

    @property
    def limits(self) -> DecodeLimits:
        """The same, as decoding takes it."""
        return DecodeLimits(self.max_pixels, self.min_side)


class DuplicatesConfig(Section):
    """Which photos count as the same object, see `ensemble_minerals.data.same_object`.

    Attributes:
        exact: Whether exact copies of a class are set aside.
        near: Whether photos are compared at all, beyond exact copies.
        likeness: Whether photos that only look alike belong together, too, as far as the folds allow.
        pairs: CSV of pairs that must, or must not, be together; null for none.
    """

    exact: Literal["drop", "keep"] = "drop"
    near: bool = True
    likeness: bool = False
    pairs: Text | None = None


class FoldsConfig(Section):
    """Cross-validation folds, and the share of row groups that is held out as an untouched test part.

    Attributes:
        n_splits: Number of folds. One is a plain hold-out: members are trained once on the other rows, and scored
            once on those held out.
        holdout: Share of row groups that is held out.
        contaminated: What becomes of training photos that show the same picture or object as a photo of the test part
            that the user named: left out of training, or kept for comparison with published figures.
    """

    n_splits: Count = 5
    holdout: Share = 0.0
    contaminated: Literal["leave_out", "keep"] = "leave_out"


class MetaConfig(Section):
    """How the members' probabilities are combined; the best candidate is chosen by cross-fitted log-loss.

    Attributes:
        candidates: Combinations that compete. ``calibrated`` is the mean of members each softened or sharpened by a
            temperature of its own.
        one_standard_error: Whether the simplest candidate within one standard error of the best is taken.
        greedy_iterations: Members that ``greedy`` picks, with repetition.
    """

    candidates: Distinct[
        Literal["best_single", "uniform", "calibrated", "greedy", "log_pool", "logistic"]
    ] = (
        "best_single",
        "uniform",
        "greedy",
        "log_pool",
        "logistic",
    )
    one_standard_error: bool = True
    greedy_iterations: Count = 50


class CalibrationConfig(Section):
    """Sharpens or softens the combined probabilities by one fitted temperature.

    Attributes:
        temperature: Whether it is fitted.
    """

    temperature: bool = True


class RejectionConfig(Section):
    """Tells photos that show none of the classes.

    Attributes:
        refuse: Share of photos like those of the fit that is refused in expectation: 0.05 is one in twenty. More
            strangers are found where it is larger.
    """

    refuse: Share = 0.05


class Config(Section):
    """Everything that decides a fit, besides the photos.

    Attributes:
        seed: Seed of folds, samplers and networks.
        classes: Use only these classes; None takes all.
        taxonomy: ``default`` (the built-in mineral groups where they fit, else as auto), ``auto`` (learned
            inside each fold), or nested groups of class names.
        data: Which files are read.
        duplicates: When two photos count as the same object.
        folds: Cross-validation, or a plain hold-out.
        engine: Library that runs the frozen backbones.
        precision: Of the frozen backbones. auto is bfloat16 where it was measured to be quicker on this machine.
            int8 is quickest, needs the extra of that name, and is kept where out-of-fold log-loss stays within 1 %.
        backbones: Frozen networks; the color and texture descriptor, ``descriptor``, is always there.
        extractors: Further feature extractors.
        networks: Networks that are trained on the photos, anew in every fold.
        members: Base learners.
        meta: How their probabilities are combined.
        calibration: How the combined probabilities are calibrated.
        rejection: Which photos are called none of the classes; null learns nothing of the kind.
        refit: Predict with members trained once on all rows instead of the average of the fold models.
        properties: What a hand can test of the classes: ``minerals``, a YAML file, or null for nothing.
        allow_failures: Leave out a member that fails instead of stopping.
    """

    seed: int = Field(default=0, ge=0, lt=2**32)
    classes: Classes | None = None
    taxonomy: Groups = "default"
    data: DataConfig = DataConfig()
    duplicates: DuplicatesConfig = DuplicatesConfig()
    folds: FoldsConfig = FoldsConfig()
    engine: Literal["auto", "torch", "openvino"] = "auto"
    precision: Literal["auto", "float32", "bfloat16", "int8"] = "auto"
    backbones: Many[BackboneConfig] = ()
    extractors: Many[ExtractorConfig] = ()
    networks: Many[NetworkConfig] = ()
    members: Many[MemberConfig] = ()
    meta: MetaConfig = MetaConfig()
    calibration: CalibrationConfig = CalibrationConfig()
    rejection: RejectionConfig | None = RejectionConfig()
    refit: bool = False
    properties: Text | None = "minerals"
    allow_failures: bool = False

    @model_validator(mode="after")
    def _check_references(self) -> Self:
        problems = cross_problems(self.model_dump())
        if problems:
            raise ConfigError(problems)
        return self

    @model_serializer(mode="wrap")
    def _leave_out_no_extractors(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write `extractors` only where there are some: earlier releases do not know the key."""
        data: dict[str, Any] = dump(self)
        if not self.extractors:
            data.pop("extractors", None)
        return data

    def expanded_members(self) -> tuple[MemberConfig, ...]:
        """Write out the short forms: one entry for each member, features as a tuple of names, names that differ.

        A member on a network has no features.

        A generated name consists of feature extractor, strategy and, unless it is logistic, head, such as
        ``lite0-one_vs_rest-mlp``. The name of an ``each`` entry replaces what follows the feature extractor. Where
        two names would be equal, the sampler is added to the later one, then a number.
        """
        return expand_members(
            self.members,
            [backbone.name for backbone in self.backbones],
            [*(extractor.name for extractor in self.extractors), DESCRIPTOR],
        )

    def with_members(self, members: Sequence[MemberConfig]) -> Config:
        """The configuration of some of its expanded members, with the backbones and networks that these need.

        The first backbone stays in any case: it finds photos of the same object.
        """
        used = {name for member in members for name in member.features or ()}
        trained = {member.network for member in members}
        parts = {
            "members": [{**member.model_dump(), "features": member.features or None} for member in members],
            "backbones": [
                one.model_dump() for n, one in enumerate(self.backbones) if n == 0 or one.name in used
            ],
            "networks": [network.model_dump() for network in self.networks if network.name in trained],
        }
        return Config.model_validate(self.model_dump() | parts)

    def to_yaml(self) -> str:
        """The whole configuration, defaults written out; `load_config` reads it back as an equal object."""
        data = self.model_dump(mode="json")
        for key in ("backbones", "members"):
            data[key] = [OneLine(entry) for entry in data[key]]
        return dump_yaml(data)
