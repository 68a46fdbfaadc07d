"""Slices of the rows, such as dark, pale, blurred, small, oblong or busy photos, and the accuracy in each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.evaluation.confusion import recall
from ensemble_minerals.evaluation.intervals import Interval, wilson
from ensemble_minerals.evaluation.metrics import Floats, Ints
from ensemble_minerals.evaluation.photo_measures import Measures

FEW = 20
"""A slice with fewer photos shows little; it is listed last."""

BUSY = 0.2
"""Share of the border's pixels on an edge from which a background counts as busy."""

_SQUARE = 1.15  # sides that differ by less look square


@dataclass(frozen=True)
class Slicing:
    """One way to divide rows.

    Attributes:
        measure: By what.
        names: Of the slices.
        spans: From where to where each reaches; empty where the name says it all.
        of_row: (n,) position of each row's slice; -1 where the measure is not known.
    """

    measure: str
    names: tuple[str, ...]
    spans: tuple[str, ...]
    of_row: NDArray[np.intp]


_QUARTERS: Mapping[str, tuple[tuple[str, str, str, str], str]] = {
    "brightness": (("darkest quarter", "darker", "brighter", "brightest quarter"), "{:.2f}"),
    "saturation": (("palest quarter", "paler", "more colorful", "most colorful quarter"), "{:.2f}"),
    "sharpness": (("softest quarter", "softer", "sharper", "sharpest quarter"), "{:.3f}"),
    "resolution": (("smallest quarter", "smaller", "larger", "largest quarter"), "{:.0f} px"),
}


def slicings(measures: Measures) -> list[Slicing]:
    """Divide the rows by each measure.

    Args:
        measures: Any of ``brightness``, ``saturation``, ``sharpness``, ``background`` (see `photo_measures`),
            ``resolution`` (shorter side in pixels), ``aspect`` (width over height) and ``format``.

    Returns:
        One division for each measure that is known for any row: into quarters, or into kinds.
    """
    divisions = [
        _quarters(name, measures[name], *setting) for name, setting in _QUARTERS.items() if name in measures
    ]
    if "background" in measures:
        divisions.append(_cut("background", measures["background"], (BUSY,), ("plain", "busy")))
    if "aspect" in measures:
        names = ("upright", "about square", "wide")
        divisions.append(_cut("aspect", measures["aspect"], (1 / _SQUARE, _SQUARE), names))
    if "format" in measures:
        kinds = sorted(set(measures["format"].tolist()) - {""})
        of_row = [kinds.index(kind) if kind else -1 for kind in measures["format"].tolist()]
        divisions.append(Slicing("format", tuple(kinds), ("",) * len(kinds), np.array(of_row, dtype=np.intp)))
    return [one for one in divisions if (one.of_row >= 0).any()]


def _cut(name: str, values: Floats, edges: Sequence[float], names: Sequence[str]) -> Slicing:
    of_row = np.where(np.isnan(values), -1, np.searchsorted(edges, values, side="right"))
    return Slicing(name, tuple(names), ("",) * len(names), of_row)


def _quarters(name: str, values: Floats, words: Sequence[str], form: str) -> Slicing:
    """Quarters by rank; equal values stay in one slice, so there may be fewer than four."""
    known = values[~np.isnan(values)]
    if not len(known):
        return Slicing(name, (), (), np.full(len(values), -1, dtype=np.intp))
    edges = np.quantile(known, (0.25, 0.5, 0.75), method="inverted_cdf")
    quarter = np.searchsorted(edges, values, side="left")  # a slice holds its upper edge
    of_row = np.where(np.isnan(values), -1, quarter)
    inside = [values[of_row == k] for k in range(len(words))]
    spans = [f"{form.format(v.min())} to {form.format(v.max())}" if len(v) else "" for v in inside]
    return Slicing(name, tuple(words), tuple(spans), of_row)


@dataclass(frozen=True)
class SliceScore:
    """The accuracy in one slice.

    Attributes:
        measure: By what the rows were divided.
        name: Of the slice.
        span: From where to where it reaches; empty where the name says it all.
        n: Rows.
        errors: Wrong answers.
        accuracy: With Wilson's interval.
        expected: The accuracy that the mix of classes alone would give.
        small: Whether there are fewer than `FEW` rows.
    """

    measure: str
    name: str
    span: str
    n: int
    errors: int
    accuracy: Interval
    expected: float
    small: bool


def slice_table(
    right: NDArray[np.bool_], y: Ints, confusion: Ints, divisions: Sequence[Slicing]
) -> tuple[SliceScore, ...]:
    """Accuracy of each slice, the weakest first and slices of fewer than `FEW` rows last.

    Args:
        right: (n,) whether the answer is right.
        y: (n,) class positions.
        confusion: (K, K) counts of all rows.
        divisions: Ways to divide them.
    """
    usual = recall(confusion.astype(np.float64))
    table = []
    for division in divisions:
        for k, (name, span) in enumerate(zip(division.names, division.spans, strict=True)):
            rows = division.of_row == k
            n = int(rows.sum())
            if n:
                table.append(
                    SliceScore(
                        measure=division.measure,
                        name=name,
                        span=span,
                        n=n,
                        errors=int((~right[rows]).sum()),
                        accuracy=wilson(int(right[rows].sum()), n),
                        expected=float(usual[y[rows]].mean()),
                        small=n < FEW,
                    )
                )
    table.sort(key=lambda score: (score.small, score.accuracy.estimate, score.measure, score.name))
    return tuple(table)
