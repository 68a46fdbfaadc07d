"""The report of a fitted ensemble: a self-contained page, and the same as JSON, CSV and PNG."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from ensemble_minerals.data.decoding import decode
from ensemble_minerals.errors import ImageError
from ensemble_minerals.evaluation.metrics import jsonable
from ensemble_minerals.reports.drawing import FigureFormat, page_style, save
from ensemble_minerals.reports.heatmaps import as_address, overlay, thumbnail
from ensemble_minerals.reports.page import thumbnails, write_page
from ensemble_minerals.reports.report_data import ReportData, ReportHeader
from ensemble_minerals.reports.sections.base import Section
from ensemble_minerals.reports.sections.registry import SECTIONS
from ensemble_minerals.reports.tables import write_table
from ensemble_minerals.system.atomic import atomic_folder, user_errors
from ensemble_minerals.system.paths import FolderKind, check_output
from ensemble_minerals.system.runtime import Runtime

PAGE, DATA = "report.html", "report.json"
REPORT = FolderKind("report", DATA)

FORMAT = 1
"""Of ``report.json``."""

_PHOTO_CHARACTERS = 8_400_000  # of all data addresses together, so that the page stays below 10 MB
_SIDES = (400, 320, 256, 208, 176, 144, 112, 88)  # px of a thumbnail's longer side: large where there are few
_HEATED = 176  # px of the longer side of a photo with its heat-map
_CHARACTERS_A_PIXEL = 0.45  # of a square of that side, measured on photos of specimens with a margin


@dataclass(frozen=True, eq=False)
class Report:
    """A computed report.

    Attributes:
        header: What was measured on what.
        grouped: Whether the classes have taxonomy groups.
        sections: In the order of the page.
    """

    header: ReportHeader
    grouped: bool
    sections: Sequence[Section]

    @classmethod
    def compute(cls, data: ReportData) -> Report:
        """Compute all sections."""
        return cls(
            data.header,
            not data.answers.taxonomy.is_flat,
            [section.compute(data) for section in SECTIONS],
        )

    def as_json(self) -> dict[str, Any]:
        """The content of ``report.json``.

        Returns:
            JSON values. An interval is a mapping of ``estimate``, ``low``, ``high`` and ``level``; None stands where
            a number is not defined. ``findings`` holds the headings of the sections.
        """
        content: dict[str, Any] = {"format": FORMAT, "header": jsonable(self.header)}
        for section in self.sections:
            content |= section.as_json()
        findings: dict[str, str] = {}
        for section in self.sections:
            findings |= section.findings()
        plain: dict[str, Any] = jsonable(content | {"findings": findings})
        return plain


def save_report(
    report: Report,
    folder: Path,
    *,
    files: Mapping[str, Path],
    heats: Mapping[str, NDArray[np.floating[Any]]] | None = None,
    heat_note: str = "",
    figure_format: FigureFormat | None = None,
    runtime: Runtime | None = None,
) -> tuple[Path, Path]:
    """Write a report; the folder appears whole or not at all, and replaces an earlier report.

    Args:
        report: What to write.
        folder: Where the report goes.
        files: Where the photo of each path is; empty for a page without photos.
        heats: Heat-map of the answer to some of the photos, by path, in [0, 1].
        heat_note: What the heat-maps show, or why there are none.
        figure_format: Format that figures are written in beside PNG.
        runtime: Threads and progress; one thread by default.

    Returns:
        The page and the JSON.

    Raises:
        UserError: If the folder holds something else, or cannot be written.
    """
    check_output(folder, kind=REPORT)
    with user_errors(folder), atomic_folder(folder) as unfinished:
        (unfinished / "tables").mkdir()
        (unfinished / "figures").mkdir()
        text = json.dumps(report.as_json(), indent=1, allow_nan=False)
        (unfinished / DATA).write_text(text + "\n", encoding="ascii")
        tables = write_tables(report.sections, unfinished / "tables")
        figures = draw_figures(report.sections, unfinished / "figures", figure_format)
        shown = [section for section in report.sections if section.shown]
        write_page(
            unfinished / PAGE,
            "report.html.j2",
            title=f"Where {report.header.bundle} fails, and why",
            synthetic=report.header.demonstration,
            header=report.header,
            grouped=report.grouped,
            sections=shown,
            figures={name: Markup(svg) for name, svg in figures.items()},  # drawn by the sections
            tables=tables,
            thumbnails=_thumbnails(shown, files, Runtime() if runtime is None else runtime),
            heated=_heated(files, heats or {}),
            heat_note=heat_note,
        )
    return folder / PAGE, folder / DATA


def write_tables(sections: Sequence[Section], folder: Path) -> list[str]:
    """Write every table that has rows as CSV, and return the names of the files."""
    return [
        f"{name}.csv"
        for section in sections
        for name, rows in section.tables().items()
        if write_table(folder / f"{name}.csv", rows)
    ]


def draw_figures(
    sections: Sequence[Section], folder: Path, also: FigureFormat | None = None
) -> dict[str, str]:
    """Draw every figure as PNG, and in another format if one is given; return the same as SVG elements by name."""
    with page_style():
        return {
            name: save(figure, folder, name, also)
            for section in sections
            for name, figure in section.figures().items()
        }


def _thumbnails(sections: Sequence[Section], files: Mapping[str, Path], runtime: Runtime) -> dict[str, str]:
    """A thumbnail for each path that the page shows, as large as the page can bear."""
    progress = runtime.progress.stage("Drawing the report")
    uses = [path for section in sections for path in section.shown_paths() if path in files]
    side = next(
        (side for side in _SIDES if len(uses) * side**2 * _CHARACTERS_A_PIXEL < _PHOTO_CHARACTERS), _SIDES[-1]
    )
    paths = list(dict.fromkeys(uses))
    addresses: dict[str, str] = {}
    total = 0
    drawn = thumbnails([files[path] for path in paths], side=side, n_threads=runtime.n_jobs)
    for path, address in zip(paths, drawn, strict=True):
        total += len(address) * uses.count(path)
        addresses[path] = address if total < _PHOTO_CHARACTERS else ""
        progress(len(addresses), len(paths))
    return addresses


def _heated(files: Mapping[str, Path], heats: Mapping[str, NDArray[np.floating[Any]]]) -> dict[str, str]:
    """The photos that have a heat-map, with it; those that can no longer be read are left out."""
    addresses = {}
    for path, heat in heats.items():
        try:
            photo = decode(files[path], at_least=_HEATED)
        except ImageError:
            continue
        addresses[path] = as_address(overlay(thumbnail(photo.pixels, _HEATED), heat))
    return addresses
