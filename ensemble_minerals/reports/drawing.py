"""Tools for the figures of a page: style and colors, forest plots of intervals, matrices.

Every figure is drawn once and written twice: as SVG that takes its colors from the page, and as PNG; a third time in
the format that the user asks for. Two series always differ in marker and line as well as in color.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any, Literal, TypeAlias

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from ensemble_minerals.evaluation.intervals import Interval
from ensemble_minerals.reports.svg import inline_svg

FigureFormat: TypeAlias = Literal["pdf", "svg"]

_DATE = {"pdf": "CreationDate", "svg": "Date"}
"""Metadata that would make each run's file another one."""

INK, SOFT, LINE, FIRST, SECOND, FAINT = "#1c1e20", "#5c6065", "#dcd8d0", "#17685a", "#c2571a", "#cfe5df"
"""Colors by their role; in the SVG they become CSS variables, so that a page can be light or dark."""

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
    "font.size": 8.7,  # 9 pixels where a phone shows 4.6 inches on 345 pixels
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
    "legend.fontsize": "medium",
    "xtick.labelsize": "medium",
    "ytick.labelsize": "medium",
    "axes.labelsize": "medium",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}

PERCENT = FuncFormatter(lambda value, _: f"{100 * value:g} %".replace("-", "\N{MINUS SIGN}"))
POINTS = FuncFormatter(lambda value, _: f"{value:+g}".replace("-", "\N{MINUS SIGN}").replace("+0", "0"))


_MOST_IN_VIEW = 20  # rows of a forest plot whose scale below is seen together with the first of them
_MOST_PRINTED = 40  # classes of a matrix whose numbers can be read


@contextmanager
def page_style() -> Iterator[None]:
    """Draw in the style of the pages, independent of the user's own settings."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


def save(figure: Figure, folder: Path, name: str, also: FigureFormat | None = None) -> str:
    """Write the figure as PNG on white, and return it as an SVG element for a page.

    Args:
        figure: Drawn within `page_style`.
        folder: Where ``NAME.png`` goes.
        name: Of the figure.
        also: A format that it is written in as well, for print.
    """
    figure.set_dpi(150)
    figure.set_facecolor("white")
    agg: Any = FigureCanvasAgg(figure)
    agg.print_png(folder / f"{name}.png", metadata={"Software": None})  # savefig would draw twice
    figure.set_layout_engine("none")  # it is laid out, and once is enough
    if also is not None:
        printer: Any = FigureCanvasPdf(figure) if also == "pdf" else FigureCanvasSVG(figure)
        getattr(printer, f"print_{also}")(folder / f"{name}.{also}", metadata={_DATE[also]: None})
    figure.set_facecolor("none")
    buffer = StringIO()
    svg: Any = FigureCanvasSVG(figure)
    svg.print_svg(buffer)
    return inline_svg(buffer.getvalue(), name, _VARIABLES)


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of so many inches with one pair of axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def forest(
    axes: Axes,
    rows: Sequence[tuple[str, Interval]],
    *,
    scale: float = 1.0,
    color: str = FIRST,
    marker: str = "o",
    label: str | None = None,
    offset: float = 0.0,
    first: int = 0,
) -> None:
    """Draw points with intervals, one row each, from top to bottom.

    Args:
        axes: Where.
        rows: Names and intervals.
        scale: Factor on all numbers.
        color: Of the series.
        marker: ``"o"`` is drawn full, any other open.
        label: Of the series in a legend.
        offset: Shift within the row, so that series stand side by side.
        first: Position of the first row.
    """
    points = [(first + number + offset, interval) for number, (_, interval) in enumerate(rows)]
    known = [(y, interval) for y, interval in points if interval.is_defined]
    wide = [(y, interval) for y, interval in known if interval.has_ends]
    axes.hlines(
        [y for y, _ in wide],
        [scale * interval.low for _, interval in wide],
        [scale * interval.high for _, interval in wide],
        colors=color,
        linewidth=1.6,
    )
    axes.plot(
        [scale * interval.estimate for _, interval in known],
        [y for y, _ in known],
        marker=marker,
        markersize=5.5,
        color=color,
        markerfacecolor=color if marker == "o" else "none",
        linestyle="none",
        label=label,
    )
    for y, interval in points:
        if not interval.is_defined:
            axes.text(0.5, y, "not defined", transform=axes.get_yaxis_transform(), color=SOFT, va="center")
    axes.set_yticks(range(first, first + len(rows)), [short(name) for name, _ in rows])
    axes.set_ylim(first + len(rows) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    if len(rows) > _MOST_IN_VIEW:
        axes.tick_params(axis="x", top=True, labeltop=True)


def end_at_all(axes: Axes) -> None:
    """Let a horizontal axis of shares end at 1, with some margin for the marker."""
    left, right = axes.get_xlim()
    axes.set_xlim(left, min(right, 1 + 0.02 * (1 - left)))


def short(name: str, most: int = 26) -> str:
    r"""A name, cut after `most` characters.

    >>> short("muscovite", 5) == "musc\N{HORIZONTAL ELLIPSIS}"
    True
    """
    return name if len(name) <= most else f"{name[: most - 1]}\N{HORIZONTAL ELLIPSIS}"


def matrix(
    values: NDArray[np.floating[Any]],
    names: Sequence[str],
    across: str,
    down: str,
    *,
    top: float,
    form: str,
) -> Figure:
    """Draw a square matrix; larger numbers are darker. They are printed where the matrix is not too large to read.

    Args:
        values: Square; NaN where not defined.
        names: Of rows and columns.
        across: What the columns are.
        down: What the rows are.
        top: The largest number there can be.
        form: Of the printed numbers.
    """
    many = len(names) > _MOST_PRINTED
    side = 1.6 + (0.15 if many else 0.42) * len(names)
    figure, axes = canvas(side, side)
    colors = mpl.colors.LinearSegmentedColormap.from_list("page", ["#ffffff", FIRST])
    axes.imshow(np.clip(np.nan_to_num(values), 0, top) * 0.75, cmap=colors, vmin=0, vmax=top)
    for (i, j), value in np.ndenumerate(values):
        if not many and np.isfinite(value) and value != 0:
            text = form.format(value).replace("-", "\N{MINUS SIGN}")
            axes.text(j, i, text, ha="center", va="center", fontweight="bold" if i == j else "normal")
    axes.set_xticks(
        range(len(names)), [short(name) for name in names], rotation=60, ha="right", rotation_mode="anchor"
    )
    axes.set_yticks(range(len(names)), [short(name) for name in names])
    axes.set_xlabel(across)
    axes.set_ylabel(down)
    axes.grid(visible=False)
    return figure
