"""The members beside each other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from ensemble_minerals.evaluation.leaderboard import Leaderboard, MemberResult, leaderboard, member_weights
from ensemble_minerals.evaluation.metrics import jsonable
from ensemble_minerals.reports.drawing import (
    FIRST,
    PERCENT,
    SECOND,
    SOFT,
    canvas,
    end_at_all,
    forest,
    matrix,
    short,
)
from ensemble_minerals.reports.report_data import ReportData
from ensemble_minerals.reports.sections.base import Row, Section
from ensemble_minerals.reports.tables import matrix_rows
from ensemble_minerals.reports.wording import PERCENT as PER_CENT
from ensemble_minerals.reports.wording import show, span

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Members(Section):
    """The members.

    Attributes:
        board: Their scores, costs, diversity and weights.
        combination: The kind of combination of the final ensemble.
        weights_mean: What the weights mean, in a sentence.
    """

    key: ClassVar[str] = "members"
    title: ClassVar[str] = "Members"

    board: Leaderboard
    combination: str
    weights_mean: str

    @classmethod
    def compute(cls, data: ReportData) -> Self:
        """Score, compare and weigh the members."""
        weights, meaning = member_weights(data.combination, len(data.answers.members))
        board = leaderboard(data.answers, data.bootstrap, weights=weights, costs=data.costs, cost=data.cost)
        return cls(board, data.combination.kind, meaning)

    @property
    def heading(self) -> str:
        """Whether the ensemble beats its best member."""
        name, gain = self.board.best_single.name, self.board.best_single.accuracy_gain
        if len(self.board.names) == 1:
            return f"There is one member, {name}"
        text = f"{show(gain.estimate, 'points')} points, 95{PER_CENT} interval {span(gain, 'points')}"
        if gain.low > 0:
            return f"The ensemble beats its best member, {name} ({text})"
        if gain.high < 0:
            return f"The ensemble is worse than its best member, {name} ({text})"
        return f"The ensemble is not clearly more accurate than its best member, {name} ({text})"

    def as_json(self) -> dict[str, Any]:
        """The members, the ensemble, and the matrices."""
        board = self.board
        return {
            "members": {
                "ensemble": {**jsonable(board.ensemble), **jsonable(board.cost)},
                "uniform": jsonable(board.uniform),
                "members": [_json(member) for member in board.members],
                "best_single": jsonable(board.best_single),
                "oracle": board.oracle,
                "all_right": board.all_right,
                "names": list(board.names),
                "error_correlation": jsonable(board.error_correlation),
                "double_fault": jsonable(board.double_fault),
                "combination": self.combination,
                "weights_mean": self.weights_mean,
            }
        }

    def tables(self) -> dict[str, Iterable[Row]]:
        """The members and the matrices."""
        board = self.board
        return {
            "members": [_json(member) for member in board.members],
            "error_correlation": matrix_rows(board.names, board.error_correlation),
            "double_fault": matrix_rows(board.names, board.double_fault),
        }

    def figures(self) -> dict[str, Figure]:
        """Accuracy of everybody, and how alike their errors are."""
        return {
            "members": self._draw(),
            "error_correlation": matrix(
                self.board.error_correlation, self.board.names, "", "", top=1.0, form="{:.2f}"
            ),
        }

    def _draw(self) -> Figure:
        board = self.board
        rows = [("ensemble", board.ensemble.accuracy), ("plain average", board.uniform.accuracy)]
        rows += [(member.name, member.scores.accuracy) for member in board.members]
        figure, axes = canvas(4.8, 1.1 + 0.27 * len(rows))
        forest(axes, rows[:1], color=FIRST)
        forest(axes, rows[1:], color=SECOND, marker="s", first=1)
        axes.set_yticks(range(len(rows)), [short(name) for name, _ in rows])
        axes.axvline(board.oracle, color=SOFT, linestyle=":", linewidth=1.2)
        axes.annotate(
            "some member is right",
            (board.oracle, len(rows) - 0.5),
            xytext=(-4, 2),
            textcoords="offset points",
            ha="right",
            color=SOFT,
        )
        axes.set_xlabel("answered right")
        end_at_all(axes)
        axes.xaxis.set_major_formatter(PERCENT)
        return figure


def _json(member: MemberResult) -> dict[str, Any]:
    return {
        "name": member.name,
        **jsonable(member.scores),
        "weight": member.weight,
        "without": member.without,
        **jsonable(member.cost),
    }
