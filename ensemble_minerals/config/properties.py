"""Properties of the classes that a hand can test: hardness, streak and the like, from a YAML file.

A file says which tests there are, how well each is read, and what every class shows, with a source for each value.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from typing import Annotated, Self, TypeAlias

from pydantic import BeforeValidator, Field, ValidationError, model_serializer, model_validator
from pydantic_core.core_schema import SerializerFunctionWrapHandler

from ensemble_minerals.config.fields import (
    Distinct,
    Many,
    Name,
    NotNegative,
    Positive,
    Section,
    Share,
    Text,
    as_tuple,
    wrong,
)
from ensemble_minerals.config.files import SHIPPED_PROPERTIES, find_properties
from ensemble_minerals.config.messages import schema_problems
from ensemble_minerals.config.names import nearest, not_known, shown
from ensemble_minerals.config.yaml import parse_yaml
from ensemble_minerals.errors import ConfigError

_NARROWEST = 1e-9
"""Share of a scale that a range with its measuring error covers, at least."""

Misread: TypeAlias = Annotated[float, Field(gt=0, lt=1)]
Range: TypeAlias = Annotated[tuple[float, float], BeforeValidator(as_tuple)]


class NumberProperty(Section):
    """A property that is read as a number, such as hardness.

    Attributes:
        unit: Of all its numbers.
        scale: Least and greatest reading that there can be.
        error: Measuring error: a reading lies at most so far outside the range of its class.
        relative_error: The same as a share of the value; both may be given.
        misread: Share of readings that are wrong altogether, anywhere on the scale.
        how: How it is tested, in words; with `tools`, the name of a tool follows.
        tools: What is harder or heavier by comparison: tools by name, each with its value.
        units: Other units in which a reading may be given, each in terms of `unit`.
    """

    unit: Text
    scale: Range
    error: NotNegative = 0.0
    relative_error: Share = 0.0
    misread: Misread
    how: Text
    tools: dict[str, float] = Field(default_factory=dict)
    units: dict[str, Positive] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_scale(self) -> Self:
        low, high = self.scale
        if not low < high or math.isinf(high - low):
            raise wrong(f"scale: must be [least, greatest], got {shown(self.scale)}")
        for tool, value in self.tools.items():
            if not low < value < high:
                raise wrong(
                    f"tools.{tool}: {value:g} is not between {low:g} and {high:g}, the ends of the scale"
                )
        return self

    def widens(self, value: float) -> float:
        """How far a reading of a value may lie beside it."""
        return self.error + self.relative_error * abs(value)


class WordProperty(Section):
    """A property that is read as a word, such as the color of the streak.

    Attributes:
        values: What may be read.
        misread: Share of readings that name a word which does not belong to the class.
        how: How it is tested, in words.
    """

    values: Distinct[Text]
    misread: Misread
    how: Text


class ClassProperty(Section):
    """What one class shows of a property.

    Attributes:
        range: Least and greatest value, of a number.
        values: What it may be, of a word.
        source: Where it was read.
    """

    range: Range | None = None
    values: Many[Text] = ()
    source: Text

    @model_serializer(mode="wrap")
    def _leave_out_what_is_not_there(self, dump: SerializerFunctionWrapHandler) -> dict[str, object]:
        written: dict[str, object] = dump(self)
        return {key: value for key, value in written.items() if value not in (None, (), [])}


class Properties(Section):
    """Tests of the hand, and what the classes show in them.

    Attributes:
        numbers: Properties that are read as numbers, by name.
        words: Properties that are read as words, by name.
        classes: For each class its properties by name; what is not known is left out.
    """

    numbers: dict[Name, NumberProperty] = Field(default_factory=dict)
    words: dict[Name, WordProperty] = Field(default_factory=dict)
    classes: dict[str, dict[str, ClassProperty]]

    @model_validator(mode="after")
    def _check_classes(self) -> Self:
        problems = list(self._problems())
        if problems:
            raise ConfigError(problems)
        return self

    def of(self, classes: Collection[str]) -> Properties | None:
        """The part on some classes, under their names; None if it has none of them. Case does not matter."""
        known = {name.casefold(): values for name, values in self.classes.items()}
        mine = {name: known[name.casefold()] for name in sorted(classes) if name.casefold() in known}
        return self.model_copy(update={"classes": mine}) if mine else None

    def known(self) -> list[str]:
        """Names of the properties that at least one class has, in the order of the file."""
        used = {name for values in self.classes.values() for name in values}
        return [name for name in (*self.numbers, *self.words) if name in used]

    def _problems(self) -> Iterator[str]:
        for name in self.words.keys() & self.numbers.keys():
            yield f"words.{name}: is among numbers, too; choose another name"
        for label, values in self.classes.items():
            for name, value in values.items():
                yield from self._problems_of(f"classes.{label}.{name}", name, value)

    def _problems_of(self, path: str, name: str, value: ClassProperty) -> Iterator[str]:
        if name in self.numbers:
            low, high = self.numbers[name].scale
            if value.range is None or value.values:
                yield f"{path}: is a number; write range: [least, greatest]"
                return
            least, greatest = value.range
            if not low <= least <= greatest <= high:
                yield f"{path}.range: {shown(value.range)} is no range from least to greatest in {low:g} to {high:g}"
            elif greatest - least + self.numbers[name].widens(least) < _NARROWEST * (high - low):
                yield f"{path}.range: has no width; state what measuring errs by, numbers.{name}.error"
        elif name in self.words:
            words = self.words[name].values
            if value.range is not None or not value.values:
                yield f"{path}: is a word; write values: [...], of {', '.join(words)}"
            for word in value.values:
                if word not in words:
                    yield f"{path}.values: {not_known(word, words)}"
        else:
            defined = (*self.numbers, *self.words)
            yield f"{path}: no such property{nearest(name, defined)}; defined: {', '.join(defined) or 'none'}"


def load_properties(path_or_name: str) -> Properties:
    """Read a file of properties.

    Args:
        path_or_name: A YAML file, or ``minerals``, the one in the package.

    Raises:
        ConfigError: If there is none, or it does not fit; lists every problem.

    >>> load_properties("minerals").classes["quartz"]["hardness"].range
    (7.0, 7.0)
    """
    file, source = find_properties(path_or_name)
    try:
        data, problems = parse_yaml(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ConfigError([str(error)], source) from error
    try:
        properties = Properties.model_validate(data)
    except ValidationError as error:
        problems += schema_problems(error, Properties, data)
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(problems, source)
    return properties


def properties_of(
    path_or_name: str | None, classes: Collection[str], loaded: Properties | None = None
) -> Properties | None:
    """The properties of some classes; None where none are wanted, or the file of the package knows no class.

    Args:
        path_or_name: See `load_properties`.
        classes: Names of the classes.
        loaded: What that gave, if it was called before.

    Raises:
        ConfigError: If the file cannot be used, or is the user's own and knows none of the classes.
    """
    if path_or_name is None:
        return None
    properties = load_properties(path_or_name) if loaded is None else loaded
    mine = properties.of(classes)
    if mine is None and path_or_name not in SHIPPED_PROPERTIES:
        known, wanted = ", ".join(properties.classes), ", ".join(sorted(classes))
        raise ConfigError([f"classes: {known or 'none'}, but the photos are of {wanted}"], path_or_name)
    return mine
