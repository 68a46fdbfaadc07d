"""The figures of an ablation: differences with their intervals, and accuracy against cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from ensemble_minerals.ablation.arms import FULL, HINDSIGHT, Arm
from ensemble_minerals.ablation.comparison import ArmResult, Comparison
from ensemble_minerals.reports.drawing import (
    FIRST,
    PERCENT,
    POINTS,
    SECOND,
    SOFT,
    FigureFormat,
    canvas,
    forest,
    page_style,
    save,
    short,
)

LONGEST = 30
"""Characters of an arm's title in a figure."""

STYLES: Mapping[str, tuple[str, str, bool, str]] = {
    "full": ("full ensemble", "o", True, FIRST),
    "combination": ("other combination of all members", "^", False, FIRST),
    "addition": ("with something more", "P", False, FIRST),
    "ingredient": ("without an ingredient", "v", False, FIRST),
    "source": ("without a source", "D", False, FIRST),
    "single": ("one member", "s", False, SECOND),
    "choice": ("best single", "s", True, SECOND),
    "control": ("best single, trained as often", "h", False, SECOND),
}
"""For each kind of arm its words, marker, whether it is filled, and color."""

Arms = Sequence[ArmResult]

_THOUSANDTHS = FuncFormatter(
    lambda value, _: f"{value:+.2f}".replace("-", "\N{MINUS SIGN}") if abs(value) > 1e-9 else "0"
)


class _Costly(NamedTuple):
    """An arm whose cost is known: milliseconds of an answer, and accuracy."""

    arm: Arm
    predict_ms: float
    accuracy: float


def draw(comparison: Comparison, folder: Path, also: FigureFormat | None = None) -> dict[str, str]:
    """Draw the figures of a comparison.

    Args:
        comparison: Of `compare_arms`.
        folder: Where the PNG files go; it exists.
        also: Format that figures are written in beside PNG.

    Returns:
        SVG elements by name: ``forest_accuracy``, ``forest_log_loss`` and, where costs are known, ``cost``.
    """
    models = [result for result in comparison.arms if result.arm.kind != "protocol"]
    compared = [result for result in models if result.arm.name != FULL]
    costly = [
        _Costly(result.arm, result.cost.predict_ms, result.scores["accuracy"])
        for result in models
        if result.arm.name != HINDSIGHT and result.cost.predict_ms is not None
    ]
    with page_style():
        figures: dict[str, Figure] = {}
        if compared:
            figures["forest_accuracy"] = _draw_differences(compared, "accuracy")
            figures["forest_log_loss"] = _draw_differences(compared, "log_loss")
        if len(costly) > 1:
            figures["cost"] = _draw_cost(costly)
        return {name: save(figure, folder, name, also) for name, figure in figures.items()}


def _draw_differences(arms: Arms, score: str) -> Figure:
    """Full minus arm, one row an arm; filled where significant, kinds set apart."""
    kinds = [list(group) for _, group in groupby(arms, key=lambda result: result.arm.kind)]
    rows = len(arms) + 0.6 * (len(kinds) - 1)
    figure, axes = canvas(4.7, 1.15 + 0.215 * rows)
    axes.axvline(0, color=SOFT, linewidth=1)
    ticks: list[float] = []
    height = 0.0
    for kind in kinds:
        for result in kind:
            significant = result.against.is_significant(score)
            forest(
                axes,
                [(result.arm.title, result.against.difference[score])],
                scale=100 if score == "accuracy" else 1,
                color=FIRST if significant else SOFT,
                marker="o" if significant else "s",
                offset=height,
            )
            ticks.append(height)
            height += 1
        height += 0.6
    axes.set_yticks(ticks, [short(result.arm.title, LONGEST) for result in arms])
    axes.set_ylim(height - 0.9, -0.7)
    better, worse = ("left", "right") if score == "log_loss" else ("right", "left")
    ends = {better: "full ensemble better", worse: "worse"}
    arrows = (f"\N{LEFTWARDS ARROW} {ends['left']}", f"{ends['right']} \N{RIGHTWARDS ARROW}")
    for x, align, text in ((0.0, "left", arrows[0]), (1.0, "right", arrows[1])):
        axes.text(x, 1.01, text, transform=axes.transAxes, ha=align, va="bottom", color=SOFT)
    axes.set_xlabel(
        "points of accuracy, full minus arm" if score == "accuracy" else "log-loss (nats), full minus arm"
    )
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(POINTS if score == "accuracy" else _THOUSANDTHS)
    return figure


def _draw_cost(arms: Sequence[_Costly]) -> Figure:
    figure, axes = canvas(5.0, 4.5)
    for kind, (words, marker, filled, color) in STYLES.items():
        shown = [one for one in arms if one.arm.kind == kind]
        if shown:
            axes.plot(
                [one.predict_ms for one in shown],
                [one.accuracy for one in shown],
                marker=marker,
                markersize={"full": 7.0, "control": 10.0}.get(kind, 5.5),
                markerfacecolor=color if filled else "none",
                color=color,
                linestyle="none",
                label=words,
                zorder=3 if filled else 2,
            )
    axes.set_xscale("log")
    axes.margins(0.1, 0.1)
    costs = [one.predict_ms for one in arms]
    room = max(1.2, (max(costs) / min(costs)) ** 0.12)  # equal costs need an axis, too
    low, high = min(costs) / room, max(costs) * room
    titled = [one for one in arms if one.arm.kind == "source"]
    if titled:  # their titles take two fifths of the width, left of their points
        low = min(low, (min(one.predict_ms for one in titled) / high**0.4) ** (1 / 0.6))
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 3.0, 5.0, 7.0)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("milliseconds a photo, decoding not counted")
    axes.set_ylabel("answered right")
    axes.yaxis.set_major_formatter(PERCENT)
    _write_titles(axes, titled)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _write_titles(axes: Axes, arms: Sequence[_Costly]) -> None:
    """Write titles in a column left of all their points, not over each other, each with a line to its point."""
    bottom, top = axes.get_ylim()
    gap, y = 0.05 * (top - bottom), top
    left = min((one.predict_ms for one in arms), default=0.0)
    for one in sorted(arms, key=lambda one: (-one.accuracy, one.predict_ms)):
        y = min(one.accuracy, y - gap)
        axes.annotate(
            short(one.arm.title, LONGEST),
            (one.predict_ms, one.accuracy),
            xytext=(0.92 * left, y),
            ha="right",
            va="center",
            color=SOFT,
            arrowprops={
                "arrowstyle": "-",
                "color": SOFT,
                "linewidth": 0.5,
                "relpos": (1.0, 0.5),
                "shrinkA": 1,
                "shrinkB": 4,
            },
        ).set_in_layout(False)
