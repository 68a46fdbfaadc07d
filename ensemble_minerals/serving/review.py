"""The state of a review: what there is to look at, and what was decided about it."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ensemble_minerals.data.corrections import (
    LABELS,
    PAIRS,
    Corrections,
    Decision,
    Subject,
    append_decisions,
    check_decision,
)
from ensemble_minerals.data.decoding import decode, photo_digest
from ensemble_minerals.data.labels import nearest, normal_label
from ensemble_minerals.errors import ImageError
from ensemble_minerals.prediction.review_queue import ReviewItem
from ensemble_minerals.serving.answers import Vote
from ensemble_minerals.serving.problems import ProblemError
from ensemble_minerals.serving.review_answers import (
    DecisionAnswer,
    GivenDecision,
    ItemAnswer,
    ItemSummary,
    NeighborAnswer,
    ReviewPhoto,
)
from ensemble_minerals.system.runtime import DEFAULT_LIMITS, DecodeLimits

SIDES = {"small": 256, "large": 1280}
"""Pixels of a photo's longer side, as it is shown."""

_KEPT = 512
_TICK = timedelta(milliseconds=1)


@dataclass(frozen=True, eq=False)
class KnownPhoto:
    """A photo that can be looked at.

    Attributes:
        file: Where it is.
        path: As people know it.
        labels: Of all copies, before the decisions of the review; none for a new photo.
        proba: Answer to it, shape (n_classes,); None where there is none.
        votes: Of the members.
        typicality: None where it is not known.
    """

    file: Path
    path: str
    labels: tuple[str, ...]
    proba: NDArray[np.float64] | None = None
    votes: tuple[Vote, ...] = ()
    typicality: float | None = None


@dataclass(eq=False)
class Review:
    """Photos to look at, and the file of decisions about them. Several threads may use it.

    Attributes:
        classes: That a photo may be labeled with.
        items: In their order.
        photos: All that can be shown, by digest.
        neighbors: The photos of the fit like a photo, by its digest.
        file: Where decisions are added.
        corrections: All decisions that were made so far, those of other files included.
        new: Whether the photos of the items are new, without a label.
        limits: Sizes of the photos that are decoded.
    """

    classes: tuple[str, ...]
    items: Sequence[ReviewItem]
    photos: Mapping[str, KnownPhoto]
    neighbors: Callable[[str], Sequence[NeighborAnswer]]
    file: Path
    corrections: Corrections
    new: bool = False
    limits: DecodeLimits = DEFAULT_LIMITS
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.shown = lru_cache(_KEPT)(self._shown)
        self.items_of: dict[str, list[int]] = {}
        for number, item in enumerate(self.items):
            for photo in item.photos:
                self.items_of.setdefault(photo, []).append(number)

    def labels(self, photo: str) -> tuple[str, ...]:
        """The labels of a photo by now; none where it is left out, or new."""
        decision = self.corrections.standing.get((photo,))
        if decision is None:
            return self.photos[photo].labels
        return (decision.label,) if decision.action in LABELS else ()

    def is_done(self, item: ReviewItem) -> bool:
        """Whether an item needs no decision any more."""
        standing = self.corrections.standing
        decided = [standing.get((photo,)) for photo in item.photos]
        if len(item.photos) == 1:
            return decided[0] is not None
        left_out = any(one is not None and one.action == "leave_out" for one in decided)
        pair = standing.get(tuple(sorted(item.photos)))
        if item.kind == "conflict":
            one_label = len({label for photo in item.photos for label in self.labels(photo)}) == 1
            return left_out or one_label or (pair is not None and pair.action == "not_same_object")
        return left_out or pair is not None

    def done(self) -> list[int]:
        """Numbers of the items that are done."""
        return [number for number, item in enumerate(self.items) if self.is_done(item)]

    def summary(self, number: int) -> ItemSummary:
        """An item in the list."""
        item = self.items[number]
        return ItemSummary(item=number, kind=item.kind, photos=list(item.photos), done=self.is_done(item))

    def item(self, number: int) -> ItemAnswer:
        """All that is shown of an item.

        Raises:
            ProblemError: If there is none of this number.
        """
        if not 0 <= number < len(self.items):
            raise ProblemError(404, f"there is no item {number}; there are {len(self.items)}")
        item = self.items[number]
        pair = self.corrections.standing.get(tuple(sorted(item.photos))) if len(item.photos) == 2 else None
        return ItemAnswer(
            **self.summary(number).model_dump(),
            reason=item.reason,
            decision=None if pair is None else _answer(pair),
            shown=[self._photo(photo) for photo in item.photos],
        )

    def known(self, photo: str) -> KnownPhoto:
        """A photo by its digest.

        Raises:
            ProblemError: If it is none of those that can be looked at.
        """
        if photo not in self.photos:
            raise ProblemError(404, "no such photo in this review")
        return self.photos[photo]

    def content(self, photo: str) -> bytes:
        """The bytes of a photo's file.

        Raises:
            ProblemError: If it is unknown, gone, or another photo by now.
        """
        known = self.known(photo)
        try:
            content = known.file.read_bytes()
        except OSError as error:
            raise ProblemError(404, f"{known.path} cannot be read any more: {error.strerror}") from error
        if photo_digest(content) != photo:
            raise ProblemError(409, f"{known.path} is another photo by now; start the review again")
        return content

    def decide(self, who: str, given: Sequence[GivenDecision]) -> None:
        """Add decisions of a person to the file.

        Raises:
            ProblemError: If one makes no sense; then none is added.
            UserError: If the file cannot be written.
        """
        with self._lock:
            when = self._now()
            decisions = [self._decision(" ".join(who.split()), when, one) for one in given]
            wrong = [words for one in decisions for words in (*check_decision(one), *self._amiss(one))]
            if wrong:
                raise ProblemError(422, "; ".join(wrong))
            self._add(decisions)

    def undo(self, who: str) -> int | None:
        """Take back what a person decided last, all of one key; the number of the item that it was about.

        Raises:
            UserError: If the file cannot be written.
        """
        name = " ".join(who.split())
        with self._lock:
            mine = [people[name] for people in self.corrections.by_person.values() if name in people]
            mine = [one for one in mine if one.photo in self.items_of]
            if not mine:
                return None
            last = max(one.when for one in mine)
            undone = [one for one in mine if one.when == last]
            when = self._now()
            self._add([replace(one, action="undo", label="", when=when) for one in undone])
            return self._item_about([one.subject for one in undone])

    def _item_about(self, subjects: Sequence[Subject]) -> int:
        photos = {photo for subject in subjects for photo in subject}
        candidates = [number for photo in photos for number in self.items_of.get(photo, ())]
        return max(candidates, key=lambda number: (len(photos & set(self.items[number].photos)), -number))

    def _add(self, decisions: Sequence[Decision]) -> None:
        append_decisions(self.file, decisions)
        self.corrections = self.corrections.followed_by(decisions)

    def _now(self) -> datetime:
        """This time in milliseconds, later than every decision."""
        now = datetime.now(UTC)
        now = now.replace(microsecond=now.microsecond // 1000 * 1000)
        decisions = self.corrections.decisions
        return max(now, decisions[-1].when + _TICK) if decisions else now

    def _decision(self, who: str, when: datetime, given: GivenDecision) -> Decision:
        photo, other = self.known(given.photo), self.known(given.other) if given.other else None
        label = normal_label(given.label)
        if given.action == "keep" and not given.other:
            label = " / ".join(photo.labels)
        path = str(photo.file.absolute()) if given.action == "add" else photo.path
        return Decision(
            given.photo,
            given.action,
            who,
            when,
            label,
            given.other,
            path,
            "" if other is None else other.path,
        )

    def _amiss(self, decision: Decision) -> list[str]:
        """What is wrong with a decision about these photos."""
        labels = self.photos[decision.photo].labels
        if decision.action == "undo":
            return ["undo has an address of its own"]
        if decision.action in PAIRS and decision.label:
            return ["a pair has no label"]
        if decision.action == "keep" and len(labels) != 1:
            return [
                "the photo has no label, or several; say which it shows (relabel, or add for a new photo)"
            ]
        if (decision.action == "add") != self.new and decision.action in LABELS:
            return ["new photos are added, all others are kept or relabeled"]
        if decision.action in LABELS and decision.label not in self.classes:
            return [f"{decision.label!r} is no class{nearest(decision.label, self.classes)}"]
        return []

    def _photo(self, digest: str) -> ReviewPhoto:
        known = self.photos[digest]
        people = self.corrections.by_person.get((digest,), {})
        decision = self.corrections.standing.get((digest,))
        return ReviewPhoto(
            photo=digest,
            path=known.path,
            labels=list(
                self.labels(digest) if decision is None or decision.action in LABELS else known.labels
            ),
            answer=None if known.proba is None else self.classes[int(known.proba.argmax())],
            probabilities={}
            if known.proba is None
            else dict(zip(self.classes, known.proba.tolist(), strict=True)),
            typicality=known.typicality,
            votes=list(known.votes),
            decision=None if decision is None else _answer(decision),
            said=[_answer(one) for one in people.values()] if len(people) > 1 else [],
            neighbors=list(self.neighbors(digest)),
        )

    def _shown(self, photo: str, side: int) -> bytes:
        try:
            pixels = decode(self.content(photo), at_least=side, limits=self.limits).pixels
        except ImageError as error:
            raise ProblemError(422, f"{self.photos[photo].path}: {error}") from error
        image = Image.fromarray(pixels)
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
        file = io.BytesIO()
        image.save(file, "JPEG", quality=88)
        return file.getvalue()


def _answer(decision: Decision) -> DecisionAnswer:
    return DecisionAnswer(
        action=decision.action, label=decision.label, who=decision.who, when=decision.when.isoformat()
    )
