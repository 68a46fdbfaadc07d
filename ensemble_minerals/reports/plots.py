"""The figures of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ensemble_minerals.reports.drawing import (
    FAINT,
    FIRST,
    INK,
    PERCENT,
    POINTS,
    SECOND,
    SOFT,
    canvas,
    end_at_all,
    forest,
    matrix,
    page_style,
    save,
    short,
)
from ensemble_minerals.reports.training_figure import draw_training
from ensemble_minerals.reports.wording import show

Rows = Sequence[Mapping[str, Any]]

_FIFTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def draw(analysis: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """Draw every figure of an analysis.

    Args:
        analysis: Of `error_analysis.analyze`.
        folder: Where the PNG files go; it exists.

    Returns:
        SVG elements by name of the figure. Figures for which there is nothing to draw are left out.
    """
    members, sets = analysis["members"], analysis["sets"]["levels"]
    with page_style():
        figures = {
            "f1": _f1(analysis["classes"]["classes"]),
            "f1_gain": _f1_gain(analysis["classes"]),
            "confusion": matrix(
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
            "error_correlation": matrix(
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
        for number, section in enumerate(analysis["training"]):
            figures[f"training_{number}"] = draw_training(section)
        return {name: save(figure, folder / f"{name}.png", name) for name, figure in figures.items()}


def _f1(classes: Rows) -> Figure:
    figure, axes = canvas(4.6, 0.9 + 0.27 * len(classes))
    forest(axes, [(row["name"], row["f1"]) for row in classes])
    axes.set_xlabel("F1")
    end_at_all(axes)
    return figure


def _f1_gain(section: Mapping[str, Any]) -> Figure:
    classes = section["classes"]
    figure, axes = canvas(4.6, 0.9 + 0.27 * len(classes))
    axes.axvline(0, color=SOFT, linewidth=1)
    forest(axes, [(row["name"], row["f1_gain"]) for row in classes], scale=100)
    axes.set_xlabel("points of F1 gained over the best single member")
    axes.xaxis.set_major_formatter(POINTS)
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
    figure = Figure(figsize=(3.4, 3.3))
    figure.subplots_adjust(left=0.18, right=0.97, bottom=0.14, top=0.97, hspace=0.12)  # quicker than a layout
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[2.6, 1])
    _diagonal(upper)
    _stated_against_observed(upper, section["bins"], "none")
    upper.set_ylabel("frequency")
    _counts(lower, section["bins"])
    lower.set_xlabel(f"probability of {short(section['name'])}")
    return figure


def _diagonal(axes: Axes) -> None:
    axes.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle=":")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.03, 1.03)
    axes.set_xticks(_FIFTHS)
    axes.set_yticks(_FIFTHS)
    axes.yaxis.set_major_formatter(PERCENT)


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
    axes.xaxis.set_major_formatter(PERCENT)


def _risk_coverage(section: Mapping[str, Any]) -> Figure:
    figure, axes = canvas(4.6, 3.3)
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
    axes.xaxis.set_major_formatter(PERCENT)
    axes.yaxis.set_major_formatter(PERCENT)
    return figure


def _set_coverage(levels: Rows) -> Figure:
    rows = [[(row["name"], row["coverage"]) for row in level["by_class"]] for level in levels]
    figure, axes = canvas(4.6, 1.2 + 0.34 * len(rows[0]))
    looks = ((SECOND, "s", "--", -0.16), (FIRST, "o", "-", 0.16))
    for level, row, (color, marker, line, offset) in zip(levels, rows, looks, strict=True):
        axes.axvline(level["level"], color=color, linestyle=line, linewidth=1)
        stated = f"stated {level['level']:.0%}".replace("%", " %")
        forest(axes, row, color=color, marker=marker, label=stated, offset=offset)
    axes.set_xlabel("sets that hold the true class")
    end_at_all(axes)
    axes.xaxis.set_major_formatter(PERCENT)
    figure.legend(loc="outside upper left", ncols=2)
    return figure


def _slices(section: Mapping[str, Any]) -> Figure:
    rows = section["rows"]
    figure, axes = canvas(6.4, 0.9 + 0.24 * len(rows))
    axes.axvline(section["accuracy"], color=SOFT, linewidth=1, linestyle=":")
    names = [f"{row['measure']}: {row['name']} {row['span']}, {row['n']} photos" for row in rows]
    forest(axes, [(short(name, 60), row["accuracy"]) for name, row in zip(names, rows, strict=True)])
    for label, row in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_color(SOFT if row["small"] else INK)
    axes.set_xlabel("answered right (dotted: all photos)")
    end_at_all(axes)
    axes.xaxis.set_major_formatter(PERCENT)
    return figure


def _members(section: Mapping[str, Any]) -> Figure:
    whole = [("ensemble", section["ensemble"]["accuracy"]), ("plain average", section["uniform"]["accuracy"])]
    rows = whole + [(row["name"], row["accuracy"]) for row in section["members"]]
    figure, axes = canvas(4.8, 1.1 + 0.27 * len(rows))
    forest(axes, rows[:1], color=FIRST)
    forest(axes, rows[1:], color=SECOND, marker="s", first=1)
    axes.set_yticks(range(len(rows)), [short(name) for name, _ in rows])
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
    end_at_all(axes)
    axes.xaxis.set_major_formatter(PERCENT)
    return figure


def _learning_curve(section: Mapping[str, Any]) -> Figure:
    figure, axes = canvas(4.6, 3.1)
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
    axes.yaxis.set_major_formatter(PERCENT)
    return figure
