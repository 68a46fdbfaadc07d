"""Evidence as users give it: for all photos, as columns of a CSV of photos, and how common classes are, as a CSV."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ensemble_minerals.config.names import nearest
from ensemble_minerals.config.properties import Properties
from ensemble_minerals.data.files import list_files
from ensemble_minerals.data.own_outputs import is_folder
from ensemble_minerals.data.photo_table import table_rows
from ensemble_minerals.data.written_paths import find_written
from ensemble_minerals.errors import UserError
from ensemble_minerals.prediction.evidence import Evidence
from ensemble_minerals.prediction.hand_tests import Floats, HandTests, Reading, as_readings, parse_evidence
from ensemble_minerals.prediction.inputs import TABLES, Inputs, entries

_LIKE = 0.8
"""A column whose name is so like that of a property was meant for it."""


@dataclass(frozen=True)
class GivenEvidence:
    """Evidence, before it is known which photos there are.

    Attributes:
        tests: The tests that can be read; None where nothing is known of the classes.
        of_all: Readings of every photo.
        of_photo: Readings of single photos, by path.
        prior: See `Evidence`.
        advise: See `Evidence`.
    """

    tests: HandTests | None = None
    of_all: tuple[Reading, ...] = ()
    of_photo: Mapping[Path, tuple[Reading, ...]] = field(default_factory=dict)
    prior: Floats | None = None
    advise: bool = False

    def of(self, paths: Sequence[Path]) -> Evidence:
        """The evidence of photos."""
        readings = [(*self.of_all, *self.of_photo.get(path, ())) for path in paths]
        return Evidence(self.tests, readings, self.prior, self.advise)


def gather_evidence(
    inputs: Inputs,
    classes: Sequence[str],
    properties: Properties | None,
    given: Sequence[str] | Mapping[str, object] = (),
    *,
    prior: Floats | None = None,
    advise: bool = False,
) -> GivenEvidence:
    """Read all evidence, so that what cannot be understood is told before photos are read.

    Args:
        inputs: What is predicted; a CSV may have a column for each property.
        classes: In the order of the probabilities.
        properties: Of the classes; None where nothing is known of them.
        given: Readings of every photo, each ``name=value``, or values by property.
        prior: See `Evidence`.
        advise: See `Evidence`.

    Raises:
        UserError: If a reading cannot be understood, is given twice, or nothing is known of the classes.
        DataError: If a CSV cannot be read.
    """
    if properties is None:
        if given or advise:
            raise UserError(
                f"nothing is known that a hand could test of {', '.join(classes)}: name a file of their properties, "
                "such as --properties minerals, or fit again with properties in the configuration"
            )
        return GivenEvidence(prior=prior)
    tests = HandTests(properties, classes)
    of_all = as_readings(given, tests) if isinstance(given, Mapping) else parse_evidence(given, tests)
    of_photo: dict[Path, tuple[Reading, ...]] = {}
    for entry in entries(inputs):
        path = Path(entry)
        if path.suffix.lower() in TABLES and path.is_file():
            for photo, readings in _readings_of(path, tests).items():
                if of_photo.setdefault(photo, readings) != readings:
                    raise UserError(
                        f"{path}: other evidence of {photo} than in an input before; give it once"
                    )
    twice = {reading.name for readings in of_photo.values() for reading in readings} & {
        reading.name for reading in of_all
    }
    if twice:
        name = min(twice)
        raise UserError(f"--evidence {name}=...: {name} is a column of a CSV, too; give it once")
    return GivenEvidence(tests, of_all, of_photo, prior, advise)


def _readings_of(table: Path, tests: HandTests) -> dict[Path, tuple[Reading, ...]]:
    """Readings of the photos of a CSV, by path; none where it has no column of a property."""
    rows = table_rows(table)
    header = [cell.strip() for cell in next(rows, (0, []))[1]]
    columns = _columns(table, header, tests.names)
    lower = [name.lower() for name in header]
    if not columns or "path" not in lower:
        return {}
    at = lower.index("path")
    listed = [(number, cells) for number, cells in rows if len(cells) > at and cells[at].strip()]
    found = find_written(table, [cells[at] for _, cells in listed], others=[Path()])
    readings: dict[Path, tuple[Reading, ...]] = {}
    for (number, cells), name in zip(listed, found.paths, strict=True):
        try:
            own = tuple(
                tests.read(name, cells[column])
                for name, column in columns.items()
                if column < len(cells) and cells[column].strip()
            )
        except UserError as error:
            raise UserError(f"row {number} of {table}: {error}") from error
        photo = table.parent / name
        for file in list_files(photo) if is_folder(photo) else [photo]:
            if readings.setdefault(file, own) != own:
                raise UserError(
                    f"row {number} of {table}: other evidence of {name} than in a row before; give it once"
                )
    return readings


def _columns(table: Path, header: Sequence[str], names: Sequence[str]) -> dict[str, int]:
    columns: dict[str, int] = {}
    for position, cell in enumerate(header):
        name = cell.casefold()
        if name in names:
            if name in columns:
                raise UserError(f"{table}: has two columns {name}; keep one")
            columns[name] = position
        elif difflib.get_close_matches(name, names, n=1, cutoff=_LIKE):
            raise UserError(
                f"{table}: the column {cell!r} is no property{nearest(cell, names)}; name it so, or otherwise; "
                f"known: {', '.join(names)}"
            )
    return columns


def read_prior(file: Path, classes: Sequence[str], counts: Sequence[int]) -> Floats:
    """How often each class occurs at a place, as a multiple of how often it did among the photos of the fit.

    Args:
        file: CSV with the columns class and weight; the weights may add up to anything.
        classes: In the order of the probabilities.
        counts: Photos of the fit, by class.

    Raises:
        UserError: If a class is missing, unknown or given twice, or a weight is no number of 0 or more.
        DataError: If it cannot be read.
    """
    rows = table_rows(file)
    header = [cell.strip().lower() for cell in next(rows, (0, []))[1]]
    if not {"class", "weight"} <= set(header):
        raise UserError(f"--prior {file}: the first line must name the columns class and weight")
    at = header.index("class"), header.index("weight")
    known = {name.casefold(): name for name in classes}
    weights: dict[str, float] = {}
    for number, cells in rows:
        if not any(cell.strip() for cell in cells):
            continue
        label, text = (cells[column].strip() if column < len(cells) else "" for column in at)
        name = known.get(label.casefold())
        where = f"--prior {file}, row {number}"
        if name is None:
            raise UserError(
                f"{where}: {label!r} is no class of the model{nearest(label, classes)}; leave it out"
            )
        if name in weights:
            raise UserError(f"{where}: {name} is there twice; keep one")
        weights[name] = _weight(where, text)
    return _prior(f"--prior {file}", weights, classes, counts)


def prior_of(
    given: Mapping[str, float] | str | Path, classes: Sequence[str], counts: Sequence[int]
) -> Floats:
    """`read_prior` of a CSV, or the same of weights by class.

    Raises:
        UserError: See `read_prior`.
        DataError: See `read_prior`.
    """
    if not isinstance(given, Mapping):
        return read_prior(Path(given), classes, counts)
    for name in given:
        if name not in classes:
            raise UserError(f"prior: {name!r} is no class of the model{nearest(name, classes)}; leave it out")
    weights = {name: _weight(f"prior: {name}", str(weight)) for name, weight in given.items()}
    return _prior("prior", weights, classes, counts)


def _prior(where: str, weights: Mapping[str, float], classes: Sequence[str], counts: Sequence[int]) -> Floats:
    missing = [name for name in classes if name not in weights]
    if missing:
        raise UserError(
            f"{where}: lacks {', '.join(missing)}; write a weight for each class, 0 where it does not occur"
        )
    if not any(weights.values()):
        raise UserError(f"{where}: all weights are 0; at least one class must occur")
    prior = np.array([weights[name] for name in classes]) / np.maximum(counts, 1)
    return np.asarray(prior / prior.max())


def _weight(where: str, text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not (math.isfinite(weight) and weight >= 0):
        raise UserError(f"{where}: the weight {text!r} must be a number of 0 or more")
    return weight
