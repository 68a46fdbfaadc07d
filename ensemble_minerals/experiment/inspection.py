"""What is known of a folder of photos before anything is trained on it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import DisjointSet

from ensemble_minerals.config.schema import Config
from ensemble_minerals.data.manifest import Manifest, Status
from ensemble_minerals.data.same_object.pairs import GRADES, SameObjectPair
from ensemble_minerals.experiment.dataset import counts

MEASURES = ("inliers", "first_share", "second_share", "agreement", "correlation", "mirrored")
"""What is told of the evidence of a pair, see `Evidence`."""

PAIR_COLUMNS = ("first", "second", "same", "grade", *MEASURES, "first_label", "second_label")
"""Cells of a pair in ``pairs.csv``."""

_QUANTILES = {"least": 0.0, "5 %": 0.05, "median": 0.5, "95 %": 0.95, "most": 1.0}


@dataclass(frozen=True)
class ObjectGroup:
    """Photos of one object, and the pairs that join them.

    Attributes:
        number: Of the row group.
        rows: Rows of the manifest, ascending.
        pairs: The strongest pairs that hold the group together, one less than photos at most.
    """

    number: int
    rows: tuple[int, ...]
    pairs: tuple[SameObjectPair, ...]

    @property
    def is_copies(self) -> bool:
        """Whether all are copies of one photo."""
        return all(pair.grade == "copy" for pair in self.pairs)


@dataclass(frozen=True)
class DataFindings:
    """What a folder of photos holds: counts by class, unreadable files, duplicates, contradictions.

    Attributes:
        manifest: One row a file; row groups and statuses are filled in.
        pairs: Photos that show the same object, in rows of the manifest.
        config: Limits and thresholds that were used.
        warnings: What the user should know, one sentence each.
        seconds: Time of ``scan`` and ``features``.
    """

    manifest: Manifest
    pairs: tuple[SameObjectPair, ...]
    config: Config
    warnings: tuple[str, ...]
    seconds: Mapping[str, float]

    def __repr__(self) -> str:
        """How many files and classes there are."""
        return f"{type(self).__name__}({len(self.manifest)} files, {len(self.classes)} classes)"

    @cached_property
    def classes(self) -> dict[str, dict[str, int]]:
        """For each class in use: files, files by what became of them, and row groups of the usable photos."""
        manifest, table = self.manifest, {}
        for label in sorted(set(manifest.label[manifest.status != Status.EXCLUDED.value].tolist())):
            mine = manifest.label == label
            status = Counter(manifest.status[mine].tolist())
            table[label] = {
                "files": int(mine.sum()),
                "usable": status[Status.OK.value],
                "copies": status[Status.DUPLICATE.value],
                "conflicts": status[Status.CONFLICT.value],
                "left_out": status[Status.CONTAMINATED.value],
                "unreadable": status[Status.UNREADABLE.value],
                "row_groups": len(
                    set(manifest.row_group[mine & (manifest.status == Status.OK.value)].tolist())
                ),
            }
        return table

    def rows(self, status: Status) -> list[int]:
        """Rows of a status, ascending."""
        rows: list[int] = np.flatnonzero(self.manifest.status == status.value).tolist()
        return rows

    @cached_property
    def conflicts(self) -> tuple[ObjectGroup, ...]:
        """Quarantined photos, those of one row group together."""
        return self._grouped(set(self.rows(Status.CONFLICT)))

    @cached_property
    def object_groups(self) -> tuple[ObjectGroup, ...]:
        """Row groups of photos that are in a pair, the largest first.

        Photos that are together only because the column group of the user's table says so are left out.
        """
        return self._grouped({row for pair in self.pairs for row in (pair.first, pair.second)})

    def _grouped(self, rows: Container[int]) -> tuple[ObjectGroup, ...]:
        together: dict[int, list[int]] = defaultdict(list)
        pairs: dict[int, list[SameObjectPair]] = defaultdict(list)
        numbers = self.manifest.row_group.tolist()
        for row, number in enumerate(numbers):
            if row in rows:
                together[number].append(row)
        for pair in self.pairs:
            if pair.first in rows and pair.second in rows:
                pairs[numbers[pair.first]].append(pair)
        groups = [
            ObjectGroup(number, tuple(members), tuple(_strongest(pairs[number])))
            for number, members in together.items()
        ]
        return tuple(sorted(groups, key=lambda group: (-len(group.rows), group.number)))

    def labels(self, group: ObjectGroup) -> list[str]:
        """Classes of the photos of a group, sorted."""
        return sorted(set(self.manifest.label[list(group.rows)].tolist()))

    @cached_property
    def statistics(self) -> dict[str, Any]:
        """Of the readable photos: quantiles of the sides and of their ratio, counts of formats and modes."""
        manifest = self.manifest
        rows = np.flatnonzero(manifest.width > 0)
        sides = np.stack([manifest.width[rows], manifest.height[rows]])
        measures = {
            "shorter side": sides.min(axis=0),
            "longer side": sides.max(axis=0),
            "longer / shorter": sides.max(axis=0) / sides.min(axis=0),
        }
        return {
            "sizes": {name: _quantiles(values) for name, values in measures.items()} if rows.size else {},
            "formats": dict(Counter(manifest.format[rows].tolist()).most_common()),
            "modes": dict(Counter(manifest.mode[rows].tolist()).most_common()),
        }

    def as_json(self) -> dict[str, Any]:
        """Everything but the manifest's columns, as JSON values."""
        return {
            "root": self.manifest.root.resolve().name,
            "digest": self.manifest.digest,
            "counts": counts(self.manifest),
            "classes": self.classes,
            "warnings": list(self.warnings),
            "unreadable": [
                {**self._named(row), "reason": str(self.manifest.reason[row])}
                for row in self.rows(Status.UNREADABLE)
            ],
            "conflicts": [self._group(group) for group in self.conflicts],
            "groups": [self._group(group) for group in self.object_groups],
            **self.statistics,
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
        }

    def _named(self, row: int) -> dict[str, str]:
        return {"path": str(self.manifest.path[row]), "label": str(self.manifest.label[row])}

    def _group(self, group: ObjectGroup) -> dict[str, Any]:
        photos = [{**self._named(row), "status": str(self.manifest.status[row])} for row in group.rows]
        return {"group": group.number, "photos": photos, "pairs": [self.told(pair) for pair in group.pairs]}

    def told(self, pair: SameObjectPair) -> dict[str, Any]:
        """A pair and what shows it, as JSON values: a line of ``pairs.csv``, which `duplicates.pairs` reads."""
        path, label, evidence = self.manifest.path, self.manifest.label, pair.evidence
        measures = (
            dict.fromkeys(MEASURES)
            if evidence is None
            else {name: _rounded(getattr(evidence, name)) for name in MEASURES}
        )
        return {
            "first": str(path[pair.first]),
            "second": str(path[pair.second]),
            "same": "yes",
            "grade": pair.grade,
            **measures,
            "first_label": str(label[pair.first]),
            "second_label": str(label[pair.second]),
        }


def _strongest(pairs: list[SameObjectPair]) -> Iterator[SameObjectPair]:
    """Of the pairs of a row group the strongest that join all its photos: a spanning tree."""
    joined = DisjointSet(row for pair in pairs for row in (pair.first, pair.second))
    return (pair for pair in sorted(pairs, key=_rank) if joined.merge(pair.first, pair.second))


def _rank(pair: SameObjectPair) -> tuple[int, int]:
    return GRADES.index(pair.grade), -(pair.evidence.inliers if pair.evidence else 0)


def _rounded(value: float) -> float:
    return round(value, 4) if isinstance(value, float) else value


def _quantiles(values: NDArray[Any]) -> dict[str, float]:
    return {name: round(float(np.quantile(values, q)), 2) for name, q in _QUANTILES.items()}
