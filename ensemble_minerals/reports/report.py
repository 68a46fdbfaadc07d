"""Draws an error analysis: a page that stands alone, and the same as JSON, CSV and PNG. Computes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from ensemble_minerals.data.decoding import decode
from ensemble_minerals.errors import ImageError
from ensemble_minerals.evaluation.answers import Answers
from ensemble_minerals.reports import plots
from ensemble_minerals.reports.heatmaps import as_address, overlay, shrink
from ensemble_minerals.reports.page import thumbnails, write_page
from ensemble_minerals.reports.tables import write_tables
from ensemble_minerals.reports.wording import SCORES, show, span
from ensemble_minerals.system.atomic import atomic_folder, user_errors
from ensemble_minerals.system.paths import FolderKind, check_output

PAGE, DATA = "report.html", "report.json"
REPORT = FolderKind("report", DATA)

SUSPECTS, CLUSTERS, OF_A_CLUSTER = 18, 12, 6
"""Suspected labels, clusters of files, and files of a cluster that the page shows; the CSV files hold all."""

_PICTURE_CHARACTERS = 4_200_000  # of all data addresses together, so that the page stays below 6 MB
_SIDES = (208, 176, 144, 112, 88)  # px of a thumbnail's longer side: large where there are few
_HEATED = 176  # px of the longer side of a photo with its heat-map
_CHARACTERS_A_PIXEL = 0.45  # of a square of that side, measured on photos of specimens with a margin

TITLES = {
    "overview": "What was measured",
    "scores": "Scores",
    "classes": "By class",
    "confusion": "Confusion matrix",
    "pairs": "Confused pairs",
    "sheets": "Class sheets",
    "reliability": "Reliability",
    "abstention": "Abstaining and sets",
    "data": "Data to look at",
    "slices": "Slices",
    "members": "Members",
    "learning_curve": "Learning curve",
    "training": "Training",
}
"""Sections of the page, in order."""


def draw_report(
    analysis: Mapping[str, Any],
    answers: Answers,
    folder: Path,
    *,
    files: Mapping[str, Path],
    heats: Mapping[str, NDArray[np.floating[Any]]] | None = None,
    heat_note: str = "",
    n_threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Path, Path]:
    """Write a report; the folder appears whole or not at all, and replaces an earlier report.

    Args:
        analysis: Of `error_analysis.analyze`.
        answers: The rows it was made of.
        folder: Where the report goes.
        files: Where the photo of each path is; empty for a page without pictures.
        heats: Heat-map of the answer to some of the photos, by path, in [0, 1].
        heat_note: What the heat-maps show, or why there are none.
        n_threads: Threads that decode.
        progress: Called with (pictures done, of all).

    Returns:
        The page and the JSON.

    Raises:
        UserError: If the folder holds something else, or cannot be written.
    """
    check_output(folder, kind=REPORT)
    with user_errors(folder), atomic_folder(folder) as unfinished:
        (unfinished / "tables").mkdir()
        (unfinished / "figures").mkdir()
        text = json.dumps(analysis, indent=1, allow_nan=False)
        (unfinished / DATA).write_text(text + "\n", encoding="ascii")
        tables = write_tables(analysis, answers, unfinished / "tables")
        figures = plots.draw(analysis, unfinished / "figures")
        write_page(
            unfinished / PAGE,
            "report.html.j2",
            title=f"Where {analysis['header']['bundle']} fails, and why",
            synthetic=analysis["header"]["demonstration"],
            report=analysis,
            titles={key: title for key, title in TITLES.items() if key != "training" or analysis["training"]},
            figures={name: Markup(svg) for name, svg in figures.items()},  # drawn by plots
            tables=tables,
            pictures=_pictures(analysis, files, n_threads, progress),
            heated=_heated(files, heats or {}),
            heat_note=heat_note,
            shown={"suspects": SUSPECTS, "clusters": CLUSTERS, "of_a_cluster": OF_A_CLUSTER},
            score_words=SCORES,
            show=show,
            span=span,
        )
    return folder / PAGE, folder / DATA


def worst_photos(analysis: Mapping[str, Any], most: int) -> dict[str, str]:
    """The worst of the wrongly answered photos that the page shows, with the answer to each.

    Args:
        analysis: Of `error_analysis.analyze`.
        most: How many at most; the classes take turns.
    """
    sheets = [[photo for photo in sheet["worst"] if not photo["right"]] for sheet in analysis["sheets"]]
    turns = (photo for turn in zip_longest(*sheets) for photo in turn if photo is not None)
    return {photo["path"]: photo["answer"] for photo in islice(turns, most)}


def _pictures(
    analysis: Mapping[str, Any],
    files: Mapping[str, Path],
    n_threads: int,
    progress: Callable[[int, int], None] | None,
) -> dict[str, str]:
    """A thumbnail for each path that the page shows, as large as the page can bear."""
    uses = [path for path in _shown_paths(analysis) if path in files]
    side = next(
        (one for one in _SIDES if len(uses) * one**2 * _CHARACTERS_A_PIXEL < _PICTURE_CHARACTERS), _SIDES[-1]
    )
    paths = list(dict.fromkeys(uses))
    pictures: dict[str, str] = {}
    total = 0
    drawn = thumbnails([files[path] for path in paths], side=side, n_threads=n_threads)
    for path, picture in zip(paths, drawn, strict=True):
        total += len(picture) * uses.count(path)
        pictures[path] = picture if total < _PICTURE_CHARACTERS else ""
        if progress is not None:
            progress(len(pictures), len(paths))
    return pictures


def _heated(files: Mapping[str, Path], heats: Mapping[str, NDArray[np.floating[Any]]]) -> dict[str, str]:
    """The photos that have a heat-map, with it; those that can no longer be read are left out."""
    addresses = {}
    for path, heat in heats.items():
        try:
            photo = decode(files[path], at_least=_HEATED)
        except ImageError:
            continue
        addresses[path] = as_address(overlay(shrink(photo.pixels, _HEATED), heat))
    return addresses


def _shown_paths(analysis: Mapping[str, Any]) -> Iterator[str]:
    """Paths of the photos in the order in which the page shows them, one as often as it does."""
    for pair in analysis["pairs"]:
        yield from (photo["path"] for photo in pair["mistaken"] + pair["like"])
    for sheet in analysis["sheets"]:
        yield from (photo["path"] for photo in sheet["worst"] + sheet["typical"])
    yield from (photo["path"] for photo in analysis["labels"]["suspects"][:SUSPECTS])
    for kind in ("conflicts", "duplicates"):
        for cluster in analysis["files"][kind][:CLUSTERS]:
            yield from (file["path"] for file in cluster["files"][:OF_A_CLUSTER])
