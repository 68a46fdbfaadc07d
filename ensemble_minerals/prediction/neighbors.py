"""The photos of a fit that are most like a photo, by the embeddings of a frozen network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Neighbor(NamedTuple):
    """A photo like another one: its row, and the cosine of their embeddings."""

    row: int
    cosine: float


@dataclass(frozen=True, eq=False)
class Neighbors:
    """Embeddings of photos, ready to be asked.

    Attributes:
        directions: Of the known photos, centered, of length 1, shape (n, d).
        center: What was subtracted, shape (d,).
    """

    directions: NDArray[np.float32]
    center: NDArray[np.float32]

    @classmethod
    def of(cls, embeddings: NDArray[np.floating[Any]]) -> Neighbors:
        """Of the embeddings of the known photos, shape (n, d)."""
        values = embeddings.astype(np.float32)
        center = values.mean(axis=0)
        return cls(_unit(values - center), center)

    def near(
        self, embedding: NDArray[np.floating[Any]], n: int, without: Sequence[int] = ()
    ) -> list[Neighbor]:
        """The nearest known photos, the nearest first.

        Args:
            embedding: Of the photo, shape (d,).
            n: How many, at most.
            without: Rows that do not count.
        """
        cosine = self.directions @ _unit(embedding.astype(np.float32) - self.center)
        cosine[list(without)] = -np.inf
        nearest = np.argsort(-cosine, kind="stable")[:n]
        return [Neighbor(int(row), float(cosine[row])) for row in nearest if np.isfinite(cosine[row])]


def _unit(values: NDArray[np.float32]) -> NDArray[np.float32]:
    length = np.linalg.norm(values, axis=-1, keepdims=True)
    unit: NDArray[np.float32] = values / np.maximum(length, np.finfo(np.float32).tiny)
    return unit
