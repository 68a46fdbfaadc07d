"""Pairs of photos that the user says show the same object, or do not: a CSV that wins over what was found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ensemble_minerals.data.manifest import Manifest
from ensemble_minerals.data.photo_table import table_rows
from ensemble_minerals.errors import DataError

_COLUMNS = ("first", "second", "same")
_ANSWERS = {
    "yes": True,
    "y": True,
    "true": True,
    "1": True,
    "no": False,
    "n": False,
    "false": False,
    "0": False,
}


@dataclass(frozen=True)
class GivenPairs:
    """Pairs of rows, smaller row first.

    Attributes:
        together: Rows that show the same object.
        apart: Rows that do not.
    """

    together: frozenset[tuple[int, int]] = frozenset()
    apart: frozenset[tuple[int, int]] = frozenset()

    def and_also(self, others: GivenPairs) -> GivenPairs:
        """These pairs and others."""
        return GivenPairs(self.together | others.together, self.apart | others.apart)

    def among(self, position: Mapping[int, int]) -> GivenPairs:
        """The pairs of which both rows are in a smaller table, in its numbers."""
        return GivenPairs(
            *(
                frozenset((position[a], position[b]) for a, b in pairs if a in position and b in position)
                for pairs in (self.together, self.apart)
            )
        )


NO_PAIRS = GivenPairs()
"""Where the user gave none."""


def check_given_pairs(path: Path) -> None:
    """Make sure that a file is there and has the columns, before the photos are read.

    Raises:
        DataError: If not.
    """
    header = _header(table_rows(path))
    missing = [name for name in _COLUMNS if name not in header]
    if missing:
        raise DataError(
            f"the first line of {path} lacks {' and '.join(missing)}; it must name the columns first, second (paths "
            "or digests of photos) and same (yes or no)"
        )


def read_given_pairs(path: Path, manifest: Manifest) -> GivenPairs:
    """Read a CSV with the columns first, second and same (yes or no); other columns do not matter.

    Args:
        path: The file. Photos are named by their path in the manifest, or by the digest of their content.
        manifest: The photos.

    Raises:
        DataError: If it cannot be read, or a row cannot be used.
    """
    check_given_pairs(path)
    rows = table_rows(path)
    header = _header(rows)
    known = {name: row for row, name in enumerate(manifest.image_id.tolist()) if name}
    known |= {name: row for row, name in enumerate(manifest.path.tolist())}
    answers: dict[tuple[int, int], bool] = {}
    for number, cells in rows:
        if not any(cell.strip() for cell in cells):
            continue
        given = dict(zip(header, (cell.strip() for cell in cells), strict=False))
        written = [given.get(name, "") for name in _COLUMNS[:2]]
        names = [name if name in known else name.replace("\\", "/") for name in written]
        answer = _ANSWERS.get(given.get("same", "").lower())
        unknown = [name for name in names if name not in known]
        if unknown:
            raise DataError(
                f"row {number} of {path} names {unknown[0]!r}, which is no photo of {manifest.root}; give its path "
                "below that folder, or the digest of its content (image_id in manifest.csv)"
            )
        if answer is None:
            raise DataError(
                f"row {number} of {path} has same={given.get('same', '')!r}; it must be yes or no"
            )
        first, second = sorted(known[name] for name in names)
        if answers.setdefault((first, second), answer) != answer:
            raise DataError(f"row {number} of {path} contradicts an earlier row on {names[0]} and {names[1]}")
    return GivenPairs(
        frozenset(pair for pair, same in answers.items() if same),
        frozenset(pair for pair, same in answers.items() if not same),
    )


def _header(rows: Iterator[tuple[int, list[str]]]) -> list[str]:
    return [cell.strip().lower() for cell in next(rows, (0, []))[1]]
