"""The gallery of answers: each photo with its label, its confidence and every member's vote, in one HTML file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ensemble_minerals.ensemble.rejection import IN_WORDS
from ensemble_minerals.prediction.advice import SURE
from ensemble_minerals.prediction.table import Predictions
from ensemble_minerals.reports.page import thumbnails, write_page
from ensemble_minerals.system.plural import listed

FEW = 200
"""Up to this number, photos are shown large."""

MANY = 1000
"""Above this number, photos are shown small, so that the page can still be opened."""

_SIDE, _SIDE_OF_MANY, _SIDE_OF_VERY_MANY = 360, 220, 110
_GUESSES = 3


@dataclass(frozen=True)
class GalleryVote:
    """The vote of one member.

    Attributes:
        member: Name of the member.
        label: The class that it finds most probable.
        probability: What it gives that class.
        agrees: Whether it is the answer of the ensemble.
    """

    member: str
    label: str
    probability: float
    agrees: bool


@dataclass(frozen=True)
class GalleryEntry:
    """An answered photo.

    Attributes:
        number: Position among the inputs, from 1.
        folder: Path without the name.
        name: Name of the file.
        thumbnail: As a ``data:`` address; empty if the photo can no longer be read.
        label: The answer, or that the photo shows none of the classes.
        group: Group of the answer, empty where the group is the class itself.
        confidence: Probability of the answer.
        guesses: The most probable classes with their probabilities, the answer first.
        votes: Of each member.
        agreeing: Number of members that give the same answer.
        given: The label that came with the photo; empty where none did.
        unsure: Whether the answer is less than `SURE`, or the photo shows none of the classes.
        in_set: Classes that cannot be ruled out; None where no sets are wanted.
        refused: Whether the photo shows none of the classes.
        typicality: Share of the photos of the fit that are as strange; None where the model cannot tell.
        with_evidence: Answer and probability with the evidence; None where no class fits it.
        remarks: What is amiss with the evidence, and what to test next.
    """

    number: int
    folder: str
    name: str
    thumbnail: str
    label: str
    group: str
    confidence: float
    guesses: tuple[tuple[str, float], ...]
    votes: tuple[GalleryVote, ...]
    agreeing: int
    given: str
    unsure: bool
    in_set: tuple[str, ...] | None
    refused: bool = False
    typicality: float | None = None
    with_evidence: tuple[str, float] | None = None
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ClassCount:
    """The number of photos that were answered with a class, and the mean confidence; None for none of the classes."""

    label: str
    group: str
    photos: int
    confidence: float | None


def write_gallery(
    predictions: Predictions,
    file: Path,
    *,
    title: str = "Answers",
    source: str = "",
    synthetic: bool = False,
    n_threads: int = 1,
    given: Sequence[str] = (),
) -> Path:
    """Write the gallery as one self-contained page.

    Args:
        predictions: What to show.
        file: Where the page goes.
        title: Heading.
        source: Who answered, for instance the path of the bundle.
        synthetic: Whether the ensemble was trained on the demonstration set, so that the page says so.
        n_threads: Threads that make thumbnails.
        given: Of each photo the label that came with it, empty where none did; () where none is known.

    Raises:
        UserError: If the file cannot be written.
    """
    answered = np.flatnonzero(predictions.answered)
    unreadable = [
        (predictions.paths[row], predictions.reasons[row]) for row in np.flatnonzero(~predictions.answered)
    ]
    return write_page(
        file,
        "gallery.html.j2",
        title=title,
        source=source,
        synthetic=synthetic,
        total=len(predictions),
        classes=count_by_class(predictions),
        n_answered=len(answered),
        n_members=len(predictions.members),
        not_asked=predictions.not_asked,
        has_evidence=predictions.evidence is not None,
        level=predictions.level,
        listed=listed,
        few=FEW,
        rejects=any(predictions.typicality_of(row) is not None for row in answered.tolist()),
        sure=SURE,
        has_given=any(given),
        unreadable=unreadable,
        entries=_entries(predictions, answered.tolist(), n_threads, given or [""] * len(predictions)),
    )


def count_by_class(predictions: Predictions) -> list[ClassCount]:
    """Answered photos by class, the most frequent first, then those of no class; what has no photos is left out."""
    refused = predictions.refused
    rows = np.flatnonzero(predictions.answered & ~refused)
    best = predictions.proba[rows].argmax(axis=1)
    top = predictions.proba[rows, best]
    counts = [
        ClassCount(
            predictions.classes[position],
            _group_name(predictions, position),
            number,
            float(top[best == position].mean()),
        )
        for position, number in Counter(best.tolist()).items()
    ]
    none = [ClassCount(IN_WORDS, "", int(refused.sum()), None)] if refused.any() else []
    return sorted(counts, key=lambda entry: (-entry.photos, entry.label)) + none


def _entries(
    predictions: Predictions, rows: list[int], n_threads: int, given: Sequence[str]
) -> Iterator[GalleryEntry]:
    side = _SIDE if len(rows) <= FEW else _SIDE_OF_MANY if len(rows) <= MANY else _SIDE_OF_VERY_MANY
    addresses = thumbnails([predictions.paths[row] for row in rows], side=side, n_threads=n_threads)
    for row, thumbnail in zip(rows, addresses, strict=True):
        guesses = predictions.top(row, _GUESSES)
        label, confidence = guesses[0]
        votes = tuple(
            GalleryVote(member, choice, share, choice == label)
            for member, choice, share in predictions.votes(row)
        )
        path = predictions.paths[row]
        folder = path.parent.as_posix()
        yield GalleryEntry(
            number=row + 1,
            folder="" if folder == "." else folder.rstrip("/") + "/",
            name=path.name,
            thumbnail=thumbnail,
            label=IN_WORDS if predictions.refused[row] else label,
            group=_group_name(predictions, predictions.classes.index(label)),
            confidence=confidence,
            guesses=tuple(guesses),
            votes=votes,
            agreeing=sum(vote.agrees for vote in votes),
            given=given[row],
            unsure=confidence < SURE or bool(predictions.refused[row]),
            in_set=None if predictions.sets is None else predictions.set_of(row),
            refused=bool(predictions.refused[row]),
            typicality=predictions.typicality_of(row),
            with_evidence=None if predictions.evidence is None else predictions.top_with_evidence(row),
            remarks=predictions.remarks(row),
        )


def _group_name(predictions: Predictions, position: int) -> str:
    taxonomy = predictions.taxonomy
    name = taxonomy.group_names[taxonomy.group_of()[position]]
    return "" if name == predictions.classes[position] else name
