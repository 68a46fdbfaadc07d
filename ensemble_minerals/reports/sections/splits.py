"""How much the figures depend on how they are measured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from ensemble_minerals.evaluation.metrics import jsonable
from ensemble_minerals.evaluation.splits import SplitFigures
from ensemble_minerals.reports.report_data import ReportData
from ensemble_minerals.reports.sections.base import Row, Section
from ensemble_minerals.reports.wording import listed, show

_NAMES = {
    "random": "in a random split",
    "objects_together": "with objects kept together",
    "test": "on the test part",
    "another_source": "on photos of another source",
}


@dataclass(frozen=True)
class Splits(Section):
    """The same ensemble, measured in several ways.

    Attributes:
        measured: What each way gives.
    """

    key: ClassVar[str] = "splits"
    title: ClassVar[str] = "How it is measured"

    measured: SplitFigures

    @classmethod
    def compute(cls, data: ReportData) -> Self:
        """Take the figures."""
        return cls(data.splits)

    @property
    def heading(self) -> str:
        """The figures that there are."""
        known = [
            f"{show(figure.accuracy.estimate, 'percent')} {_NAMES[figure.kind]}"
            for figure in self.measured.figures
            if figure.accuracy.is_defined and figure.kind in _NAMES
        ]
        return f"Answered right: {listed(known)}"

    def as_json(self) -> dict[str, Any]:
        """The figures."""
        return {"splits": jsonable(self.measured)}

    def tables(self) -> dict[str, Iterable[Row]]:
        """A row for each way."""
        return {
            "splits": [
                {"kind": figure.kind, "n": figure.n, **jsonable(figure.accuracy), "reason": figure.reason}
                for figure in self.measured.figures
            ]
        }
