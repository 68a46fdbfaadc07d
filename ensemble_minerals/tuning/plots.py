"""The figures of a tuning: what each trial scored, and the best until then."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ensemble_minerals.reports.drawing import FIRST, SECOND, SOFT, canvas, page_style, save
from ensemble_minerals.tuning.nested import Tuning
from ensemble_minerals.tuning.search import Search

_ABOVE = 1.6
"""The axis ends at so many times the range from the best trial to the first; worse trials are drawn at its end."""


def draw(tuning: Tuning, folder: Path) -> dict[str, str]:
    """Draw the figures.

    Args:
        tuning: What was tried.
        folder: Where the PNG files go; it exists.

    Returns:
        SVG elements by name: ``trials``.
    """
    with page_style():
        return {"trials": save(_draw_trials(tuning.whole), folder, "trials")}


def _draw_trials(search: Search) -> Figure:
    """Log-loss of each trial; the line is the best until then."""
    figure, axes = canvas(6.4, 3.0)
    numbers = np.array([trial.number for trial in search.trials])
    losses = np.array([trial.loss for trial in search.trials])
    first, best = losses[0], losses.min()
    top = first + _ABOVE * max(first - best, 0.02 * first)
    within = losses <= top
    axes.axhline(first, color=SOFT, linewidth=1, linestyle=(0, (4, 3)))
    axes.annotate("first configuration", (1, first), (-2, 3), xycoords=("axes fraction", "data"),
                  textcoords="offset points", ha="right", va="bottom", color=SOFT, fontsize=7.5)  # fmt: skip
    axes.plot(numbers[within], losses[within], "o", color=SOFT, markersize=3.5, alpha=0.7, label="a trial")
    if not within.all():
        worse = numbers[~within]
        axes.plot(
            worse, np.full(len(worse), top), "^", color=SECOND, markersize=4, clip_on=False, label="worse"
        )
    axes.step(
        numbers,
        np.minimum.accumulate(losses),
        where="post",
        color=FIRST,
        linewidth=1.6,
        label="best until then",
    )
    axes.set_ylim(top=top)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("trial")
    axes.set_ylabel("out-of-fold log-loss (nats)")
    axes.legend(loc="upper right", frameon=False, fontsize=7.5, ncols=3, bbox_to_anchor=(1, 1.14))
    return figure
