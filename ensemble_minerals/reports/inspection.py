"""The findings of `inspect` as a page, tables and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ensemble_minerals.data.files import is_synthetic
from ensemble_minerals.data.manifest import Manifest, Status
from ensemble_minerals.data.same_object.pairs import SameObjectPair
from ensemble_minerals.data.same_object.wording import GRADE_WORDS, count_grades, describe
from ensemble_minerals.experiment.dataset import counts
from ensemble_minerals.experiment.inspection import PAIR_COLUMNS, DataFindings, ObjectGroup
from ensemble_minerals.reports.matched_points import MatchedPoints, draw, fitted
from ensemble_minerals.reports.page import thumbnails, write_page
from ensemble_minerals.system.atomic import atomic_folder, user_errors
from ensemble_minerals.system.csv_file import write_csv
from ensemble_minerals.system.paths import FolderKind, check_output

MAX_PHOTOS = 1500
"""Photos that are shown on the page, at most; the tables beside it list all."""

_DATA, _PAGE, _MANIFEST, _PAIRS = "inspection.json", "inspection.html", "manifest.csv", "pairs.csv"
_MAX_OF_GROUP = 24
_MAX_DRAWN_OF_GROUP = 12
_MAX_DRAWN = 600  # pairs on the page with their points, 2 kB each
_GROUPS_A_PAGE = 30
_PHOTO_CHARACTERS = 6_000_000  # of all thumbnails together, about
_CHARACTERS_A_PIXEL = 0.45
_SIDES = (240, 200, 160, 128, 96)  # px of a thumbnail's longer side: large where there are few


INSPECTION = FolderKind("inspection", _DATA)


def write_inspection(findings: DataFindings, folder: Path, *, n_threads: int = 1) -> None:
    """Save ``inspection.json``, ``manifest.csv``, ``pairs.csv`` and ``inspection.html``.

    Args:
        findings: What was found.
        folder: Where they go; it appears whole or not at all, and replaces an earlier inspection.
        n_threads: Threads that make thumbnails.

    Raises:
        UserError: If the folder holds something else, or cannot be written.
    """
    check_output(folder, kind=INSPECTION)
    with user_errors(folder), atomic_folder(folder) as draft:
        text = json.dumps(findings.as_json(), indent=1, allow_nan=False)
        (draft / _DATA).write_text(text + "\n", encoding="utf-8")
        findings.manifest.write_csv(draft / _MANIFEST)
        write_csv(draft / _PAIRS, PAIR_COLUMNS, map(findings.told, findings.pairs))
        _write_page(findings, draft / _PAGE, n_threads)


@dataclass(frozen=True)
class _ShownGroup:
    """A group as the page shows it.

    Attributes:
        number: Of the row group.
        labels: Its classes.
        grades: How many pairs of each grade join it; empty if all are copies of one photo.
        rows: Its photos, or the first of them.
        hidden: How many photos are not shown.
        copies: Rows and the rows whose copies they are.
        pairs: Pairs with the points that agree.
        hidden_pairs: How many pairs are not shown.
    """

    number: int
    labels: Sequence[str]
    grades: str
    rows: Sequence[int]
    hidden: int
    copies: dict[int, int]
    pairs: Sequence[_ShownPair]
    hidden_pairs: int


@dataclass(frozen=True)
class _ShownPair:
    first: int
    second: int
    grade: str
    evidence: str
    drawing: MatchedPoints


def _write_page(findings: DataFindings, file: Path, n_threads: int) -> None:
    quarantined = set(findings.rows(Status.CONFLICT))
    groups = [group for group in findings.object_groups if not quarantined.issuperset(group.rows)]
    conflicts = list(_shown(findings, findings.conflicts, MAX_PHOTOS))
    left = MAX_PHOTOS - sum(len(group.rows) for group in conflicts)
    alike = list(_shown(findings, groups, left))
    rows = sorted({row for group in (*conflicts, *alike) for row in group.rows})
    manifest = findings.manifest
    side = next(
        (side for side in _SIDES if len(rows) * side**2 * _CHARACTERS_A_PIXEL < _PHOTO_CHARACTERS), _SIDES[-1]
    )
    write_page(
        file,
        "inspection.html.j2",
        title=f"Photos in {manifest.root.resolve().name}",
        synthetic=is_synthetic(manifest.root),
        findings=findings,
        manifest=manifest,
        counts=counts(manifest),
        unreadable=findings.rows(Status.UNREADABLE),
        copies=findings.rows(Status.DUPLICATE),
        quarantined=quarantined,
        left_out=findings.rows(Status.CONTAMINATED),
        conflicts=[conflicts[i : i + _GROUPS_A_PAGE] for i in range(0, len(conflicts), _GROUPS_A_PAGE)],
        alike=[alike[i : i + _GROUPS_A_PAGE] for i in range(0, len(alike), _GROUPS_A_PAGE)],
        hidden_groups=len(findings.conflicts) + len(groups) - len(conflicts) - len(alike),
        missing=set[int](),  # filled as the page is written
        sizes={row: _size(manifest, row) for row in rows},
        photos=zip(
            rows,
            thumbnails(
                [manifest.file(row) for row in rows],
                side=side,
                n_threads=n_threads,
                limits=findings.config.data.limits,
            ),
            strict=True,
        ),
    )


def _shown(findings: DataFindings, groups: Sequence[ObjectGroup], most: int) -> Iterator[_ShownGroup]:
    """Groups as long as no more than `most` photos are shown."""
    drawn = 0
    for group in groups:
        rows = group.rows[:_MAX_OF_GROUP]
        most -= len(rows)
        if most < 0:
            return
        within = [pair for pair in group.pairs if pair.first in rows and pair.second in rows]
        with_points = [pair for pair in within if pair.evidence is not None][
            : min(_MAX_DRAWN_OF_GROUP, _MAX_DRAWN - drawn)
        ]
        drawn += len(with_points)
        copies = {pair.second: pair.first for pair in within if pair.grade == "copy"}
        yield _ShownGroup(
            group.number,
            findings.labels(group),
            "" if group.is_copies else count_grades(pair.grade for pair in group.pairs),
            rows,
            len(group.rows) - len(rows),
            copies,
            [_drawn(findings.manifest, pair) for pair in with_points],
            len(group.pairs) - len(with_points) - len(copies),
        )


def _drawn(manifest: Manifest, pair: SameObjectPair) -> _ShownPair:
    assert pair.evidence is not None
    sizes = (_size(manifest, pair.first), _size(manifest, pair.second))
    return _ShownPair(
        pair.first,
        pair.second,
        GRADE_WORDS[pair.grade],
        describe(pair.evidence),
        draw(*sizes, pair.evidence.points),
    )


def _size(manifest: Manifest, row: int) -> tuple[float, float]:
    return fitted(int(manifest.width[row]), int(manifest.height[row]))
