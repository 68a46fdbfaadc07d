"""The scores of the ensemble with their intervals."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from ensemble_minerals.evaluation.metrics import jsonable
from ensemble_minerals.evaluation.score_table import Score
from ensemble_minerals.reports.report_data import ReportData
from ensemble_minerals.reports.sections.base import Row, Section
from ensemble_minerals.reports.wording import PERCENT, count, show, span


@dataclass(frozen=True)
class Scores(Section):
    """The scores of the ensemble.

    Attributes:
        scores: In the order of the table.
        n: Photos.
    """

    key: ClassVar[str] = "scores"
    title: ClassVar[str] = "Scores"

    scores: tuple[Score, ...]
    n: int

    @classmethod
    def compute(cls, data: ReportData) -> Self:
        """Score the answers."""
        return cls(tuple(data.scores.values()), len(data.answers))

    @property
    def heading(self) -> str:
        """How many photos are answered right."""
        accuracy = next(score.interval for score in self.scores if score.name == "accuracy")
        return (
            f"{show(accuracy.estimate, 'percent')} of {count(self.n, 'photo')} are answered right "
            f"(95{PERCENT} interval {span(accuracy, 'percent')})"
        )

    def as_json(self) -> dict[str, Any]:
        """The table."""
        return {"scores": self._rows()}

    def tables(self) -> dict[str, Iterable[Row]]:
        """The table."""
        return {"scores": self._rows()}

    def _rows(self) -> list[dict[str, Any]]:
        return [
            {
                "name": score.name,
                **jsonable(score.interval),
                "plug_in": score.plug_in,
                "lower_is_better": score.lower_is_better,
            }
            for score in self.scores
        ]
