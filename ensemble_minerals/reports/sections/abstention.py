"""What it brings to leave doubtful photos to a person, and what prediction sets hold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from ensemble_minerals.evaluation.confidence import Abstention, PredictionSets, SetLevel, assess_sets
from ensemble_minerals.evaluation.metrics import jsonable
from ensemble_minerals.reports.drawing import FIRST, PERCENT, SECOND, canvas, end_at_all, forest
from ensemble_minerals.reports.report_data import ReportData
from ensemble_minerals.reports.sections.base import Row, Section
from ensemble_minerals.reports.wording import PERCENT as PER_CENT
from ensemble_minerals.reports.wording import listed, show, whole_percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class AbstentionSection(Section):
    """Abstention and prediction sets.

    Attributes:
        abstention: How many photos can be answered at which share of errors.
        sets: Whether prediction sets hold what they state.
        n: Photos.
    """

    key: ClassVar[str] = "abstention"
    title: ClassVar[str] = "Abstaining and sets"

    abstention: Abstention
    sets: PredictionSets
    n: int

    @classmethod
    def compute(cls, data: ReportData) -> Self:
        """Score prediction sets; the rest is computed already."""
        return cls(data.abstention, assess_sets(data.answers, data.calibration), len(data.answers))

    @property
    def heading(self) -> str:
        """What abstaining costs and brings."""
        coverage = self.abstention.limit(0.02).coverage
        error = show(self.abstention.error, "percent")
        if coverage == 1:
            return f"Answering every photo costs {error} errors; there is little to gain by abstaining"
        if coverage == 0:
            return f"No threshold brings the {error} errors down to 2{PER_CENT}"
        left = show(1 - coverage, "percent")
        return f"Leaving the least sure {left} of the photos to a person brings errors from {error} to 2{PER_CENT}"

    @property
    def sets_heading(self) -> str:
        """How often the largest sets hold the true class."""
        last = self.sets.levels[-1]
        return (
            f"Sets stated to hold the class in {whole_percent(last.level)} of cases hold it in "
            f"{show(last.coverage.estimate, 'percent')}, with {show(last.mean_size, 'two')} classes on average"
        )

    @property
    def worst_first(self) -> list[int]:
        """Positions of the classes: first those whose sets hold the true class least often, then the largest sets."""
        classes = self.sets.levels[-1].by_class
        return sorted(
            range(len(classes)),
            key=lambda k: (
                not classes[k].support,
                classes[k].coverage.estimate,
                -(classes[k].mean_size or 0),
            ),
        )

    @staticmethod
    def too_few(level: SetLevel) -> str:
        """How many photos a class needs for sets of a level to mean something, and which classes have fewer."""
        needs = f"To be ruled out in {whole_percent(level.level)} sets, a class needs {level.groups_needed} objects"
        if not level.never_ruled_out:
            return f"{needs}; every class has as many."
        return f"{needs}, or it stays in every set: as {listed(level.never_ruled_out, 12)} with fewer."

    def findings(self) -> dict[str, str]:
        """Of both parts."""
        return {"abstention": self.heading, "sets": self.sets_heading}

    def as_json(self) -> dict[str, Any]:
        """Both parts."""
        return {"abstention": jsonable(self.abstention), "sets": jsonable(self.sets)}

    def tables(self) -> dict[str, Iterable[Row]]:
        """The risk-coverage curve, and the coverage of the sets by class."""
        curve = self.abstention.curve
        return {
            "risk_coverage": [
                {"coverage": coverage, "risk": risk}
                for coverage, risk in zip(curve.coverage.tolist(), curve.risk.tolist(), strict=True)
            ],
            "prediction_sets": [
                {"level": level.level, **row}
                for level in self.sets.levels
                for row in jsonable(level.by_class)
            ],
        }

    def figures(self) -> dict[str, Figure]:
        """The risk-coverage curve, and the coverage of the sets."""
        return {"risk_coverage": self._draw_risk(), "set_coverage": self._draw_sets()}

    def _draw_risk(self) -> Figure:
        figure, axes = canvas(4.6, 3.3)
        axes.plot(self.abstention.curve.coverage, self.abstention.curve.risk, color=FIRST, linewidth=1.8)
        for limit in self.abstention.limits:
            if limit.coverage > 0:
                axes.plot(
                    [limit.coverage], [limit.error], marker="D", markersize=5, color=SECOND, linestyle="none"
                )
                axes.annotate(
                    f"{limit.error:.0%} errors: answer {show(limit.coverage, 'percent')}".replace(
                        "%", " %", 1
                    ),
                    (limit.coverage, limit.error),
                    xytext=(-7, 4) if limit.coverage > 0.6 else (7, -9),
                    textcoords="offset points",
                    ha="right" if limit.coverage > 0.6 else "left",
                )
        axes.set_xlim(0, 1.01)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("photos answered, the surest first")
        axes.set_ylabel("errors among them")
        axes.xaxis.set_major_formatter(PERCENT)
        axes.yaxis.set_major_formatter(PERCENT)
        return figure

    def _draw_sets(self) -> Figure:
        levels = self.sets.levels
        figure, axes = canvas(4.6, 1.2 + 0.34 * len(levels[0].by_class))
        styles = ((SECOND, "s", "--", -0.16), (FIRST, "o", "-", 0.16))
        for level, (color, marker, line, offset) in zip(levels, styles, strict=True):
            rows = [(level.by_class[k].name, level.by_class[k].coverage) for k in self.worst_first]
            axes.axvline(level.level, color=color, linestyle=line, linewidth=1)
            stated = f"stated {level.level:.0%}".replace("%", " %")
            forest(axes, rows, color=color, marker=marker, label=stated, offset=offset)
        axes.set_xlabel("sets that hold the true class")
        end_at_all(axes)
        axes.xaxis.set_major_formatter(PERCENT)
        figure.legend(loc="outside upper left", ncols=2)
        return figure
