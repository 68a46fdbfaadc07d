"""How the answers fare on dark, pale, blurred, small, oblong or busy photos."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from ensemble_minerals.evaluation.metrics import jsonable
from ensemble_minerals.evaluation.slices import SliceScore, slice_table, slicings
from ensemble_minerals.reports.drawing import INK, PERCENT, SOFT, canvas, end_at_all, forest, short
from ensemble_minerals.reports.report_data import ReportData
from ensemble_minerals.reports.sections.base import Row, Section
from ensemble_minerals.reports.wording import show

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Slices(Section):
    """Accuracy slice by slice.

    Attributes:
        unmeasured: Why the photos could not be measured; None where they were.
        accuracy: Of all photos.
        rows: The weakest slice first; slices with few photos last.
    """

    key: ClassVar[str] = "slices"
    title: ClassVar[str] = "Slices"

    unmeasured: str | None
    accuracy: float
    rows: tuple[SliceScore, ...]

    @classmethod
    def compute(cls, data: ReportData) -> Self:
        """Score the slices."""
        answers = data.answers
        return cls(
            unmeasured=data.measures.unmeasured,
            accuracy=float(answers.right.mean()),
            rows=slice_table(answers.right, answers.y, answers.confusion, slicings(data.measures.values)),
        )

    @property
    def heading(self) -> str:
        """Which slice is clearly weaker than its classes explain."""
        large = [row for row in self.rows if not row.small]
        if not large:
            return "There are too few photos to compare slices"
        weaker = [row for row in large if row.accuracy.high < row.expected]
        if not weaker:
            return "No slice is clearly weaker than its mix of classes explains"
        worst = weaker[0]
        span = f" ({worst.span})" if worst.span else ""
        return (
            f"Weaker than its mix of classes explains: {worst.measure}, {worst.name}{span}, with "
            f"{show(worst.accuracy.estimate, 'percent')} right"
        )

    def as_json(self) -> dict[str, Any]:
        """The table, and what it is compared with."""
        return {"slices": jsonable(self)}

    def tables(self) -> dict[str, Iterable[Row]]:
        """The table."""
        return {"slices": jsonable(self.rows)}

    def figures(self) -> dict[str, Figure]:
        """Accuracy slice by slice, where there are slices."""
        return {"slices": self._draw()} if self.rows else {}

    def _draw(self) -> Figure:
        figure, axes = canvas(6.4, 0.9 + 0.24 * len(self.rows))
        axes.axvline(self.accuracy, color=SOFT, linewidth=1, linestyle=":")
        names = [f"{row.measure}: {row.name} {row.span}, {row.n} photos" for row in self.rows]
        forest(axes, [(short(name, 60), row.accuracy) for name, row in zip(names, self.rows, strict=True)])
        for label, row in zip(axes.get_yticklabels(), self.rows, strict=True):
            label.set_color(SOFT if row.small else INK)
        axes.set_xlabel("answered right (dotted: all photos)")
        end_at_all(axes)
        axes.xaxis.set_major_formatter(PERCENT)
        return figure
