"""The figures of a report, drawn once: as SVG that takes its colors from the page, and as PNG.

Two series always differ in marker and line as well as in color.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from ensemble_minerals.evaluation.svg import inline_svg
from ensemble_minerals.evaluation.wording import show

INK, SOFT, LINE, FIRST, SECOND, FAINT = "#1c1e20", "#5c6065", "#dcd8d0", "#17685a", "#c2571a", "#cfe5df"
"""Roles of colors; the SVG names them as the variables of `_VARIABLES`, so a page can be light or dark."""

_VARIABLES = {
    INK: "--ink",
    SOFT: "--soft",
    LINE: "--line",
    FIRST: "--accent",
    SECOND: "--second",
    FAINT: "--accent-soft",
}

_STYLE: Any = {  # keys are checked when they are set
    "font.family": ["DejaVu Sans"],
    "font.size": 8.5,
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "ensemble-minerals",
    "text.color": INK,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}

_PERCENT = FuncFormatter(lambda value, _: f"{100 * value:g} %".replace("-", "\N{MINUS SIGN}"))
_POINTS = FuncFormatter(lambda value, _: f"{value:+g}".replace("-", "\N{MINUS SIGN}").replace("+0", "0"))

_FIFTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)

Rows = Sequence[Mapping[str, Any]]


def draw(analysis: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """Draw every figure of an analysis.

    Args:
        analysis: Of `error_analysis.analyze`.
        folder: Where the PNG files go; it exists.

    Returns:
        SVG elements by name of the figure. Figures for which there is nothing to draw are left out.
    """
    members, sets = analysis["members"], analysis["sets"]["levels"]
    with mpl.rc_context():
        mpl.rcdefaults()  # whatever the user's own matplotlibrc says
        mpl.rcParams.update(_STYLE)
        figures = {
            "f1": _f1(analysis["classes"]["classes"]),
            "f1_gain": _f1_gain(analysis["classes"]),
            "confusion": _matrix(
                analysis["confusion"]["percentages"],
                analysis["confusion"]["classes"],
                "answer",
                "given label",
                top=100.0,
                form="{:.0f}",
            ),
            "reliability": _reliability(analysis["reliability"]),
            "risk_coverage": _risk_coverage(analysis["abstention"]),
            "members": _members(members),
            "error_correlation": _matrix(
                members["error_correlation"], members["names"], "", "", top=1.0, form="{:.2f}"
            ),
        }
        for number, one in enumerate(analysis["reliability"]["by_class"]):
            figures[f"reliability_{number}"] = _class_reliability(one)
        if sets:
            figures["set_coverage"] = _set_coverage(sets)
        if analysis["slices"]["rows"]:
            figures["slices"] = _slices(analysis["slices"])
        if analysis["learning_curve"] is not None:
            figures["learning_curve"] = _learning_curve(analysis["learning_curve"])
        return {name: _save(figure, folder / f"{name}.png", name) for name, figure in figures.items()}


def _save(figure: Figure, png: Path, name: str) -> str:
    """Write the PNG on white and return the SVG as an element to stand in a page."""
    figure.set_dpi(150)
    figure.set_facecolor("white")
    agg: Any = FigureCanvasAgg(figure)
    agg.print_png(png, metadata={"Software": None})  # savefig would draw twice
    figure.set_layout_engine("none")  # it is laid out, and once is enough
    figure.set_facecolor("none")
    buffer = StringIO()
    svg: Any = FigureCanvasSVG(figure)
    svg.print_svg(buffer)
    return inline_svg(buffer.getvalue(), name, _VARIABLES)


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _forest(
    axes: Axes,
    rows: Sequence[tuple[str, Mapping[str, Any]]],
    *,
    scale: float = 1.0,
    color: str = FIRST,
    marker: str = "o",
    label: str | None = None,
    offset: float = 0.0,
    first: int = 0,
) -> None:
    """Points with intervals, one row each from position `first` on, downwards."""
    for position, (_, interval) in enumerate(rows, start=first):
        if interval["estimate"] is None:
            axes.text(
                0.5, position, "not defined", transform=axes.get_yaxis_transform(), color=SOFT, va="center"
            )
            continue
        y = position + offset
        if interval["low"] is not None:
            axes.plot([scale * interval["low"], scale * interval["high"]], [y, y], color=color, linewidth=1.6)
        axes.plot(
            [scale * interval["estimate"]],
            [y],
            marker=marker,
            markersize=5.5,
            color=color,
            markerfacecolor=color if marker == "o" else "none",
            linestyle="none",
            label=label if position == first else None,
        )
    axes.set_yticks(range(first, first + len(rows)), [_short(name) for name, _ in rows])
    axes.set_ylim(first + len(rows) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)


def _short(name: str, most: int = 26) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}\N{HORIZONTAL ELLIPSIS}"


def _f1(classes: Rows) -> Figure:
    figure, axes = _canvas(4.6, 0.9 + 0.27 * len(classes))
    _forest(axes, [(row["name"], row["f1"]) for row in classes])
    axes.set_xlabel("F1")
    axes.set_xlim(right=1.004)
    return figure


def _f1_gain(section: Mapping[str, Any]) -> Figure:
    classes = section["classes"]
    figure, axes = _canvas(4.6, 0.9 + 0.27 * len(classes))
    axes.axvline(0, color=SOFT, linewidth=1)
    _forest(axes, [(row["name"], row["f1_gain"]) for row in classes], scale=100)
    axes.set_xlabel("points of F1 gained over the best single member")
    axes.xaxis.set_major_formatter(_POINTS)
    return figure


def _matrix(
    values: Sequence[Sequence[float | None]],
    names: Sequence[str],
    across: str,
    down: str,
    *,
    top: float,
    form: str,
) -> Figure:
    table = np.array([[np.nan if value is None else value for value in row] for row in values], dtype=float)
    side = 1.6 + 0.42 * len(names)
    figure, axes = _canvas(side, side)
    colors = mpl.colors.LinearSegmentedColormap.from_list("page", ["#ffffff", FIRST])
    axes.imshow(np.clip(np.nan_to_num(table), 0, top) * 0.75, cmap=colors, vmin=0, vmax=top)
    for (i, j), value in np.ndenumerate(table):
        if np.isfinite(value) and value != 0:
            text = form.format(value).replace("-", "\N{MINUS SIGN}")
            axes.text(
                j, i, text, ha="center", va="center", fontsize=7, fontweight="bold" if i == j else "normal"
            )
    axes.set_xticks(
        range(len(names)), [_short(name) for name in names], rotation=60, ha="right", rotation_mode="anchor"
    )
    axes.set_yticks(range(len(names)), [_short(name) for name in names])
    axes.set_xlabel(across)
    axes.set_ylabel(down)
    axes.grid(visible=False)
    return figure


def _reliability(section: Mapping[str, Any]) -> Figure:
    figure = Figure(figsize=(4.6, 4.9), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    _diagonal(upper)
    if section["before"] is not None:
        bins = section["before"]["bins"]
        upper.plot(
            [one["stated"] for one in bins],
            [one["observed"]["estimate"] for one in bins],
            marker="s",
            markerfacecolor="none",
            linestyle="--",
            linewidth=1,
            markersize=5,
            color=SECOND,
            label="before the temperature",
        )
    _stated_against_observed(upper, section["after"]["bins"], "-", "after the temperature")
    upper.set_ylabel("right")
    upper.legend(loc="upper left")
    _counts(lower, section["after"]["bins"])
    lower.set_xlabel("probability of the answer")
    return figure


def _class_reliability(section: Mapping[str, Any]) -> Figure:
    figure = Figure(figsize=(3.4, 3.3), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[2.6, 1])
    _diagonal(upper)
    _stated_against_observed(upper, section["bins"], "none")
    upper.set_ylabel("frequency")
    _counts(lower, section["bins"])
    lower.set_xlabel(f"probability of {_short(section['name'])}")
    return figure


def _diagonal(axes: Axes) -> None:
    axes.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle=":")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.03, 1.03)
    axes.set_xticks(_FIFTHS)
    axes.set_yticks(_FIFTHS)
    axes.yaxis.set_major_formatter(_PERCENT)


def _stated_against_observed(axes: Axes, bins: Rows, line: str, label: str | None = None) -> None:
    stated = [one["stated"] for one in bins]
    low, high = ([one["observed"][end] for one in bins] for end in ("low", "high"))
    axes.vlines(stated, low, high, colors=FIRST, linewidth=1.2)
    axes.plot(
        stated,
        [one["observed"]["estimate"] for one in bins],
        marker="o",
        markersize=5,
        linestyle=line,
        linewidth=1,
        color=FIRST,
        label=label,
    )


def _counts(axes: Axes, bins: Rows) -> None:
    count = [one["count"] for one in bins]
    middle = [(one["from"] + one["to"]) / 2 for one in bins]
    width = [0.88 * (one["to"] - one["from"]) for one in bins]
    axes.bar(middle, count, width=width, color=FAINT, edgecolor=FIRST, linewidth=0.6)
    for x, height in zip(middle, count, strict=True):
        axes.text(x, height + 0.04 * max(count), f"{height}", ha="center", fontsize=6.5)
    axes.set_ylim(0, 1.28 * max(count))
    axes.set_ylabel("photos")
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.xaxis.set_major_formatter(_PERCENT)


def _risk_coverage(section: Mapping[str, Any]) -> Figure:
    figure, axes = _canvas(4.6, 3.3)
    axes.plot(section["curve"]["coverage"], section["curve"]["risk"], color=FIRST, linewidth=1.8)
    for limit in section["limits"]:
        if limit["coverage"] > 0:
            axes.plot(
                [limit["coverage"]],
                [limit["error"]],
                marker="D",
                markersize=5,
                color=SECOND,
                linestyle="none",
            )
            axes.annotate(
                f"{limit['error']:.0%} errors: answer {show(limit['coverage'], 'percent')}".replace(
                    "%", " %", 1
                ),
                (limit["coverage"], limit["error"]),
                xytext=(-7, 4),
                textcoords="offset points",
                ha="right",
                fontsize=8,
            )
    axes.set_xlim(0, 1.01)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("photos answered, the surest first")
    axes.set_ylabel("errors among them")
    axes.xaxis.set_major_formatter(_PERCENT)
    axes.yaxis.set_major_formatter(_PERCENT)
    return figure


def _set_coverage(levels: Rows) -> Figure:
    rows = [[(row["name"], row["coverage"]) for row in level["by_class"]] for level in levels]
    figure, axes = _canvas(4.6, 1.2 + 0.34 * len(rows[0]))
    looks = ((SECOND, "s", "--", -0.16), (FIRST, "o", "-", 0.16))
    for level, row, (color, marker, line, offset) in zip(levels, rows, looks, strict=True):
        axes.axvline(level["level"], color=color, linestyle=line, linewidth=1)
        stated = f"stated {level['level']:.0%}".replace("%", " %")
        _forest(axes, row, color=color, marker=marker, label=stated, offset=offset)
    axes.set_xlabel("sets that hold the true class")
    axes.set_xlim(right=1.004)
    axes.xaxis.set_major_formatter(_PERCENT)
    figure.legend(loc="outside upper left", ncols=2)
    return figure


def _slices(section: Mapping[str, Any]) -> Figure:
    rows = section["rows"]
    figure, axes = _canvas(6.4, 0.9 + 0.24 * len(rows))
    axes.axvline(section["accuracy"], color=SOFT, linewidth=1, linestyle=":")
    names = [f"{row['measure']}: {row['name']} {row['span']}, {row['n']} photos" for row in rows]
    _forest(axes, [(_short(name, 60), row["accuracy"]) for name, row in zip(names, rows, strict=True)])
    for label, row in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_color(SOFT if row["small"] else INK)
    axes.set_xlabel("answered right (dotted: all photos)")
    axes.set_xlim(right=1.004)
    axes.xaxis.set_major_formatter(_PERCENT)
    return figure


def _members(section: Mapping[str, Any]) -> Figure:
    whole = [("ensemble", section["ensemble"]["accuracy"]), ("plain average", section["uniform"]["accuracy"])]
    rows = whole + [(row["name"], row["accuracy"]) for row in section["members"]]
    figure, axes = _canvas(4.8, 1.1 + 0.27 * len(rows))
    _forest(axes, rows[:1], color=FIRST)
    _forest(axes, rows[1:], color=SECOND, marker="s", first=1)
    axes.set_yticks(range(len(rows)), [_short(name) for name, _ in rows])
    axes.axvline(section["oracle"], color=SOFT, linestyle=":", linewidth=1.2)
    axes.annotate(
        "some member is right",
        (section["oracle"], len(rows) - 0.5),
        xytext=(-4, 2),
        textcoords="offset points",
        ha="right",
        fontsize=7.5,
        color=SOFT,
    )
    axes.set_xlabel("answered right")
    axes.set_xlim(right=1.004)
    axes.xaxis.set_major_formatter(_PERCENT)
    return figure


def _learning_curve(section: Mapping[str, Any]) -> Figure:
    figure, axes = _canvas(4.6, 3.1)
    for point in section["points"]:
        accuracy = point["accuracy"]
        if accuracy["low"] is not None:
            axes.plot([point["rows"]] * 2, [accuracy["low"], accuracy["high"]], color=FIRST, linewidth=1.4)
    axes.plot(
        [point["rows"] for point in section["points"]],
        [point["accuracy"]["estimate"] for point in section["points"]],
        marker="o",
        color=FIRST,
    )
    axes.set_xlim(left=0)
    axes.set_ylim(top=min(axes.get_ylim()[1], 1.004))
    axes.set_xlabel("photos trained on")
    axes.set_ylabel("answered right")
    axes.yaxis.set_major_formatter(_PERCENT)
    return figure
