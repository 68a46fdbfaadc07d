"""How well each class is recognized."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from ensemble_minerals.evaluation.class_analysis import ClassScores, ClassTable, class_table
from ensemble_minerals.evaluation.metrics import jsonable
from ensemble_minerals.reports.drawing import POINTS, SOFT, canvas, end_at_all, forest
from ensemble_minerals.reports.report_data import ReportData
from ensemble_minerals.reports.sections.base import Row, Section
from ensemble_minerals.reports.wording import capitalized, show

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Classes(Section):
    """The scores of each class.

    Attributes:
        table: One row a class.
    """

    key: ClassVar[str] = "classes"
    title: ClassVar[str] = "By class"

    table: ClassTable

    @classmethod
    def compute(cls, data: ReportData) -> Self:
        """Score each class."""
        return cls(class_table(data.answers, data.bootstrap))

    @property
    def heading(self) -> str:
        """Which class is recognized worst, and which best."""
        present = [row for row in self.table.classes if row.support]
        if all(row.f1.estimate == 1 for row in present):
            return "Every class is recognized without an error"
        worst = min(present, key=lambda row: row.f1.estimate)
        best = max(present, key=lambda row: row.f1.estimate)
        return (
            f"{capitalized(worst.name)} is recognized worst (F1 {show(worst.f1.estimate, 'two')}), "
            f"{best.name} best ({show(best.f1.estimate, 'two')})"
        )

    @property
    def worst_first(self) -> list[ClassScores]:
        """The rows as the page shows them: the lowest F1 first, classes without photos last."""
        return sorted(self.table.classes, key=lambda row: (not row.f1.is_defined, row.f1.estimate))

    def as_json(self) -> dict[str, Any]:
        """The table."""
        return {"classes": jsonable(self.table)}

    def tables(self) -> dict[str, Iterable[Row]]:
        """The table."""
        return {"classes": jsonable(self.table)["classes"]}

    def figures(self) -> dict[str, Figure]:
        """F1 of each class, and what the ensemble gains in it."""
        return {"f1": self._draw_f1(), "f1_gain": self._draw_gain()}

    def _draw_f1(self) -> Figure:
        figure, axes = canvas(4.6, 0.9 + 0.27 * len(self.table.classes))
        forest(axes, [(row.name, row.f1) for row in self.worst_first])
        axes.set_xlabel("F1")
        end_at_all(axes)
        return figure

    def _draw_gain(self) -> Figure:
        figure, axes = canvas(4.6, 0.9 + 0.27 * len(self.table.classes))
        axes.axvline(0, color=SOFT, linewidth=1)
        forest(axes, [(row.name, row.f1_gain) for row in self.worst_first], scale=100)
        axes.set_xlabel("points of F1 gained over the best single member")
        axes.xaxis.set_major_formatter(POINTS)
        return figure
