"""What was measured: the most important figures, and where they come from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from ensemble_minerals.evaluation.answers import Answers
from ensemble_minerals.evaluation.confidence import AbstentionLimit
from ensemble_minerals.evaluation.intervals import Interval
from ensemble_minerals.reports.report_data import ReportData, ReportHeader
from ensemble_minerals.reports.sections.base import Row, Section
from ensemble_minerals.reports.tables import photo_cells
from ensemble_minerals.reports.wording import count


@dataclass(frozen=True, eq=False)
class Overview(Section):
    """What was measured.

    Attributes:
        header: What was measured on what.
        answers: All rows; each becomes a row of ``answers.csv``.
        accuracy: Of the ensemble.
        macro_f1: Of the ensemble.
        ece: Calibration error of the ensemble.
        ece_beyond_chance: The part of it that chance does not explain.
        two_percent: How many photos can be answered with 2 % errors.
        suspects: Number of suspected labels.
        unmeasured: Why there are no photos in the page; None where there are.
    """

    key: ClassVar[str] = "overview"
    title: ClassVar[str] = "What was measured"

    header: ReportHeader
    answers: Answers
    accuracy: Interval
    macro_f1: Interval
    ece: float | None
    ece_beyond_chance: Interval
    two_percent: AbstentionLimit
    suspects: int
    unmeasured: str | None

    @classmethod
    def compute(cls, data: ReportData) -> Self:
        """Take the most important figures of the other sections."""
        return cls(
            header=data.header,
            answers=data.answers,
            accuracy=data.scores["accuracy"].interval,
            macro_f1=data.scores["macro_f1"].interval,
            ece=data.scores["ece"].plug_in,
            ece_beyond_chance=data.scores["ece"].interval,
            two_percent=data.abstention.limit(0.02),
            suspects=len(data.suspects.suspects),
            unmeasured=data.measures.unmeasured,
        )

    @property
    def heading(self) -> str:
        """How much was measured."""
        return (
            f"{count(self.header.members, 'member')}, {count(self.header.classes, 'class', 'classes')}, "
            f"{count(self.header.rows, 'photo')} in {count(self.header.row_groups, 'row group')}"
        )

    def findings(self) -> dict[str, str]:
        """None: the heading only repeats the header."""
        return {}

    def tables(self) -> dict[str, Iterable[Row]]:
        """Every answer."""
        return {"answers": self._rows()}

    def _rows(self) -> Iterator[dict[str, Any]]:
        answers = self.answers
        for row, group in enumerate(answers.groups.tolist()):
            proba = zip(answers.classes, answers.proba[row].tolist(), strict=True)
            yield {
                **photo_cells(answers.photo(row)),
                "row_group": group,
                **{f"p_{name}": p for name, p in proba},
            }
