"""How well photos that show none of the classes are told from the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from ensemble_minerals.evaluation.answers import AnsweredPhoto
from ensemble_minerals.evaluation.metrics import jsonable
from ensemble_minerals.evaluation.strangers import LeftOutClass, StrangerFigures
from ensemble_minerals.reports.report_data import ReportData
from ensemble_minerals.reports.sections.base import Row, Section
from ensemble_minerals.reports.tables import photo_cells
from ensemble_minerals.reports.wording import is_known, show


@dataclass(frozen=True)
class Strangers(Section):
    """What is told from the photos of the fit, and which of them are strange themselves.

    Attributes:
        told: None where the bundle cannot tell.
        least_typical: The least typical photos with their typicality, the least first.
    """

    key: ClassVar[str] = "strangers"
    title: ClassVar[str] = "None of these"
    most_shown: ClassVar[int] = 12

    told: StrangerFigures | None
    least_typical: tuple[tuple[AnsweredPhoto, float], ...]

    @classmethod
    def compute(cls, data: ReportData) -> Self:
        """Take the figures, and find the least typical photos."""
        if data.strangers is None:
            return cls(None, ())
        typicality = data.strangers.typicality
        order = np.argsort(typicality, kind="stable")[: cls.most_shown].tolist()
        return cls(data.strangers, tuple((data.answers.photo(row), float(typicality[row])) for row in order))

    @property
    def shown(self) -> bool:
        """Whether the bundle can tell."""
        return self.told is not None

    @property
    def heading(self) -> str:
        """The refused share, and how well strangers are told."""
        told = self.told
        if told is None:
            return "This bundle cannot tell photos that show none of its classes"
        text = f"{show(told.refused.estimate, 'percent')} of the photos are refused as none of these"
        if told.given is not None:
            return f"{text}, and {show(told.given.refused.estimate, 'percent')} of the given strangers"
        if is_known(told.mean_auroc):
            return f"{text}; classes that it did not know are told with an AUROC of {show(told.mean_auroc, 'two')}"
        return text

    @property
    def hardest_first(self) -> list[LeftOutClass]:
        """The classes left out in turn, the lowest AUROC first."""
        left_out = self.told.left_out if self.told else ()
        return sorted(left_out, key=lambda own: (not is_known(own.auroc), own.auroc))

    def as_json(self) -> dict[str, Any]:
        """The figures."""
        if self.told is None:
            return {}
        content = jsonable(self.told)
        del content["typicality"]
        return {"strangers": content}

    def tables(self) -> dict[str, Iterable[Row]]:
        """Classes left out, and the least typical photos."""
        if self.told is None:
            return {}
        return {
            "left_out_classes": [jsonable(own) for own in self.told.left_out],
            "least_typical": [
                {**photo_cells(photo), "typicality": typicality} for photo, typicality in self.least_typical
            ],
        }

    def shown_paths(self) -> Iterator[str]:
        """The least typical photos."""
        yield from (photo.path for photo, _ in self.least_typical)
