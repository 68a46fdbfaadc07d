"""What a folder of photos holds, before anything is trained on it: counts, what cannot be read, what is alike."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.config.schema import Config
from ensemble_minerals.data.files import is_synthetic
from ensemble_minerals.data.manifest import Manifest, Status
from ensemble_minerals.data.same_object.groups import DuplicatePair
from ensemble_minerals.data.warnings import data_warnings
from ensemble_minerals.experiment.dataset import apply_groups, counts, extract, find_groups, scan_photos
from ensemble_minerals.experiment.setup import confirming
from ensemble_minerals.features.registry import build_extractors
from ensemble_minerals.reports.page import thumbnails, write_page
from ensemble_minerals.system.atomic import atomic_file, user_errors
from ensemble_minerals.system.progress import Progress, Silent
from ensemble_minerals.system.runtime import Runtime
from ensemble_minerals.system.stopwatch import Stopwatch

MAX_PICTURES = 1500
"""At most so many photos are shown on the page; the tables beside it hold all."""

_MAX_OF_GROUP = 24
_SIDE = 200
_QUANTILES = {"least": 0.0, "5 %": 0.05, "median": 0.5, "95 %": 0.95, "most": 1.0}


@dataclass(frozen=True)
class Alike:
    """A photo of a duplicate group.

    Attributes:
        row: Of the manifest.
        to: Row of the photo of the group that it is most like; -1 where no pair of it is listed.
        kind: ``"exact"`` for equal pixels, ``"near"`` otherwise.
        hash_distance: Bits in which the perceptual hashes differ; -1 where not listed.
        cosine: Of the embeddings; NaN where not listed, and without embeddings.
    """

    row: int
    to: int = -1
    kind: str = "near"
    hash_distance: int = -1
    cosine: float = math.nan


@dataclass(frozen=True)
class DuplicateGroup:
    """Photos of one picture or specimen, in order of rows."""

    number: int
    photos: tuple[Alike, ...]

    @property
    def kind(self) -> str:
        """``"exact"`` if all are copies of one picture, else ``"near"``."""
        return "exact" if all(photo.kind == "exact" for photo in self.photos) else "near"

    @property
    def rows(self) -> list[int]:
        """Rows of the manifest."""
        return [photo.row for photo in self.photos]


@dataclass(frozen=True)
class Inspection:
    """What was found.

    Attributes:
        manifest: One row a file; row groups and statuses are filled in.
        pairs: Photos found alike, in rows of the manifest.
        config: Limits and thresholds that were used.
        warnings: What the user should know, one sentence each.
        seconds: Time of ``scan`` and ``features``.
    """

    manifest: Manifest
    pairs: tuple[DuplicatePair, ...]
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
        found: list[int] = np.flatnonzero(self.manifest.status == status.value).tolist()
        return found

    @cached_property
    def conflicts(self) -> tuple[DuplicateGroup, ...]:
        """Quarantined photos, those of one row group together."""
        quarantined = set(self.rows(Status.CONFLICT))
        return self._grouped(lambda row: row in quarantined, at_least=1)

    @cached_property
    def duplicate_groups(self) -> tuple[DuplicateGroup, ...]:
        """Row groups of two or more photos that are alike, the largest first.

        Rows that are together only because the user's CSV says so are left out.
        """
        given = self.manifest.given_group
        return self._grouped(lambda row: row in self._closest or not given[row], at_least=2)

    @cached_property
    def _closest(self) -> dict[int, Alike]:
        """Of each row in a pair, the photo that it is most like."""
        closest: dict[int, Alike] = {}
        for pair in self.pairs:
            for row, to in ((pair.first, pair.second), (pair.second, pair.first)):
                found = Alike(row, to, pair.kind, pair.hash_distance, pair.cosine)
                if row not in closest or _distance(found) < _distance(closest[row]):
                    closest[row] = found
        return closest

    def _grouped(self, wanted: Callable[[int], bool], at_least: int) -> tuple[DuplicateGroup, ...]:
        together: dict[int, list[Alike]] = defaultdict(list)
        for row, group in enumerate(self.manifest.row_group.tolist()):
            if group >= 0 and wanted(row):
                together[group].append(self._closest.get(row, Alike(row)))
        groups = [
            DuplicateGroup(n, tuple(photos)) for n, photos in together.items() if len(photos) >= at_least
        ]
        return tuple(sorted(groups, key=lambda group: (-len(group.photos), group.number)))

    def labels(self, group: DuplicateGroup) -> list[str]:
        """Classes that the photos of a group stand under, sorted."""
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

    def to_json(self) -> dict[str, Any]:
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
                {"group": group.number, "kind": group.kind, "photos": self._links(group)}
                for group in self.duplicate_groups
            ],
            **self.statistics,
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
        }

    def write(self, folder: Path, *, n_threads: int = 1) -> Path:
        """Save ``inspection.json``, ``manifest.csv``, ``duplicates.csv`` and ``inspection.html``.

        Args:
            folder: Where they go; made if need be. Files of these names are replaced.
            n_threads: Threads that make thumbnails.

        Raises:
            UserError: If it cannot be written.
        """
        with user_errors(folder):
            text = json.dumps(self.to_json(), indent=1, allow_nan=False)
            with atomic_file(folder / "inspection.json") as draft:
                draft.write_text(text + "\n", encoding="utf-8")
            self.manifest.write_csv(folder / "manifest.csv")
            self._write_duplicates(folder / "duplicates.csv")
        self._write_page(folder / "inspection.html", n_threads)
        return folder

    def _named(self, row: int) -> dict[str, str]:
        return {"path": str(self.manifest.path[row]), "label": str(self.manifest.label[row])}

    def _links(self, group: DuplicateGroup) -> list[dict[str, Any]]:
        return [
            {
                **self._named(photo.row),
                "status": str(self.manifest.status[photo.row]),
                "like": str(self.manifest.path[photo.to]) if photo.to >= 0 else None,
                "kind": photo.kind,
                "hash_distance": photo.hash_distance if photo.to >= 0 else None,
                "cosine": None if math.isnan(photo.cosine) else round(photo.cosine, 4),
            }
            for photo in group.photos
        ]

    def _write_duplicates(self, file: Path) -> None:
        columns = ["group", "path", "label", "status", "like", "kind", "hash_distance", "cosine"]
        with (
            atomic_file(file) as draft,
            draft.open("w", newline="", encoding="utf-8", errors="surrogateescape") as handle,
        ):
            writer = csv.DictWriter(handle, columns)
            writer.writeheader()
            for group in self.duplicate_groups:
                writer.writerows({"group": group.number, **link} for link in self._links(group))

    def _write_page(self, file: Path, n_threads: int) -> None:
        quarantined = set(self.rows(Status.CONFLICT))
        alike = [group for group in self.duplicate_groups if not quarantined.issuperset(group.rows)]
        shown: list[int] = []
        for group in (*self.conflicts, *alike):
            shown += group.rows[: min(_MAX_OF_GROUP, max(MAX_PICTURES - len(shown), 0))]
        rows = sorted(set(shown))
        pictures = thumbnails(
            [self.manifest.file(row) for row in rows],
            side=_SIDE,
            n_threads=n_threads,
            limits=self.config.data.limits,
        )
        write_page(
            file,
            "inspection.html.j2",
            title=f"Photos in {self.manifest.root.name}",
            synthetic=is_synthetic(self.manifest.root),
            found=self,
            max_of_group=_MAX_OF_GROUP,
            manifest=self.manifest,
            counts=counts(self.manifest),
            unreadable=self.rows(Status.UNREADABLE),
            copies=self.rows(Status.DUPLICATE),
            quarantined=quarantined,
            alike=alike,
            pictured={group.number for group in alike if group.rows[0] in shown},
            pictures=dict(zip(rows, pictures, strict=True)),
        )


def inspect_data(
    data: str | Path,
    config: Config,
    *,
    cache_dir: Path | None = None,
    n_threads: int = 1,
    progress: Progress | None = None,
) -> Inspection:
    """Look through photos without training anything.

    Near duplicates are confirmed by the first backbone of the configuration, as `fit` does; what it computes is
    kept in the cache, so a fit that follows does not compute it again.

    Args:
        data: Folder with one sub-folder a class, or a CSV with the columns path and label.
        config: Limits, backbones and thresholds.
        cache_dir: Where fingerprints, features and converted networks are kept between runs.
        n_threads: Threads that decode.
        progress: Told of progress.

    Raises:
        DataError: If there are no photos, or fewer than two classes.
        WeightsError: If the first backbone's weights cannot be had.
    """
    runtime = Runtime(n_threads, cache_dir, Silent() if progress is None else progress)
    stopwatch = Stopwatch()
    with stopwatch("scan"):
        manifest = scan_photos(Path(data), config, runtime)
    with stopwatch("features"):
        extractors = build_extractors(config, confirming(config), cache_dir=cache_dir)
        dataset = extract(manifest, config, extractors, runtime)
    report = find_groups(dataset, config)
    manifest = apply_groups(dataset, report, config).manifest
    row = dataset.readable.tolist()
    pairs = tuple(
        DuplicatePair(row[pair.first], row[pair.second], pair.kind, pair.hash_distance, pair.cosine)
        for pair in report.pairs
    )
    warnings = (*manifest.warnings, *data_warnings(manifest, max(config.folds.n_splits, 2)))
    return Inspection(manifest, pairs, config, warnings, stopwatch.seconds)


def _distance(alike: Alike) -> tuple[bool, float, int]:
    cosine = -alike.cosine if not math.isnan(alike.cosine) else 1.0
    return (alike.kind != "exact", cosine, alike.hash_distance)


def _quantiles(values: NDArray[Any]) -> dict[str, float]:
    return {name: round(float(np.quantile(values, q)), 2) for name, q in _QUANTILES.items()}
