"""Two photos side by side with the points that agree, as parts of an SVG drawing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_POINTS = 24
"""Points that are drawn of a pair."""

_WIDTH, _HEIGHT, _GAP = 120.0, 100.0, 6.0  # of the box that a photo fills, and between two


@dataclass(frozen=True)
class MatchedPoints:
    """A drawing of 246 x 100 units.

    Attributes:
        places: Left upper corner of each photo.
        lines: Path of the lines between points.
        dots: Path of the points, to be drawn with round ends.
    """

    places: tuple[tuple[float, float], tuple[float, float]]
    lines: str
    dots: str


def fitted(width: int, height: int) -> tuple[float, float]:
    """Sides of a photo of these proportions that fills its box of 120 x 100 units.

    >>> fitted(600, 400), fitted(300, 900)
    ((120.0, 80.0), (33.3, 100.0))
    """
    scale = min(_WIDTH / max(width, 1), _HEIGHT / max(height, 1))
    return round(width * scale, 1), round(height * scale, 1)


def draw(
    first: tuple[float, float], second: tuple[float, float], points: NDArray[np.float32]
) -> MatchedPoints:
    """Lay two photos out beside each other, and join their points.

    Args:
        first: Sides of the photo on the left, see `fitted`.
        second: Sides of the photo on the right.
        points: Shape (m, 4), see `Evidence`.
    """
    left = (round(_WIDTH - first[0], 1), round((_HEIGHT - first[1]) / 2, 1))
    right = (_WIDTH + _GAP, round((_HEIGHT - second[1]) / 2, 1))
    kept = points[np.linspace(0, len(points) - 1, min(len(points), MOST_POINTS)).astype(int)]
    placed = kept.astype(float) * (*first, *second) + (*left, *right)
    rows = [[f"{value:.1f}" for value in row] for row in placed.tolist()]
    lines = "".join(f"M{x1} {y1}L{x2} {y2}" for x1, y1, x2, y2 in rows)
    dots = "".join(f"M{x1} {y1}h0M{x2} {y2}h0" for x1, y1, x2, y2 in rows)
    return MatchedPoints((left, right), lines, dots)
