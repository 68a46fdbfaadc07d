"""The figure of trained networks: loss and accuracy by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ensemble_minerals.evaluation.training_curves import Record
from ensemble_minerals.reports.drawing import FIRST, PERCENT, SECOND, SOFT

_SERIES = (("train", FIRST, "-"), ("validation", SECOND, "--"))
_PANELS = (("loss", "loss"), ("accuracy", "right"))


def draw_training(section: Mapping[str, Any]) -> Figure:
    """Loss and accuracy by epoch: thin lines are single networks, thick ones their mean."""
    figure = Figure(figsize=(7.2, 2.9), layout="constrained")
    for axes, (measure, label) in zip(figure.subplots(1, 2), _PANELS, strict=True):
        for series, color, line in _SERIES:
            curves = [[record[f"{series}_{measure}"] for record in records] for records in section["records"]]
            _draw(axes, curves, color, line, "inner validation" if series == "validation" else "training")
        for start in _phase_starts(section["records"]):
            axes.axvline(start - 0.5, color=SOFT, linestyle=":", linewidth=1)
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        if measure == "accuracy":
            axes.yaxis.set_major_formatter(PERCENT)
        axes.legend()
    return figure


def _draw(axes: Axes, curves: Sequence[Sequence[float | None]], color: str, line: str, label: str) -> None:
    values = np.full((len(curves), max(map(len, curves))), np.nan)
    for row, curve in enumerate(curves):
        values[row, : len(curve)] = [np.nan if value is None else value for value in curve]
    if np.isnan(values).all():
        return
    epochs = np.arange(1, values.shape[1] + 1)
    if len(curves) > 1:
        axes.plot(epochs, values.T, color=color, linestyle=line, linewidth=0.7, alpha=0.4)
    everywhere = ~np.isnan(values).any(axis=0)
    axes.plot(
        epochs[everywhere],
        values[:, everywhere].mean(axis=0),
        color=color,
        linestyle=line,
        linewidth=1.8,
        marker="o",
        markersize=3,
        label=label,
    )


def _phase_starts(networks: Sequence[Sequence[Record]]) -> list[int]:
    """First epochs of the second and later phases, where all networks agree on them."""
    starts = [
        tuple(int(now["epoch"]) for before, now in pairwise(records) if now["phase"] != before["phase"])
        for records in networks
    ]
    return list(starts[0]) if starts and len(set(starts)) == 1 else []
