"""The findings of `inspect` as a page, tables and JSON."""

from __future__ import annotations

import json
from pathlib import Path

from ensemble_minerals.data.files import is_synthetic
from ensemble_minerals.data.manifest import Status
from ensemble_minerals.errors import UserError
from ensemble_minerals.experiment.dataset import counts
from ensemble_minerals.experiment.inspection import MEASURES, DataFindings
from ensemble_minerals.reports.page import thumbnails, write_page
from ensemble_minerals.system.atomic import atomic_file, user_errors
from ensemble_minerals.system.csv_file import write_csv
from ensemble_minerals.system.paths import check_output

MAX_PHOTOS = 1500
"""Photos that are shown on the page, at most; the tables beside it list all."""

_DATA, _PAGE, _MANIFEST, _DUPLICATES = "inspection.json", "inspection.html", "manifest.csv", "duplicates.csv"
_MAX_OF_GROUP = 24
_SIDE = 200


def check_inspection_folder(folder: Path, *, outside: Path) -> None:
    """Make sure that an inspection may be saved in a folder, and replaces no file but those of another inspection.

    Args:
        folder: What the user named with ``--out``.
        outside: The photos, see `check_output`.

    Raises:
        UserError: If nothing can be saved there, or it holds a file of something else, such as a bundle's
            ``manifest.csv``.
    """
    check_output(folder, outside=[outside])
    check_output(folder / _PAGE)
    others = [name for name in (_MANIFEST, _DUPLICATES, _PAGE) if (folder / name).exists()]
    if others and not (folder / _DATA).exists():
        raise UserError(
            f"--out {folder}: {others[0]} in it is of no inspection and would be replaced; choose another folder"
        )


def write_inspection(findings: DataFindings, folder: Path, *, n_threads: int = 1) -> None:
    """Save ``inspection.json``, ``manifest.csv``, ``duplicates.csv`` and ``inspection.html``.

    Args:
        findings: What was found.
        folder: Where they go; made if need be. Files of these names are replaced.
        n_threads: Threads that make thumbnails.

    Raises:
        UserError: If the folder cannot be written.
    """
    with user_errors(folder):
        text = json.dumps(findings.as_json(), indent=1, allow_nan=False)
        with atomic_file(folder / _DATA) as draft:
            draft.write_text(text + "\n", encoding="utf-8")
        findings.manifest.write_csv(folder / _MANIFEST)
        _write_duplicates(findings, folder / _DUPLICATES)
    _write_page(findings, folder / _PAGE, n_threads)


def _write_duplicates(findings: DataFindings, file: Path) -> None:
    columns = ["group", "path", "label", "status", "like", "grade", *MEASURES]
    links = (
        {"group": group.number, **link}
        for group in findings.duplicate_groups
        for link in findings.links(group)
    )
    with atomic_file(file) as draft:
        write_csv(draft, columns, links)


def _write_page(findings: DataFindings, file: Path, n_threads: int) -> None:
    quarantined = set(findings.rows(Status.CONFLICT))
    groups = [group for group in findings.duplicate_groups if not quarantined.issuperset(group.rows)]
    shown: list[int] = []
    for group in (*findings.conflicts, *groups):
        shown += group.rows[: min(_MAX_OF_GROUP, max(MAX_PHOTOS - len(shown), 0))]
    rows = sorted(set(shown))
    images = thumbnails(
        [findings.manifest.file(row) for row in rows],
        side=_SIDE,
        n_threads=n_threads,
        limits=findings.config.data.limits,
    )
    write_page(
        file,
        "inspection.html.j2",
        title=f"Photos in {findings.manifest.root.name}",
        synthetic=is_synthetic(findings.manifest.root),
        findings=findings,
        max_of_group=_MAX_OF_GROUP,
        manifest=findings.manifest,
        counts=counts(findings.manifest),
        unreadable=findings.rows(Status.UNREADABLE),
        copies=findings.rows(Status.DUPLICATE),
        quarantined=quarantined,
        alike=groups,
        shown_groups={group.number for group in groups if group.rows[0] in shown},
        thumbnails=dict(zip(rows, images, strict=True)),
    )
