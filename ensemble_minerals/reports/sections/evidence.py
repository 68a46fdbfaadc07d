"""What hand tests would add to the photos, simulated."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from ensemble_minerals.evaluation.metrics import Floats, jsonable
from ensemble_minerals.prediction.hand_tests import HandTests
from ensemble_minerals.prediction.simulated_evidence import SimulatedScore, simulate_evidence
from ensemble_minerals.reports.report_data import ReportData
from ensemble_minerals.reports.sections.base import Row, Section
from ensemble_minerals.reports.wording import listed, show


@dataclass(frozen=True, eq=False)
class Evidence(Section):
    """Scores with hand tests simulated.

    Attributes:
        scores: The photos alone, each test, then the pairs; empty where nothing is known of the classes.
        unknown: Classes of which no property is known.
    """

    key: ClassVar[str] = "evidence"
    title: ClassVar[str] = "Hand tests, simulated"

    scores: tuple[SimulatedScore, ...]
    unknown: tuple[str, ...]

    @classmethod
    def compute(cls, data: ReportData) -> Self:
        """Simulate the tests."""
        if data.properties is None:
            return cls((), ())
        classes = data.answers.classes
        tests = HandTests(data.properties, classes)
        unknown = tuple(name for name in classes if name not in data.properties.classes)
        return cls(simulate_evidence(data.answers, tests, data.bootstrap), unknown)

    @property
    def shown(self) -> bool:
        """Whether a test tells anything."""
        return len(self.scores) > 1

    @property
    def heading(self) -> str:
        """What the two best tests would bring."""
        best = max(self.scores[1:], key=lambda score: (score.accuracy.estimate, -score.log_loss.estimate))
        alone = self.scores[0].accuracy.estimate
        return (
            f"Simulated: {listed(best.tests)} beside the photo would answer "
            f"{show(best.accuracy.estimate, 'percent')} right instead of {show(alone, 'percent')}"
        )

    @property
    def alone(self) -> tuple[SimulatedScore, ...]:
        """The photos, and each test beside them."""
        return tuple(score for score in self.scores if len(score.tests) < 2)

    @property
    def pairs(self) -> Floats:
        """Accuracy with each pair of tests, symmetric; on the diagonal with one test."""
        names = [score.tests[0] for score in self.alone[1:]]
        table = np.full((len(names), len(names)), np.nan)
        for score in self.scores[1:]:
            i, j = (names.index(score.tests[end]) for end in (0, -1))
            table[i, j] = table[j, i] = score.accuracy.estimate
        return table

    def as_json(self) -> dict[str, Any]:
        """All scores."""
        return {"simulated_evidence": [jsonable(score) for score in self.scores]} if self.shown else {}

    def tables(self) -> dict[str, Iterable[Row]]:
        """A row for each choice of tests."""
        return {
            "simulated_evidence": [
                {
                    "tests": " + ".join(score.tests) or "photo alone",
                    "accuracy": score.accuracy.estimate,
                    "accuracy_low": score.accuracy.low,
                    "accuracy_high": score.accuracy.high,
                    "log_loss": score.log_loss.estimate,
                }
                for score in self.scores
                if self.shown
            ]
        }
