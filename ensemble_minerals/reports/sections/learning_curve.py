"""Whether more photos would help."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from ensemble_minerals.evaluation.learning_curve import LearningCurve
from ensemble_minerals.evaluation.metrics import jsonable
from ensemble_minerals.reports.drawing import FIRST, PERCENT, canvas
from ensemble_minerals.reports.report_data import ReportData
from ensemble_minerals.reports.sections.base import Row, Section
from ensemble_minerals.reports.wording import show, span, whole_percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class LearningCurveSection(Section):
    """The learning curve.

    Attributes:
        curve: None where the fit made none.
    """

    key: ClassVar[str] = "learning_curve"
    title: ClassVar[str] = "Learning curve"

    curve: LearningCurve | None

    @classmethod
    def compute(cls, data: ReportData) -> Self:
        """Take the curve of the fit."""
        return cls(data.learning_curve)

    @property
    def heading(self) -> str:
        """Whether the last photos helped."""
        if self.curve is None or self.curve.last_step is None:
            return "Whether more photos would help was not measured"
        step = self.curve.last_step
        share = whole_percent(1 - self.curve.points[-2].share)
        text = (
            f"the last {share} of them added {show(step.estimate, 'points')} points ({span(step, 'points')})"
        )
        return f"More photos {'would' if step.low > 0 else 'may or may not'} help: {text}"

    def as_json(self) -> dict[str, Any]:
        """The curve, as the fit kept it."""
        return {"learning_curve": jsonable(self.curve)}

    def tables(self) -> dict[str, Iterable[Row]]:
        """The points."""
        return {"learning_curve": [] if self.curve is None else jsonable(self.curve.points)}

    def figures(self) -> dict[str, Figure]:
        """The curve, where there is one."""
        return {} if self.curve is None else {"learning_curve": _draw(self.curve)}


def _draw(curve: LearningCurve) -> Figure:
    figure, axes = canvas(4.6, 3.1)
    for point in curve.points:
        if point.accuracy.has_ends:
            axes.plot([point.rows] * 2, [point.accuracy.low, point.accuracy.high], color=FIRST, linewidth=1.4)
    axes.plot(
        [point.rows for point in curve.points],
        [point.accuracy.estimate for point in curve.points],
        marker="o",
        color=FIRST,
    )
    axes.set_xlim(left=0)
    axes.set_ylim(top=min(axes.get_ylim()[1], 1.004))
    axes.set_xlabel("photos trained on")
    axes.set_ylabel("answered right")
    axes.yaxis.set_major_formatter(PERCENT)
    return figure
