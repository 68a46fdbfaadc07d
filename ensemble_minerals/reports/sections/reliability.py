"""Whether the stated probabilities come true."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

from ensemble_minerals.evaluation.confidence import (
    Reliability,
    ReliabilityBin,
    ReliabilityCurve,
    assess_reliability,
)
from ensemble_minerals.evaluation.intervals import Interval
from ensemble_minerals.evaluation.metrics import jsonable
from ensemble_minerals.reports.drawing import FAINT, FIRST, PERCENT, SECOND, SOFT, short
from ensemble_minerals.reports.report_data import ReportData
from ensemble_minerals.reports.sections.base import Row, Section
from ensemble_minerals.reports.wording import show

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FIFTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
_SMALL_ERROR = 0.005  # a calibration error that may be as small as this is not spoken of


@dataclass(frozen=True)
class ReliabilitySection(Section):
    """Stated against observed frequencies.

    Attributes:
        reliability: Of all answers, and of each class.
        ece: Calibration error beyond chance.
    """

    key: ClassVar[str] = "reliability"
    title: ClassVar[str] = "Reliability"

    most_drawn: ClassVar[int] = 12
    """Classes that get a diagram; the CSV file has the bins of all."""

    reliability: Reliability
    ece: Interval

    @classmethod
    def compute(cls, data: ReportData) -> Self:
        """Compare stated with observed frequencies."""
        return cls(assess_reliability(data.answers, data.temperature), data.scores["ece"].interval)

    @property
    def heading(self) -> str:
        """Whether the probabilities are too high or too low."""
        confidence, accuracy = self.reliability.confidence, self.reliability.accuracy
        means = f"{show(confidence, 'percent')} sure on average, {show(accuracy, 'percent')} right"
        if not self.ece.has_ends or self.ece.low < _SMALL_ERROR:
            return f"Probabilities can be taken at their word: {means}"
        return f"Probabilities are {'too sure' if confidence > accuracy else 'too careful'}: {means}"

    def as_json(self) -> dict[str, Any]:
        """The curves."""
        reliability = self.reliability
        return {
            "reliability": {
                "temperature": reliability.temperature,
                "confidence": reliability.confidence,
                "accuracy": reliability.accuracy,
                "after": _json(reliability.after),
                "before": None if reliability.before is None else _json(reliability.before),
                "by_class": [{"name": name, **_json(curve)} for name, curve in reliability.by_class.items()],
            }
        }

    def tables(self) -> dict[str, Iterable[Row]]:
        """The bins of all curves."""
        return {"reliability": self._rows()}

    def _rows(self) -> Iterator[dict[str, Any]]:
        curves = {"answer": self.reliability.after}
        if self.reliability.before is not None:
            curves["answer before the temperature"] = self.reliability.before
        curves |= {f"class {name}": curve for name, curve in self.reliability.by_class.items()}
        for name, curve in curves.items():
            for cells in _json(curve)["bins"]:
                yield {"probability_of": name, **cells}

    def figures(self) -> dict[str, Figure]:
        """A diagram of all answers, and one of each class in `drawn`, by number."""
        figures = {"reliability": self._draw()}
        for number, name, curve in self.drawn:
            figures[f"reliability_{number}"] = _draw_class(name, curve.bins)
        return figures

    @cached_property
    def drawn(self) -> list[tuple[int, str, ReliabilityCurve]]:
        """Number, name and curve of the classes that are drawn: the worst calibrated where there are many."""
        curves = [(number, *item) for number, item in enumerate(self.reliability.by_class.items())]
        worst = sorted(curves, key=lambda one: -one[2].error)[: self.most_drawn]
        return sorted(worst, key=lambda one: one[0])

    def _draw(self) -> Figure:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(4.6, 4.9), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        _draw_diagonal(upper)
        if self.reliability.before is not None:
            bins = self.reliability.before.bins
            upper.plot(
                [one.stated for one in bins],
                [one.observed.estimate for one in bins],
                marker="s",
                markerfacecolor="none",
                linestyle="--",
                linewidth=1,
                markersize=5,
                color=SECOND,
                label="before the temperature",
            )
        _draw_bins(upper, self.reliability.after.bins, "-", "after the temperature")
        upper.set_ylabel("right")
        upper.legend(loc="lower right")
        _draw_counts(lower, self.reliability.after.bins)
        lower.set_xlabel("probability of the answer")
        return figure


def _json(curve: ReliabilityCurve) -> dict[str, Any]:
    return {
        "error": curve.error,
        "bins": [
            {
                "from": one.start,
                "to": one.end,
                "count": one.count,
                "stated": one.stated,
                "observed": jsonable(one.observed),
            }
            for one in curve.bins
        ],
    }


def _draw_class(name: str, bins: Sequence[ReliabilityBin]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.4, 3.3))
    figure.subplots_adjust(left=0.22, right=0.95, bottom=0.15, top=0.97, hspace=0.12)  # quicker than a layout
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[2.6, 1])
    _draw_diagonal(upper)
    _draw_bins(upper, bins, "none")
    upper.set_ylabel("frequency")
    _draw_counts(lower, bins)
    lower.set_xlabel(f"probability of {short(name)}")
    return figure


def _draw_diagonal(axes: Axes) -> None:
    axes.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle=":")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.03, 1.03)
    axes.set_xticks(_FIFTHS)
    axes.set_yticks(_FIFTHS)
    axes.yaxis.set_major_formatter(PERCENT)


def _draw_bins(axes: Axes, bins: Sequence[ReliabilityBin], line: str, label: str | None = None) -> None:
    """Stated against observed frequencies, with intervals."""
    stated = [one.stated for one in bins]
    axes.vlines(
        stated,
        [one.observed.low for one in bins],
        [one.observed.high for one in bins],
        colors=FIRST,
        linewidth=1.2,
    )
    axes.plot(
        stated,
        [one.observed.estimate for one in bins],
        marker="o",
        markersize=5,
        linestyle=line,
        linewidth=1,
        color=FIRST,
        label=label,
    )


def _draw_counts(axes: Axes, bins: Sequence[ReliabilityBin]) -> None:
    """The number of photos in each bin."""
    count = [one.count for one in bins]
    middle = [(one.start + one.end) / 2 for one in bins]
    width = [0.88 * (one.end - one.start) for one in bins]
    axes.bar(middle, count, width=width, color=FAINT, edgecolor=FIRST, linewidth=0.6)
    for x, height in zip(middle, count, strict=True):
        axes.text(x, height + 0.04 * max(count), f"{height}", ha="center")
    axes.set_ylim(0, 1.28 * max(count))
    axes.set_ylabel("photos")
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.xaxis.set_major_formatter(PERCENT)
