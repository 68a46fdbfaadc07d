"""How the trained networks learned: loss and accuracy by epoch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from ensemble_minerals.evaluation.metrics import jsonable
from ensemble_minerals.evaluation.training_curves import (
    MemberTraining,
    summarize_training,
    training_rows,
)
from ensemble_minerals.networks.training.epoch_log import Epoch
from ensemble_minerals.reports.drawing import FIRST, PERCENT, SECOND, SOFT
from ensemble_minerals.reports.report_data import ReportData
from ensemble_minerals.reports.sections.base import Row, Section

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PARTS = (("train", "training", FIRST, "-"), ("validation", "inner validation", SECOND, "--"))
_PANELS = (("loss", "loss"), ("accuracy", "right"))


@dataclass(frozen=True)
class Training(Section):
    """The training of networks.

    Attributes:
        members: One for each member that has networks of its own.
    """

    key: ClassVar[str] = "training"
    title: ClassVar[str] = "Training"

    members: tuple[MemberTraining, ...]

    @classmethod
    def compute(cls, data: ReportData) -> Self:
        """Summarize the logs of the fit."""
        return cls(summarize_training(data.logs))

    @property
    def shown(self) -> bool:
        """Only where networks were trained."""
        return bool(self.members)

    @property
    def validated(self) -> bool:
        """Whether any network had inner validation rows."""
        return any(best is not None for member in self.members for best in member.best)

    @property
    def heading(self) -> str:
        """How much was trained."""
        networks = sum(member.networks for member in self.members)
        epochs = sum(member.epochs for member in self.members)
        minutes = sum(member.seconds for member in self.members) / 60
        return (
            f"{networks:,} {'network was' if networks == 1 else 'networks were'} trained, {epochs:,} epochs in "
            f"{minutes:,.1f} minutes of training"
        )

    def as_json(self) -> dict[str, Any]:
        """The members with all epochs."""
        return {"training": jsonable(self.members)}

    def tables(self) -> dict[str, Iterable[Row]]:
        """Every epoch."""
        return {"training": training_rows(self.members)}

    def figures(self) -> dict[str, Figure]:
        """The curves of each member, by number."""
        return {f"training_{number}": draw_training(member) for number, member in enumerate(self.members)}


def draw_training(member: MemberTraining) -> Figure:
    """Loss and accuracy by epoch: thin lines are single networks, thick ones their mean."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 2.9), layout="constrained")
    for axes, (measure, label) in zip(figure.subplots(1, 2), _PANELS, strict=True):
        for part, words, color, line in _PARTS:
            curves = [[getattr(epoch, f"{part}_{measure}") for epoch in epochs] for epochs in member.records]
            _draw_curves(axes, curves, color, line, words)
        for start in _phase_starts(member.records):
            axes.axvline(start - 0.5, color=SOFT, linestyle=":", linewidth=1)
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        if measure == "accuracy":
            axes.yaxis.set_major_formatter(PERCENT)
        axes.legend()
    return figure


def _draw_curves(
    axes: Axes, curves: Sequence[Sequence[float | None]], color: str, line: str, label: str
) -> None:
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


def _phase_starts(networks: Sequence[Sequence[Epoch]]) -> list[int]:
    """First epochs of the second and later phases, where all networks agree on them."""
    starts = [
        tuple(now.epoch for before, now in pairwise(epochs) if now.phase != before.phase)
        for epochs in networks
    ]
    return list(starts[0]) if starts and len(set(starts)) == 1 else []
