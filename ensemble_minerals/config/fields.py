"""Value types of the configuration: lists, names, and the short forms that its sections accept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from ensemble_minerals.config.names import DESCRIPTOR, SELECTIONS, nearest, shown

_WEIGHT_FILES = (".safetensors", ".pth", ".pt")


def wrong(words: str) -> PydanticCustomError:
    """An error of validation, in plain words."""
    return PydanticCustomError("plain_words", "{words}", {"words": words})


def as_tuple(value: object) -> object:
    """A list as a tuple, anything else as it is."""
    return tuple(value) if isinstance(value, list) else value


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    _not_empty(values)
    for position, value in enumerate(values):
        if value in values[:position]:
            raise wrong(f"{shown(value)} is listed twice; list each once")
    return values


def _not_empty(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if not values:
        raise wrong("must be a list of at least one entry, got []")
    return values


def _two_or_more(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(values) < 2:
        raise wrong(f"must be a list of at least two classes, got {shown(values)}")
    return values


def _weights(value: str) -> str:
    package = value.removeprefix("package:")
    if value in {"hub", "random"} or is_weights_file(value) or (package and package != value):
        return value
    raise wrong(
        f"{shown(value)} is no source of weights{nearest(value, ['hub', 'random'])}; write hub, random, "
        f"package:NAME, or the path of a {', '.join(_WEIGHT_FILES)} file"
    )


def is_weights_file(weights: str) -> bool:
    """Whether a weights setting is the path of a file."""
    return weights.lower().endswith(_WEIGHT_FILES) and not weights.startswith("package:")


def _features(value: object) -> object:
    if isinstance(value, str) and value:
        return value if value in SELECTIONS else (value,)
    if isinstance(value, list | tuple) and value and all(isinstance(name, str) for name in value):
        return _distinct(tuple(value))
    raise wrong(
        f"must be each, all, or a list of feature extractors such as [lite0, {DESCRIPTOR}], got {shown(value)}"
    )


def _taxonomy(value: object) -> object:
    if value in ("default", "auto"):
        return value
    if isinstance(value, Mapping) and value:
        return _plain_tree(value)
    close = nearest(value, ["default", "auto"]) if isinstance(value, str) else ""
    example = "{mica: [biotite, muscovite]}"
    raise wrong(f"must be default, auto, or groups such as {example}, got {shown(value)}{close}")


def _plain_tree(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(group): _plain_tree(below) for group, below in value.items()}
    return list(value) if isinstance(value, list | tuple) else [value] if isinstance(value, str) else value


T = TypeVar("T")
Many: TypeAlias = Annotated[tuple[T, ...], BeforeValidator(as_tuple)]
# No min_length: pydantic counts valid entries only and would call a list of one wrong entry empty.
Distinct: TypeAlias = Annotated[tuple[T, ...], AfterValidator(_distinct), BeforeValidator(as_tuple)]
Some: TypeAlias = Annotated[tuple[T, ...], AfterValidator(_not_empty), BeforeValidator(as_tuple)]
Triple: TypeAlias = Annotated[tuple[T, T, T], BeforeValidator(as_tuple)]
Positive: TypeAlias = Annotated[float, Field(gt=0)]
NotNegative: TypeAlias = Annotated[float, Field(ge=0)]
Ratio: TypeAlias = Annotated[float, Field(gt=0, le=1)]
Share: TypeAlias = Annotated[float, Field(ge=0, lt=1)]
Count: TypeAlias = Annotated[int, Field(ge=1)]
Name: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", max_length=100)]
Text: TypeAlias = Annotated[str, Field(min_length=1)]
Classes: TypeAlias = Annotated[Distinct[Text], AfterValidator(_two_or_more)]
Weights: TypeAlias = Annotated[str, AfterValidator(_weights)]
Features: TypeAlias = Annotated[Literal["each", "all"] | tuple[str, ...], BeforeValidator(_features)]
Groups: TypeAlias = Annotated[Literal["default", "auto"] | dict[str, Any], BeforeValidator(_taxonomy)]
View: TypeAlias = Literal[
    "squash",
    "squash_flip",
    "center",
    "center_flip",
    "detail",
    "detail_flip",
    "top_left",
    "top_left_flip",
    "top_right",
    "top_right_flip",
    "bottom_left",
    "bottom_left_flip",
    "bottom_right",
    "bottom_right_flip",
]


class Section(BaseModel):
    """A closed part of the configuration."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
