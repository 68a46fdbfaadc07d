"""The most confused pairs of classes, with photos side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from ensemble_minerals.evaluation.metrics import jsonable
from ensemble_minerals.evaluation.mistakes import ConfusedPair, confused_pairs
from ensemble_minerals.reports.report_data import ReportData
from ensemble_minerals.reports.sections.base import Row, Section
from ensemble_minerals.reports.wording import capitalized, count


@dataclass(frozen=True)
class Pairs(Section):
    """The most confused pairs.

    Attributes:
        pairs: Most frequent first.
    """

    key: ClassVar[str] = "pairs"
    title: ClassVar[str] = "Confused pairs"

    pairs: tuple[ConfusedPair, ...]

    @classmethod
    def compute(cls, data: ReportData) -> Self:
        """Find the pairs."""
        return cls(confused_pairs(data.answers))

    @property
    def heading(self) -> str:
        """The most frequent mistake."""
        if not self.pairs:
            return "No class is mistaken for another"
        first = self.pairs[0]
        return (
            f"{capitalized(first.given)} is mistaken for {first.answer} most: {first.count:,} of its "
            f"{count(first.support, 'photo')}"
        )

    def as_json(self) -> dict[str, Any]:
        """The pairs."""
        return {"pairs": jsonable(self.pairs)}

    def tables(self) -> dict[str, Iterable[Row]]:
        """The pairs without their photos."""
        return {
            "confused_pairs": [
                {name: value for name, value in pair.items() if name not in ("mistaken", "like")}
                for pair in jsonable(self.pairs)
            ]
        }

    def shown_paths(self) -> Iterator[str]:
        """Both kinds of photos, pair by pair."""
        for pair in self.pairs:
            yield from (photo.path for photo in pair.mistaken + pair.like)
