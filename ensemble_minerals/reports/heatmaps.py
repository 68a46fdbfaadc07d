"""Figures of explanations: heat-maps over photos, the channels of a network, and votes."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from ensemble_minerals.reports.drawing import FIRST, LINE, SOFT, page_style, short

Floats = NDArray[np.floating[Any]]
Pixels = NDArray[np.uint8]

_HEAT, _CHANNEL = "inferno", "viridis"
_COLD, _HOT = 0.3, 0.72
"""Opacity of the heat-map at its lowest and at its highest value."""

_QUALITY = 80
_GAP = 4  # pixels between the maps of channels
_MAP = 72  # pixels of a channel's longer side


@dataclass(frozen=True, eq=False)
class Heat:
    """A heat-map with its title.

    Attributes:
        title: What it shows.
        values: Shape (height, width), in [0, 1]; None for the bare photo.
    """

    title: str
    values: Floats | None


@dataclass(frozen=True)
class VoteRow:
    """The probabilities of one member, or of the ensemble.

    Attributes:
        name: Of the member, or of the ensemble.
        proba: Probability of each class.
        strong: Whether the row is emphasized.
    """

    name: str
    proba: Sequence[float]
    strong: bool = False


def overlay(pixels: Pixels, heat: Floats) -> Pixels:
    """Lay a heat-map over a photo.

    Args:
        pixels: RGB, shape (height, width, 3).
        heat: Values in [0, 1], shape (h, w): the whole photo, in a resolution of its own.

    Returns:
        RGB of the photo's size: dark where the values are low, bright where they are high.
    """
    height, width = pixels.shape[:2]
    drawn = Image.fromarray(np.asarray(heat, dtype=np.float32)).resize(
        (width, height), Image.Resampling.BILINEAR
    )
    values = np.clip(np.asarray(drawn), 0.0, 1.0)
    colors = _colors()[(255 * values).round().astype(np.uint8)]
    share = (_COLD + (_HOT - _COLD) * values)[:, :, None]
    mixed: Pixels = (pixels * (1 - share) + colors * share).round().astype(np.uint8)
    return mixed


def thumbnail(pixels: Pixels, side: int) -> Pixels:
    """An image with at most `side` pixels on its longer side."""
    image = Image.fromarray(pixels)
    image.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return np.asarray(image)


def as_address(pixels: Pixels) -> str:
    """An image as a ``data:`` address."""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def draw_panel(
    file: Path,
    pixels: Pixels,
    heats: Sequence[Heat],
    classes: Sequence[str],
    votes: Sequence[VoteRow],
    *,
    title: str,
    target: int,
) -> Path:
    """Draw a photo, its heat-maps, and the votes of all members.

    Args:
        file: The PNG.
        pixels: The photo.
        heats: Heat-maps of the upper row or rows, in order.
        classes: Names of the classes.
        votes: From top to bottom.
        title: Of the whole.
        target: Position of the class that the heat-maps are of.
    """
    across = min(len(heats), 5)
    down = -(-len(heats) // across)
    height, width = pixels.shape[:2]
    tall = 2.15 * min(max(height / width, 0.5), 1.4) + 0.3
    below = 0.55 + 0.24 * len(votes)
    size = (max(2.2 * across, 3.2 + 0.75 * len(classes)), 0.4 + tall * down + below)
    with page_style():
        figure = Figure(figsize=size, layout="constrained")
        figure.suptitle(title, fontsize=10.5, fontweight="bold", x=0.01, ha="left")
        above, under = figure.subfigures(2, 1, squeeze=False, height_ratios=[tall * down, below])[:, 0]
        for axes, heat in zip(above.subplots(down, across, squeeze=False).flat, heats, strict=False):
            axes.imshow(pixels if heat.values is None else overlay(pixels, heat.values))
            axes.set_title(heat.title, fontsize=8.5)
        for axes in above.axes:
            axes.set_axis_off()
        _draw_votes(under.subplots(), classes, votes, target)
        _print(figure, file)
    return file


def draw_features(file: Path, rows: Sequence[tuple[str, Floats]], *, title: str) -> Path:
    """Draw the maps of a network's channels, one row a layer.

    Args:
        file: The PNG.
        rows: Name of each layer and its maps, shape (channels, height, width), each drawn from its lowest
            to its highest value.
        title: Of the whole.
    """
    mosaics = [(name, _mosaic(maps)) for name, maps in rows]
    tall = [0.28 + 11 * mosaic.shape[0] / mosaic.shape[1] for _, mosaic in mosaics]
    with page_style():
        figure = Figure(figsize=(11, 0.4 + sum(tall)), layout="constrained")
        figure.suptitle(title, fontsize=10.5, fontweight="bold", x=0.01, ha="left")
        grid = figure.subplots(len(mosaics), 1, squeeze=False, gridspec_kw={"height_ratios": tall})
        for axes, (name, mosaic) in zip(grid.flat, mosaics, strict=True):
            axes.imshow(mosaic, interpolation="nearest")
            axes.set_title(name, loc="left", fontsize=8.5)
            axes.set_axis_off()
        _print(figure, file)
    return file


def _draw_votes(axes: Axes, classes: Sequence[str], votes: Sequence[VoteRow], target: int) -> None:
    """A bar for each voter and class."""
    for row, vote in enumerate(votes):
        best = int(np.argmax(vote.proba))
        axes.barh(
            row,
            [0.92 * share for share in vote.proba],
            left=range(len(classes)),
            height=0.62,
            color=[FIRST if k == target else SOFT for k in range(len(classes))],
            alpha=1.0 if vote.strong else 0.75,
        )
        for k, share in enumerate(vote.proba):
            if k == best or share >= 0.1:
                inside = share > 0.6
                axes.text(
                    k + (0.92 * share - 0.03 if inside else 0.92 * share + 0.03),
                    row,
                    _percent(share),
                    va="center",
                    ha="right" if inside else "left",
                    fontsize=7,
                    color="white" if inside else None,
                    fontweight="bold" if k == best else "normal",
                )
    axes.set_xlim(0, len(classes))
    axes.set_ylim(len(votes) - 0.4, -0.6)
    axes.set_xticks(range(len(classes)), [short(name, 14) for name in classes], ha="left")
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.set_yticks(range(len(votes)), [short(vote.name, 34) for vote in votes])
    for label, vote in zip(axes.get_yticklabels(), votes, strict=True):
        label.set_fontweight("bold" if vote.strong else "normal")
    axes.get_xticklabels()[target].set_fontweight("bold")
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color=LINE)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _percent(share: float) -> str:
    """A share in whole per cent; 100 % only if it is exactly that."""
    return "> 99 %" if 0.995 <= share < 1 else f"{100 * share:.0f} %"


def _mosaic(maps: Floats) -> Pixels:
    """Maps side by side with white between them, each scaled to its own range."""
    colors = mpl.colormaps[_CHANNEL](np.linspace(0, 1, 256))[:, :3]
    table = (255 * colors).round().astype(np.uint8)
    scale = _MAP / max(maps.shape[1:])
    height, width = (max(1, round(scale * side)) for side in maps.shape[1:])
    mosaic = np.full((height, len(maps) * (width + _GAP) - _GAP, 3), 255, np.uint8)
    for number, each in enumerate(maps):
        low, high = float(each.min()), float(each.max())
        levels = (255 * (each - low) / (high - low if high > low else 1.0)).round().astype(np.uint8)
        tile = Image.fromarray(table[levels]).resize((width, height), Image.Resampling.BOX)
        left = number * (width + _GAP)
        mosaic[:, left : left + width] = np.asarray(tile)
    return mosaic


@lru_cache(maxsize=1)
def _colors() -> Floats:
    table: Floats = 255 * mpl.colormaps[_HEAT](np.linspace(0, 1, 256))[:, :3]
    return table


def _print(figure: Figure, file: Path) -> None:
    figure.set_dpi(110)
    figure.set_facecolor("white")
    canvas: Any = FigureCanvasAgg(figure)
    canvas.print_png(file, metadata={"Software": None})
