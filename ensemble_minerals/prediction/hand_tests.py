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
from ensemble_minerals.config.properties import NumberProperty, Properties
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
        self._shows = {
            name: [properties.classes.get(label, {}).get(name) for label in classes] for name in self.names
        }
        self._known = {
            name: np.array([shown is not None for shown in self._shows[name]]) for name in self.names
        }

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
        if isinstance(reading.value, str):
            words = self.properties.words[reading.name].values
            row: Floats = self._of_words(reading.name)[words.index(reading.value)]
            return row
        first, last = (np.array([end]) for end in reading.value)
        (only,) = self._of_numbers(reading.name, first, last)
        return np.asarray(only)

    def fits(self, reading: Reading) -> NDArray[np.bool_]:
        """Whether a class gives a reading without a misreading, (n_classes,); True where nothing is known of it."""
        if isinstance(reading.value, str):
            return np.array(
                [shown is None or reading.value in shown.values for shown in self._shows[reading.name]]
            )
        low, high = self.ranges(reading.name)
        return ~self._known[reading.name] | ((reading.value[0] <= high) & (low <= reading.value[1]))

    def simulate(self, name: str, y: NDArray[np.intp], rng: np.random.Generator) -> Floats:
        """Draw a reading of each of n specimens as their classes would give it.

        Args:
            name: Of the property.
            y: Class of each specimen, (n,).
            rng: What draws.

        Returns:
            How likely each class would give each reading, (n, n_classes); ones where nothing is known of the class.
        """
        known = self._known[name][y]
        likelihood = np.ones((len(y), len(self.classes)))
        if name in self.properties.words:
            table = self._of_words(name)
            chosen = (rng.random(len(y)) > table.cumsum(axis=0)[:, y]).sum(axis=0).clip(max=len(table) - 1)
            likelihood[known] = table[chosen[known]]
            return likelihood
        number, (low, high) = self.properties.numbers[name], self.ranges(name)
        misread = rng.random(len(y)) < number.misread
        ends = [np.where(misread, end, own[y]) for end, own in zip(number.scale, (low, high), strict=True)]
        values = rng.uniform(np.where(known, ends[0], 0), np.where(known, ends[1], 0))
        likelihood[known] = self._of_numbers(name, values[known], values[known])
        return likelihood

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

    def _of_words(self, name: str) -> Floats:
        """Probability of each word in each class, (n_words, n_classes)."""
        test = self.properties.words[name]
        table = np.full((len(test.values), len(self.classes)), np.nan)
        for k, shown in enumerate(self._shows[name]):
            if shown is not None:
                is_own = np.isin(test.values, shown.values)
                misread = 0.0 if is_own.all() else test.misread
                table[is_own, k] = (1 - misread) / is_own.sum()
                table[~is_own, k] = misread / max(1, (~is_own).sum())
        return _completed(table)

    def _of_numbers(self, name: str, first: Floats, last: Floats) -> Floats:
        """Probability that a number is from `first` to `last`, (n, n_classes); where they are equal, its density."""
        number, (low, high) = self.properties.numbers[name], self.ranges(name)
        scale = number.scale[1] - number.scale[0]
        first, last = first[:, None], last[:, None]
        overlap = np.minimum(last, high) - np.maximum(first, low)
        exact = first == last
        inside = np.where(exact, (overlap >= 0) * scale, overlap.clip(min=0)) / (high - low)
        anywhere = np.where(exact, 1.0, (last - first) / scale)
        return _completed((1 - number.misread) * inside + number.misread * anywhere)

    def ranges(self, name: str) -> tuple[Floats, Floats]:
        """Least and greatest reading of a number in each class, measuring error included, within the scale.

        Both (n_classes,); NaN where nothing is known of a class.
        """
        number = self.properties.numbers[name]
        low, high = np.full((2, len(self.classes)), np.nan)
        for k, shown in enumerate(self._shows[name]):
            if shown is not None and shown.range is not None:
                low[k] = max(shown.range[0] - number.widens(shown.range[0]), number.scale[0])
                high[k] = min(shown.range[1] + number.widens(shown.range[1]), number.scale[1])
        return low, high


def _completed(likelihood: Floats) -> Floats:
    """With the mean of the classes of which something is known where nothing is, (n, n_classes)."""
    mean = np.nanmean(likelihood, axis=1, keepdims=True)
    return np.where(np.isnan(likelihood), mean, likelihood)


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
