"""The configuration: YAML becomes one closed, frozen object, or one error that lists every problem.

It looks at nothing but the YAML file: no data, weights or network. Values are taken as they are written: the
text "3" is no number, and an unknown key is an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, ValidationError, model_validator

from ensemble_minerals.config import files
from ensemble_minerals.config.fields import (
    NAMED_KIND,
    Classes,
    Cosine,
    Count,
    Distinct,
    Features,
    Groups,
    HashBits,
    Many,
    Name,
    NotNegative,
    Positive,
    Ratio,
    Section,
    Share,
    Text,
    View,
    Weights,
)
from ensemble_minerals.config.messages import DESCRIPTOR, cross_problems, schema_problems
from ensemble_minerals.config.networks import NetworkConfig, PreprocessingConfig
from ensemble_minerals.config.overrides import apply_override
from ensemble_minerals.config.yaml import OneLine, dump_yaml, parse_yaml
from ensemble_minerals.errors import ConfigError
from ensemble_minerals.system.runtime import DEFAULT_LIMITS, DecodeLimits

SHIPPED = files.SHIPPED
"""Names that `load_config` knows without a path."""


class DataConfig(Section):
    """Which files are read as photos: pixels at most, and shorter side in pixels at least."""

    max_pixels: Count = DEFAULT_LIMITS.max_pixels
    min_side: Count = DEFAULT_LIMITS.min_side

    @property
    def limits(self) -> DecodeLimits:
        """The same, as decoding takes it."""
        return DecodeLimits(self.max_pixels, self.min_side)


class DuplicatesConfig(Section):
    """When two photos count as the same, see `ensemble_minerals.data.same_object.groups.find_duplicates`."""

    exact: Literal["drop", "keep"] = "drop"
    near: bool = True
    hash_distance: HashBits = 12
    hash_cosine: Cosine = 0.5
    cosine: Cosine = 0.70
    conflict_hash_distance: HashBits = 6
    conflict_cosine: Cosine = 0.85


class FoldsConfig(Section):
    """Cross-validation folds, and the share of row groups put aside as an untouched test part.

    One fold is a plain hold-out: members are trained once on the rest, and scored once on what was put aside.
    """

    n_splits: Count = 5
    holdout: Share = 0.0


class BackboneConfig(Section):
    """A frozen network whose inner layers serve as features.

    Attributes:
        name: What members call it.
        model: Any timm model name.
        weights: ``hub``, ``random``, ``package:NAME``, or the path of a weights file.
        size: Side of the square input in pixels; None takes the weights' own.
        views: Deterministic crops of each photo.
        layers: Stages (CNN) or blocks (ViT) to tap, counted from 0, negative from the end; None chooses.
        pooling: Views averaged, or laid side by side.
        preprocessing: Only for weights that do not carry theirs.
    """

    name: Name
    model: Text
    weights: Weights = "hub"
    size: int | None = Field(default=None, ge=16, le=4096)
    views: Distinct[View] = ("squash",)
    layers: Distinct[int] | None = None
    pooling: Literal["mean", "concat"] = "mean"
    preprocessing: PreprocessingConfig | None = None


class LogisticHeadConfig(Section):
    """L2-regularised logistic regression; a larger ``C`` regularises less."""

    kind: Literal["logistic"] = "logistic"
    C: Positive = 300.0


class MlpHeadConfig(Section):
    """A small network over the features, stopped early on an inner split of the training rows."""

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


class NoSamplerConfig(Section):
    """The training rows as they are."""

    kind: Literal["none"] = "none"


class RandomSamplerConfig(Section):
    """Copies of rows until every class has ``ratio`` times the rows of the largest."""

    kind: Literal["random"] = "random"
    ratio: Ratio = 1.0


class NeighborSamplerConfig(Section):
    """New rows between a row and its nearest neighbors, as imbalanced-learn's class of the same name."""

    kind: Literal["smote", "borderline_smote", "svm_smote", "adasyn"]
    k_neighbors: Count = 5
    ratio: Ratio = 1.0


HeadConfig: TypeAlias = Annotated[LogisticHeadConfig | MlpHeadConfig, Field(discriminator="kind"), NAMED_KIND]
SamplerConfig: TypeAlias = Annotated[
    NoSamplerConfig | RandomSamplerConfig | NeighborSamplerConfig, Field(discriminator="kind"), NAMED_KIND
]


class MemberConfig(Section):
    """What is trained in every fold.

    Attributes:
        name: Its name in every table; made from the other settings when None.
        features: Names of sources, laid side by side; ``each`` is one member for each backbone; ``all`` is
            every backbone and the descriptor side by side.
        network: Name of a network that is trained on the photos, instead of features.
        specialists: Of a network that is one_vs_rest or hierarchical: one body with a branch for each
            (``joint``), or a whole network for each (``separate``).
        strategy: One classifier, one against the rest for each class, or one for each group of the taxonomy.
        head: The classifier.
        sampler: The over-sampler, applied inside the training rows.
        prior_correction: Undo the shift of the class shares that the over-sampler caused.
    """

    name: Name | None = None
    features: Features | None = None
    network: Name | None = None
    specialists: Literal["joint", "separate"] = "joint"
    strategy: Literal["flat", "one_vs_rest", "hierarchical"]
    head: HeadConfig = LogisticHeadConfig()
    sampler: SamplerConfig = NoSamplerConfig()
    prior_correction: bool = True


class MetaConfig(Section):
    """How the members' probabilities are combined; the best candidate is chosen by cross-fitted log-loss."""

    candidates: Distinct[Literal["best_single", "uniform", "greedy", "log_pool", "logistic"]] = (
        "best_single",
        "uniform",
        "greedy",
        "log_pool",
        "logistic",
    )
    one_standard_error: bool = True
    greedy_iterations: Count = 50


class CalibrationConfig(Section):
    """Whether the combined probabilities are sharpened or softened by one fitted temperature."""

    temperature: bool = True


class Config(Section):
    """Everything that decides a fit, besides the photos.

    Attributes:
        seed: Seed of folds, samplers and networks.
        classes: Only these classes; None takes all.
        taxonomy: ``default`` (the built-in mineral groups where they fit, else as auto), ``auto`` (learned
            inside each fold), or nested groups of class names.
        data: Limits of what is read.
        duplicates: When two photos are the same.
        folds: Cross-validation, or a plain hold-out.
        engine: What runs the frozen backbones.
        precision: Of the frozen backbones.
        backbones: Frozen networks; the color and texture source ``descriptor`` is always there.
        networks: Networks that are trained on the photos, in every fold anew.
        members: Base learners.
        meta: Their combination.
        calibration: The last step.
        refit: Predict with members trained once on all rows instead of the average of the fold models.
        allow_failures: Leave out a member that fails instead of stopping.
    """

    seed: int = Field(default=0, ge=0, lt=2**32)
    classes: Classes | None = None
    taxonomy: Groups = "default"
    data: DataConfig = DataConfig()
    duplicates: DuplicatesConfig = DuplicatesConfig()
    folds: FoldsConfig = FoldsConfig()
    engine: Literal["auto", "torch", "openvino"] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    backbones: Many[BackboneConfig] = ()
    networks: Many[NetworkConfig] = ()
    members: Many[MemberConfig] = ()
    meta: MetaConfig = MetaConfig()
    calibration: CalibrationConfig = CalibrationConfig()
    refit: bool = False
    allow_failures: bool = False

    @model_validator(mode="after")
    def _check_references(self) -> Self:
        problems = cross_problems(self.model_dump())
        if problems:
            raise ConfigError(problems)
        return self

    def expanded_members(self) -> tuple[MemberConfig, ...]:
        """Write out the short forms: one entry a member, features as a tuple of source names, unique names.

        A network's member has no features.

        A generated name is made of source, strategy and, unless it is logistic, head, such as
        ``lite0-one_vs_rest-mlp``. A name given to an ``each`` entry takes the place of what follows the
        source. Where two would be equal the later one adds its sampler, then a number.
        """
        backbones = tuple(backbone.name for backbone in self.backbones)
        taken = {member.name for member in self.members if member.name and member.features != "each"}
        expanded = []
        for member in self.members:
            head = "" if member.head.kind == "logistic" else f"-{member.head.kind}"
            if member.specialists == "separate":
                head += "-separate"
            ending = member.name or member.strategy + head
            for features in _expand(member.features, backbones):
                name = member.name
                if name is None or member.features == "each":
                    source = "all" if member.features == "all" else "+".join(features) or str(member.network)
                    name = _free(f"{source}-{ending}", member.sampler.kind, taken)
                    taken.add(name)
                expanded.append(member.model_copy(update={"name": name, "features": features}))
        return tuple(expanded)

    def to_yaml(self) -> str:
        """The whole configuration, defaults written out; `load_config` reads it back as an equal one."""
        data = self.model_dump(mode="json")
        for key in ("backbones", "members"):
            data[key] = [OneLine(entry) for entry in data[key]]
        return dump_yaml(data)


def _expand(
    features: str | tuple[str, ...] | None, backbones: tuple[str, ...]
) -> tuple[tuple[str, ...], ...]:
    if features is None:
        return ((),)
    if features == "each":
        return tuple((name,) for name in backbones)
    if features == "all":
        return ((*backbones, DESCRIPTOR),)
    return (tuple(features),)


def _free(name: str, sampler: str, taken: set[str]) -> str:
    if name not in taken:
        return name
    name = name if sampler == "none" else f"{name}-{sampler}"
    number, free = 2, name
    while free in taken:
        free, number = f"{name}-{number}", number + 1
    return free


def build_config(data: object, source: str = "the configuration", problems: Sequence[str] = ()) -> Config:
    """Validate plain values.

    Args:
        data: What a YAML file holds.
        source: Where it came from, for the message.
        problems: What is known to be wrong already; reported together with the rest.

    Raises:
        ConfigError: With every problem found.
    """
    found = list(problems)
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        found += schema_problems(error, Config)
        found += cross_problems(data) if isinstance(data, Mapping) else []
    except ConfigError as error:
        found += error.problems
    if found:
        raise ConfigError(list(dict.fromkeys(found)), source)
    return config


def load_config(path_or_name: str | Path | None = None, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration file.

    Args:
        path_or_name: A YAML file, or a name in `SHIPPED`; None is ``default``.
        overrides: Values to set before validation, ``path=value`` with YAML values, such as
            ``members.0.head=mlp`` or ``members.+={features: each, strategy: flat}``; later ones win.

    Returns:
        The configuration. Relative paths of weights are made absolute: those of a file from the file's
        folder, those of an override from the working directory.

    Raises:
        ConfigError: With every problem found.
    """
    file, source = files.find_config(path_or_name)
    try:
        data, problems = parse_yaml(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ConfigError([str(error)], source) from error
    data = {} if data is None else data
    if isinstance(data, dict):
        files.anchor_weights(data, Path(str(file)).parent)
        for override in overrides:
            try:
                apply_override(data, override)
            except ValueError as error:
                problems.append(str(error))
        files.anchor_weights(data, Path.cwd())
    return build_config(data, source, problems)
