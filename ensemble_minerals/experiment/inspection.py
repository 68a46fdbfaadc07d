"""What is known of a folder of photos before anything is trained on it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.config.schema import Config
from ensemble_minerals.data.manifest import Manifest, Status
from ensemble_minerals.data.same_object.pairs import GRADES, Evidence, Grade, SameObjectPair
from ensemble_minerals.experiment.dataset import counts

MEASURES = ("inliers", "first_share", "second_share", "correlation", "mirrored")
"""What is told of the evidence of a pair; see `Evidence`."""

_QUANTILES = {"least": 0.0, "5 %": 0.05, "median": 0.5, "95 %": 0.95, "most": 1.0}


@dataclass(frozen=True)
class Match:
    """A photo of a duplicate group, and the photo of the group that it matches best.

    Attributes:
        row: Row of the manifest.
        to: Row of the best match; -1 where the photo is in no pair.
        grade: How both belong together; ``"given"`` where the photo is in no pair.
        evidence: What shows it, if anything had to.
    """

    row: int
    to: int = -1
    grade: Grade = "given"
    evidence: Evidence | None = None


@dataclass(frozen=True)
class DuplicateGroup:
    """Photos of one image or specimen, in the order of rows."""

    number: int
    photos: tuple[Match, ...]

    @property
    def grade(self) -> Grade:
        """The weakest of its photos."""
        return max((photo.grade for photo in self.photos), key=GRADES.index)

    @property
    def rows(self) -> list[int]:
        """Rows of the manifest."""
        return [photo.row for photo in self.photos]


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
    def conflicts(self) -> tuple[DuplicateGroup, ...]:
        """Quarantined photos, those of one row group together."""
        quarantined = set(self.rows(Status.CONFLICT))
        return self._grouped(lambda row: row in quarantined, at_least=1)

    @cached_property
    def duplicate_groups(self) -> tuple[DuplicateGroup, ...]:
        """Row groups of two or more photos that match, the largest first.

        Rows that are together only because the user's CSV says so are left out.
        """
        given = self.manifest.given_group
        return self._grouped(lambda row: row in self._closest or not given[row], at_least=2)

    @cached_property
    def _closest(self) -> dict[int, Match]:
        """The best match of each row that is in a pair."""
        closest: dict[int, Match] = {}
        for pair in self.pairs:
            for row, to in ((pair.first, pair.second), (pair.second, pair.first)):
                match = Match(row, to, pair.grade, pair.evidence)
                if row not in closest or _rank(match) < _rank(closest[row]):
                    closest[row] = match
        return closest

    def _grouped(self, wanted: Callable[[int], bool], at_least: int) -> tuple[DuplicateGroup, ...]:
        together: dict[int, list[Match]] = defaultdict(list)
        for row, group in enumerate(self.manifest.row_group.tolist()):
            if group >= 0 and wanted(row):
                together[group].append(self._closest.get(row, Match(row)))
        groups = [
            DuplicateGroup(n, tuple(photos)) for n, photos in together.items() if len(photos) >= at_least
        ]
        return tuple(sorted(groups, key=lambda group: (-len(group.photos), group.number)))

    def labels(self, group: DuplicateGroup) -> list[str]:
        """Classes of the photos of a group, sorted."""
        return sorted(set(self.manifest.label[group.rows].tolist()))

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
            "root": self.manifest.root.name,
            "digest": self.manifest.digest,
            "counts": counts(self.manifest),
            "classes": self.classes,
            "warnings": list(self.warnings),
            "unreadable": [
                {**self._named(row), "reason": str(self.manifest.reason[row])}
                for row in self.rows(Status.UNREADABLE)
            ],
            "conflicts": [[self._named(row) for row in group.rows] for group in self.conflicts],
            "duplicate_groups": [
                {"group": group.number, "grade": group.grade, "photos": self.links(group)}
                for group in self.duplicate_groups
            ],
            **self.statistics,
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
        }

    def _named(self, row: int) -> dict[str, str]:
        return {"path": str(self.manifest.path[row]), "label": str(self.manifest.label[row])}

    def links(self, group: DuplicateGroup) -> list[dict[str, Any]]:
        """Photos of a group and what each is like, as JSON values."""
        return [
            {
                **self._named(photo.row),
                "status": str(self.manifest.status[photo.row]),
                "like": str(self.manifest.path[photo.to]) if photo.to >= 0 else None,
                "grade": photo.grade,
                **_measures(photo.evidence),
            }
            for photo in group.photos
        ]


def _rank(match: Match) -> tuple[int, int]:
    return GRADES.index(match.grade), -(match.evidence.inliers if match.evidence else 0)


def _measures(evidence: Evidence | None) -> dict[str, Any]:
    """What shows that two photos belong together, as JSON values."""
    if evidence is None:
        return dict.fromkeys(MEASURES)
    return {name: _rounded(getattr(evidence, name)) for name in MEASURES}


def _rounded(value: float) -> float:
    return round(value, 4) if isinstance(value, float) else value


def _quantiles(values: NDArray[Any]) -> dict[str, float]:
    return {name: round(float(np.quantile(values, q)), 2) for name, q in _QUANTILES.items()}
