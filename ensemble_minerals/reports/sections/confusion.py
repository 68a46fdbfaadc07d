"""Which class is answered for which."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from ensemble_minerals.evaluation.metrics import jsonable
from ensemble_minerals.evaluation.mistakes import ConfusionMatrix, confusion_matrix
from ensemble_minerals.reports.drawing import matrix
from ensemble_minerals.reports.report_data import ReportData
from ensemble_minerals.reports.sections.base import Row, Section
from ensemble_minerals.reports.tables import matrix_rows
from ensemble_minerals.reports.wording import count

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Confusion(Section):
    """The confusion matrix.

    Attributes:
        matrix: In counts and percentages, as classes and as groups.
    """

    key: ClassVar[str] = "confusion"
    title: ClassVar[str] = "Confusion matrix"

    matrix: ConfusionMatrix

    @classmethod
    def compute(cls, data: ReportData) -> Self:
        """Count labels against answers."""
        return cls(confusion_matrix(data.answers))

    @property
    def heading(self) -> str:
        """How many answers are wrong, and how many of them by a group."""
        errors = self.matrix.errors
        if not errors:
            return "No answer is wrong"
        text = f"{errors:,} of {count(self.matrix.n, 'answer')} {'is' if errors == 1 else 'are'} wrong"
        if self.matrix.groups is None:
            return text
        return (
            f"{text}: {self.matrix.within:,} stay within a group of the taxonomy, "
            f"{self.matrix.across:,} leave it"
        )

    def as_json(self) -> dict[str, Any]:
        """The matrix."""
        return {"confusion": jsonable(self.matrix)}

    def tables(self) -> dict[str, Iterable[Row]]:
        """Counts, and percentages of the rows."""
        return {
            "confusion_counts": matrix_rows(self.matrix.classes, self.matrix.counts),
            "confusion_percentages": matrix_rows(self.matrix.classes, self.matrix.percentages),
        }

    def figures(self) -> dict[str, Figure]:
        """The matrix in percentages."""
        return {
            "confusion": matrix(
                self.matrix.percentages,
                self.matrix.classes,
                "answer",
                "given label",
                top=100.0,
                form="{:.0f}",
            )
        }
