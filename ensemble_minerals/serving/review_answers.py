"""What the review's interface takes and answers, as typed JSON."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from ensemble_minerals.data.corrections import LONGEST_NAME
from ensemble_minerals.prediction.review_queue import Kind
from ensemble_minerals.serving.answers import Vote

MOST_DECISIONS = 8
"""Decisions of one key, at most: one for each photo that it is about."""


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class DecisionAnswer(_Answer):
    """A decision that somebody made.

    Attributes:
        action: See `data.corrections`.
        when: ISO 8601.
    """

    action: str
    label: str
    who: str
    when: str


class NeighborAnswer(_Answer):
    """A photo of the fit that is like the one that is looked at.

    Attributes:
        similarity: Cosine of the embeddings.
        same_object: Whether both are taken for photos of one object.
    """

    photo: str
    path: str
    label: str
    similarity: float
    same_object: bool


class ReviewPhoto(_Answer):
    """A photo that is looked at.

    Attributes:
        photo: Digest of its content.
        labels: Those that it has now: one, several where copies contradict each other, none for a new photo.
        answer: The most probable class, by models that did not learn from the photo; None where none has answered it.
        decision: The one that counts.
        said: All decisions, where people contradict each other.
    """

    photo: str
    path: str
    labels: list[str]
    answer: str | None = None
    probabilities: dict[str, float] = Field(default_factory=dict)
    typicality: float | None = None
    votes: list[Vote] = Field(default_factory=list)
    decision: DecisionAnswer | None = None
    said: list[DecisionAnswer] = Field(default_factory=list)
    neighbors: list[NeighborAnswer] = Field(default_factory=list)


class ItemSummary(_Answer):
    """Something to look at, in the list."""

    item: int
    kind: Kind
    photos: list[str]
    done: bool


class ItemAnswer(ItemSummary):
    """Something to look at.

    Attributes:
        reason: Why.
        decision: On the pair, where it is one.
    """

    reason: str
    decision: DecisionAnswer | None = None
    shown: list[ReviewPhoto]


class QueueAnswer(_Answer):
    """All that there is to look at, in its order.

    Attributes:
        new: Whether they are new photos that have no label yet.
        corrections: Name of the file that holds the decisions.
        disagreements: Where people contradict each other.
    """

    name: str
    classes: list[str]
    new: bool
    corrections: str
    heat_maps: bool
    items: list[ItemSummary]
    disagreements: list[str]


class GivenDecision(_Answer):
    """What a person decides about a photo, or about two."""

    photo: str
    action: str
    label: str = ""
    other: str = ""


class DecideRequest(_Answer):
    """Decisions of one person, made at once."""

    who: str = Field(max_length=LONGEST_NAME)
    decisions: list[GivenDecision] = Field(min_length=1, max_length=MOST_DECISIONS)


class UndoRequest(_Answer):
    """Whose last decision is taken back."""

    who: str = Field(max_length=LONGEST_NAME)


class ProgressAnswer(_Answer):
    """What is done by now.

    Attributes:
        done: Numbers of the items that need no decision any more.
        item: The one that an undone decision was about; None where nothing was left to undo.
        disagreements: Where people contradict each other.
    """

    done: list[int]
    item: int | None = None
    disagreements: list[str]
