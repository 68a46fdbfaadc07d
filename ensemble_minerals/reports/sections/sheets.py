"""A sheet for each class: its worst and its most typical photos."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from ensemble_minerals.evaluation.class_analysis import ClassSheet
from ensemble_minerals.evaluation.metrics import jsonable
from ensemble_minerals.reports.report_data import ReportData
from ensemble_minerals.reports.sections.base import Row, Section
from ensemble_minerals.reports.tables import photo_cells
from ensemble_minerals.reports.wording import capitalized, count, listed


@dataclass(frozen=True)
class Sheets(Section):
    """The class sheets.

    Attributes:
        sheets: In the order of the classes.
    """

    key: ClassVar[str] = "sheets"
    title: ClassVar[str] = "Class sheets"

    sheets: tuple[ClassSheet, ...]

    @classmethod
    def compute(cls, data: ReportData) -> Self:
        """Take the sheets."""
        return cls(data.sheets)

    @property
    def heading(self) -> str:
        """Which classes hold half of the errors."""
        errors = sum(sheet.errors for sheet in self.sheets)
        if not errors:
            return "No class holds an error; these photos were the closest calls"
        names, held = [], 0
        for sheet in self.worst_first:
            names.append(sheet.name)
            held += sheet.errors
            if 2 * held >= errors:
                break
        share = f"{held:,} of the {count(errors, 'error')}"
        if len(names) > 3:
            return f"Errors are spread: {count(len(names), 'class', 'classes')} hold {share}"
        return f"{capitalized(listed(names))} {'holds' if len(names) == 1 else 'hold'} {share}"

    @property
    def worst_first(self) -> list[ClassSheet]:
        """The sheets as the page shows them: first those with most errors."""
        return sorted(self.sheets, key=lambda sheet: -sheet.errors)

    def as_json(self) -> dict[str, Any]:
        """The sheets."""
        return {"sheets": jsonable(self.sheets)}

    def tables(self) -> dict[str, Iterable[Row]]:
        """The worst photos."""
        return {"hardest_photos": [photo_cells(photo) for sheet in self.sheets for photo in sheet.worst]}

    def shown_paths(self) -> Iterator[str]:
        """The worst and the most typical photos, first those with most errors."""
        for sheet in self.worst_first:
            yield from (photo.path for photo in sheet.worst + sheet.typical)
