"""What people's corrections changed: labels before and after, photos left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from ensemble_minerals.data.correcting import in_words
from ensemble_minerals.data.manifest import Status
from ensemble_minerals.evaluation.answers import AnsweredPhoto
from ensemble_minerals.evaluation.intervals import Interval
from ensemble_minerals.evaluation.metrics import jsonable
from ensemble_minerals.reports.report_data import ReportData
from ensemble_minerals.reports.sections.base import Row, Section
from ensemble_minerals.reports.tables import photo_cells
from ensemble_minerals.reports.wording import capitalized


@dataclass(frozen=True)
class ChangedLabels:
    """Photos of one label that got another.

    Attributes:
        before: Their label in the data.
        after: Their label by corrections.
        photos: How many.
        as_before: How many of them are answered with the label before.
        as_after: How many are answered with the label after.
    """

    before: str
    after: str
    photos: int
    as_before: int
    as_after: int


@dataclass(frozen=True)
class CorrectionEffect:
    """What corrections changed in the out-of-fold figures.

    Attributes:
        accuracy_before: Accuracy of the answers by the labels before.
        accuracy_after: The same by the labels after.
        difference: The second minus the first.
    """

    accuracy_before: Interval
    accuracy_after: Interval
    difference: Interval


@dataclass(frozen=True)
class CorrectionsSection(Section):
    """Corrections of people.

    Attributes:
        counts: See `data.correcting.Corrected`; empty where nobody corrected anything.
        changed: By labels before and after, the most frequent first.
        photos: Photos with another label, each with its label before; the most doubtful first.
        left_out: Path, label and reason of photos that were left out.
        effect: None where no answered photo has another label.
        later: Whether the fit did not know of the corrections.
    """

    key: ClassVar[str] = "corrections"
    title: ClassVar[str] = "Corrections"
    most_shown: ClassVar[int] = 12

    counts: Mapping[str, Any]
    changed: tuple[ChangedLabels, ...]
    photos: tuple[tuple[AnsweredPhoto, str], ...]
    left_out: tuple[tuple[str, str, str], ...]
    effect: CorrectionEffect | None
    later: bool = False

    @classmethod
    def compute(cls, data: ReportData) -> Self:
        """Find the rows whose label was changed, and score the answers by either label."""
        manifest, answers = data.manifest, data.answers
        before = manifest.corrected[answers.out_of_fold.row]
        rows = np.flatnonzero(before != "")
        given = np.array(answers.classes)
        triples = Counter(
            zip(before[rows].tolist(), given[answers.y[rows]].tolist(), given[answers.answer[rows]].tolist(),
                strict=True)
        )  # fmt: skip
        pairs: Counter[tuple[str, str]] = Counter()
        for (old, new, _), number in triples.items():
            pairs[old, new] += number
        changed = tuple(
            ChangedLabels(old, new, number, triples[old, new, old], triples[old, new, new])
            for (old, new), number in pairs.most_common()
        )
        order = rows[np.argsort(answers.given_proba[rows], kind="stable")].tolist()
        left_out = [
            row
            for row in np.flatnonzero(manifest.status == Status.EXCLUDED.value).tolist()
            if str(manifest.reason[row]).startswith("left out by ")
        ]
        columns = (manifest.path, manifest.label, manifest.reason)
        return cls(
            data.corrections,
            changed,
            tuple((answers.photo(row), str(before[row])) for row in order),
            tuple((str(path), str(label), str(why)) for path, label, why in zip(
                *(column[left_out].tolist() for column in columns), strict=True)),
            _effect(data, before) if rows.size else None,
            data.corrected_later,
        )  # fmt: skip

    @property
    def shown(self) -> bool:
        """Whether somebody corrected something."""
        return bool(self.counts)

    @property
    def heading(self) -> str:
        """What the corrections did."""
        return capitalized(in_words(self.counts).partition(": ")[2])

    def as_json(self) -> dict[str, Any]:
        """Counts, changes and figures."""
        if not self.shown:
            return {}
        content = {"counts": self.counts, "changed": self.changed, "effect": self.effect}
        return {"corrections": jsonable(content)}

    def tables(self) -> dict[str, Iterable[Row]]:
        """Photos with another label, and photos left out."""
        if not self.shown:
            return {}
        return {
            "changed_labels": [{"before": before, **photo_cells(photo)} for photo, before in self.photos],
            "left_out_photos": [
                {"path": path, "label": label, "reason": reason} for path, label, reason in self.left_out
            ],
        }

    def shown_paths(self) -> Iterator[str]:
        """The most doubtful of the photos with another label."""
        yield from (photo.path for photo, _ in self.photos[: self.most_shown])


def _effect(data: ReportData, before: np.ndarray[Any, np.dtype[np.str_]]) -> CorrectionEffect:
    answers = data.answers
    answered = np.array(answers.classes)[answers.answer]
    as_before = np.where(before != "", before == answered, answers.right).astype(float)
    as_after = answers.right.astype(float)

    def accuracy(right: np.ndarray[Any, np.dtype[np.float64]]) -> Any:
        return lambda weights: (weights @ right) / weights.sum(axis=-1)

    after, old = accuracy(as_after), accuracy(as_before)
    return CorrectionEffect(
        data.bootstrap.interval(old),
        data.bootstrap.interval(after),
        data.bootstrap.interval(after, minus=old),
    )
