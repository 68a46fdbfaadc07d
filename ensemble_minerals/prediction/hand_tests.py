"""What a reading of a hand test says of the classes: how likely each would give it.

A number lies in the range of its class, widened by the measuring error, everywhere alike; a word is one of those of
the class. With the rate of misreading, a reading is anything else. Where nothing is known of a class, a reading is as
likely as in the mean of the others, so that it neither helps nor harms.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.config.names import nearest, not_known
from ensemble_minerals.config.properties import NumberProperty, Properties, WordProperty
from ensemble_minerals.errors import UserError

_NUMBER = r"([-+]?\d+(?:[.,]\d+)?)"
_READING = re.compile(rf"{_NUMBER}(?:\s*(?:-|\N{{EN DASH}}|to)\s*{_NUMBER})?\s*(.*)", re.DOTALL)
_BINS = 200
"""Of a number that is not compared with tools, so many intervals are told apart."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Reading:
    """What was read in one test.

    Attributes:
        name: Of the property.
        value: The word; of a number least and greatest value, which are equal where one value was read.
    """

    name: str
    value: str | tuple[float, float]

    def __str__(self) -> str:
        if isinstance(self.value, str):
            return f"{self.name}={self.value}"
        low, high = self.value
        return f"{self.name}={low:g}" if low == high else f"{self.name}={low:g}-{high:g}"


@dataclass(frozen=True)
class HandTest:
    """Something that can be done, with all that may come out.

    Attributes:
        name: Of the property.
        how: What to do, in words.
        tool: What it is compared with; empty where it is not.
        outcomes: Readings, of which one comes out.
    """

    name: str
    how: str
    tool: str
    outcomes: tuple[Reading, ...]


class HandTests:
    """The tests that tell the classes of a model apart.

    Args:
        properties: Of at least one of the classes.
        classes: In the order of the probabilities.

    Example:
        >>> from ensemble_minerals.config.properties import load_properties
        >>> tests = HandTests(load_properties("minerals"), ("quartz", "pyrite"))
        >>> reading = tests.read("streak", "White")
        >>> str(reading), tests.likelihood(reading).round(3).tolist()
        ('streak=white', [0.95, 0.007])
    """

    def __init__(self, properties: Properties, classes: Sequence[str]) -> None:
        self.properties = properties
        self.classes = tuple(classes)
        self.names = properties.known()

    def read(self, name: str, text: str) -> Reading:
        """Understand what was written down.

        Args:
            name: Of the property.
            text: A word, a number such as ``3`` or ``2.65 g/cm3``, or what it lies between, ``2.5-3.5``.

        Raises:
            UserError: If there is no such property, value or unit; it names the nearest.
        """
        written = f"{name}={text}"
        if name not in self.names:
            raise UserError(
                f"{written}: no class has a property {name!r}{nearest(name, self.names)}; known: "
                f"{', '.join(self.names)}"
            )
        if name in self.properties.words:
            words = {word.casefold(): word for word in self.properties.words[name].values}
            word = words.get(text.strip().casefold())
            if word is None:
                raise UserError(f"{written}: {not_known(text.strip(), words.values())}")
            return Reading(name, word)
        return Reading(name, _range_of(written, text, self.properties.numbers[name]))

    def likelihood(self, reading: Reading) -> Floats:
        """How likely each class would give a reading, (n_classes,), all positive; of a single number its density.

        The density is given as a multiple of that of any number of the scale.
        """
        known = [label in self.properties.classes and reading.name in self.properties.classes[label]
                 for label in self.classes]  # fmt: skip
        values = np.full(len(self.classes), np.nan)
        for k in np.flatnonzero(known):
            values[k] = self._likelihood_of(self.classes[k], reading)
        values[~np.array(known)] = np.nanmean(values)
        return values

    def fits(self, reading: Reading) -> NDArray[np.bool_]:
        """Whether a class gives a reading without a misreading, (n_classes,); True where nothing is known of it."""
        fits = np.ones(len(self.classes), dtype=bool)
        for k, label in enumerate(self.classes):
            shows = self.properties.classes.get(label, {}).get(reading.name)
            if shows is None:
                continue
            if isinstance(reading.value, str):
                fits[k] = reading.value in shows.values
            else:
                low, high = self._widened(label, reading.name)
                fits[k] = reading.value[0] <= high and low <= reading.value[1]
        return fits

    def tests(self) -> Iterator[HandTest]:
        """Everything that can be done."""
        for name in self.names:
            if name in self.properties.words:
                word = self.properties.words[name]
                yield HandTest(name, word.how, "", tuple(Reading(name, value) for value in word.values))
                continue
            number = self.properties.numbers[name]
            low, high = number.scale
            for tool, value in number.tools.items():
                outcomes = (Reading(name, (low, value)), Reading(name, (value, high)))
                yield HandTest(name, number.how, tool, outcomes)
            if not number.tools:
                ends = np.linspace(low, high, _BINS + 1).tolist()
                bins = tuple(Reading(name, pair) for pair in pairwise(ends))
                yield HandTest(name, number.how, "", bins)

    def draw(self, name: str, label: str, rng: np.random.Generator) -> Reading | None:
        """A reading as a specimen of a class would give it; None where nothing is known of the class."""
        shows = self.properties.classes.get(label, {}).get(name)
        if shows is None:
            return None
        if name in self.properties.words:
            word = self.properties.words[name]
            others = [value for value in word.values if value not in shows.values]
            misread = bool(others) and rng.random() < word.misread
            return Reading(name, str(rng.choice(others if misread else list(shows.values))))
        number = self.properties.numbers[name]
        low, high = number.scale if rng.random() < number.misread else self._widened(label, name)
        value = float(rng.uniform(low, high))
        return Reading(name, (value, value))

    def _likelihood_of(self, label: str, reading: Reading) -> float:
        if isinstance(reading.value, str):
            return _share_of_word(
                reading.value, self._shows(label, reading.name), self.properties.words[reading.name]
            )
        number = self.properties.numbers[reading.name]
        least, greatest = number.scale
        low, high = self._widened(label, reading.name)
        first, last = reading.value
        if first == last:
            inside = (low <= first <= high) * (greatest - least) / (high - low)
            return (1 - number.misread) * inside + number.misread
        inside = max(0.0, min(last, high) - max(first, low)) / (high - low)
        return (1 - number.misread) * inside + number.misread * (last - first) / (greatest - least)

    def _shows(self, label: str, name: str) -> Sequence[str]:
        return self.properties.classes[label][name].values

    def _widened(self, label: str, name: str) -> tuple[float, float]:
        """The range of a class with the measuring error, within the scale."""
        number, shown = self.properties.numbers[name], self.properties.classes[label][name].range
        assert shown is not None  # checked when the file was read
        low, high = shown
        return max(low - number.widens(low), number.scale[0]), min(
            high + number.widens(high), number.scale[1]
        )


def _share_of_word(word: str, shown: Sequence[str], test: WordProperty) -> float:
    n_others = len(test.values) - len(shown)
    if not n_others:
        return 1 / len(shown)
    return (1 - test.misread) / len(shown) if word in shown else test.misread / n_others


def _range_of(written: str, text: str, number: NumberProperty) -> tuple[float, float]:
    low, high = number.scale
    match = _READING.fullmatch(text.strip())
    if match is None:
        raise UserError(
            f"{written}: is no number; write one, or what it lies between, such as {low:g}-{(low + high) / 2:g} "
            f"({number.unit}, {low:g} to {high:g})"
        )
    first, last, unit = match.groups()
    units = {number.unit: 1.0, **number.units}
    factor = units.get(unit or number.unit)
    if factor is None:
        raise UserError(f"{written}: {not_known(unit, units)}")
    values = [float(end.replace(",", ".")) * factor for end in (first, last or first)]
    if not low <= values[0] <= values[1] <= high:
        raise UserError(
            f"{written}: give a value, or a lesser and a greater one, from {low:g} to {high:g} {number.unit}"
        )
    return values[0], values[1]


def parse_evidence(entries: Sequence[str], tests: HandTests) -> tuple[Reading, ...]:
    """Readings as they are given on a command line, ``name=value``.

    Raises:
        UserError: If one cannot be understood, or a property is given twice.
    """
    readings: dict[str, Reading] = {}
    for entry in entries:
        name, equals, text = entry.partition("=")
        if not equals:
            raise UserError(
                f"--evidence {entry}: write a property and what was read, such as {tests.names[0]}=..."
            )
        reading = tests.read(name.strip(), text)
        if reading.name in readings:
            raise UserError(f"--evidence {entry}: {reading.name} is given twice; give the better reading")
        readings[reading.name] = reading
    return tuple(readings.values())


def as_readings(values: Mapping[str, object], tests: HandTests) -> tuple[Reading, ...]:
    """Readings as a program gives them, values by property."""
    return tuple(tests.read(name, str(value)) for name, value in values.items())
