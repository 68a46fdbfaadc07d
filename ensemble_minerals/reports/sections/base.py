"""What every section of the report offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

from ensemble_minerals.reports.report_data import ReportData

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Row = Mapping[str, Any]
"""A row of a table, its cells by name."""


class Section(ABC):
    """A computed section. Its template is ``templates/sections/KEY.html.j2``, where it is called ``section``.

    Attributes:
        key: Name of the section, unique: its anchor in the page and the name of its template.
        title: Short name for the table of contents.
    """

    key: ClassVar[str]
    title: ClassVar[str]

    @classmethod
    @abstractmethod
    def compute(cls, data: ReportData) -> Self:
        """Compute the section."""

    @property
    @abstractmethod
    def heading(self) -> str:
        """What was found, in one sentence."""

    @property
    def shown(self) -> bool:
        """Whether the page has this section."""
        return True

    def findings(self) -> dict[str, str]:
        """The sentences that ``report.json`` lists under ``findings``."""
        return {self.key: self.heading} if self.shown else {}

    def as_json(self) -> dict[str, Any]:
        """Entries of ``report.json`` by name, as JSON values."""
        return {}

    def figures(self) -> dict[str, Figure]:
        """Figures by name; the name is unique in the report."""
        return {}

    def tables(self) -> dict[str, Iterable[Row]]:
        """Tables by name; the name is unique in the report. One without rows is not written."""
        return {}

    def shown_paths(self) -> Iterator[str]:
        """Paths of the photos that the section shows, in order; one that is shown twice comes twice."""
        return iter(())
