"""What in the data deserves a second look."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

from ensemble_minerals.evaluation.metrics import jsonable
from ensemble_minerals.evaluation.suspects import DoubtfulFiles, FileCluster, LabelSuspects, doubtful_files
from ensemble_minerals.reports.report_data import ReportData
from ensemble_minerals.reports.sections.base import Row, Section
from ensemble_minerals.reports.tables import photo_cells
from ensemble_minerals.reports.wording import capitalized, count, listed


@dataclass(frozen=True)
class DoubtfulData(Section):
    """Suspected labels and doubtful files.

    Attributes:
        labels: Suspected labels.
        files: Doubtful files.
        n_files: Number of all files.
        n_rows: Number of answered photos.
    """

    key: ClassVar[str] = "data"
    title: ClassVar[str] = "Data to look at"

    most_suspects: ClassVar[int] = 18
    """Suspected labels that the page shows; the CSV file holds all."""

    most_clusters: ClassVar[int] = 12
    """Clusters of files of each kind that the page shows; the CSV files hold all."""

    most_files: ClassVar[int] = 6
    """Files of a cluster that the page shows."""

    labels: LabelSuspects
    files: DoubtfulFiles
    n_files: int
    n_rows: int

    @classmethod
    def compute(cls, data: ReportData) -> Self:
        """Find doubtful files; `data` has the labels already."""
        return cls(data.suspects, doubtful_files(data.manifest), len(data.manifest), len(data.answers))

    @property
    def heading(self) -> str:
        """How much of each kind there is."""
        kinds = [
            (len(self.labels.suspects), "label looks wrong", "labels look wrong"),
            (len(self.files.duplicates), "object on several photos", "objects on several photos"),
            (len(self.files.conflicts), "photo under two classes", "photos under two classes"),
            (len(self.files.unreadable), "unreadable file", "unreadable files"),
        ]
        named = [count(number, one, many) for number, one, many in kinds if number]
        return capitalized(listed(named)) if named else "Nothing in the data asks for a second look"

    def as_json(self) -> dict[str, Any]:
        """Labels and files."""
        return {"labels": jsonable(self.labels), "files": jsonable(self.files)}

    def tables(self) -> dict[str, Iterable[Row]]:
        """A table of each kind."""
        return {
            "suspected_labels": [photo_cells(suspect) for suspect in self.labels.suspects],
            "duplicates": _rows(self.files.duplicates),
            "conflicts": _rows(self.files.conflicts),
            "unreadable": [asdict(file) for file in self.files.unreadable],
        }

    def shown_paths(self) -> Iterator[str]:
        """The first suspects, and the first files of the first clusters."""
        yield from (suspect.path for suspect in self.labels.suspects[: self.most_suspects])
        for clusters in (self.files.conflicts, self.files.duplicates):
            for cluster in clusters[: self.most_clusters]:
                yield from (file.path for file in cluster.files[: self.most_files])


def _rows(clusters: Sequence[FileCluster]) -> Iterator[dict[str, Any]]:
    for cluster in clusters:
        for file in cluster.files:
            yield {"group": cluster.group, **asdict(file), "exact": cluster.exact}
