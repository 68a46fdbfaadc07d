"""What the interface answers, as typed JSON."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

from ensemble_minerals.prediction.table import Predictions


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Vote(_Answer):
    """The most probable class of one member."""

    member: str
    label: str
    probability: float


class EvidenceAnswer(_Answer):
    """The answer with evidence beside the photo.

    Attributes:
        label: None where no class fits the evidence.
        note: What does not go together; empty where nothing is amiss.
    """

    label: str | None
    confidence: float | None
    probabilities: dict[str, float]
    note: str


class PhotoAnswer(_Answer):
    """The answer to one photo.

    Attributes:
        name: As it was sent.
        status: Whether it could be read.
        reason: Why not, as in the table of `predict`.
        typicality: Share of the photos of the fit that are as strange; None where the model cannot tell.
        verdict: ``answered`` or ``none_of_these``; None where the model cannot tell.
        set: Classes that cannot be ruled out, where sets were asked for.
        advice: What to test next, where advice was asked for.
    """

    name: str
    status: str
    reason: str = ""
    label: str | None = None
    group: str | None = None
    confidence: float | None = None
    probabilities: dict[str, float] = Field(default_factory=dict)
    typicality: float | None = None
    verdict: str | None = None
    set: list[str] | None = None
    votes: list[Vote] = Field(default_factory=list)
    with_evidence: EvidenceAnswer | None = None
    advice: str | None = None


class PredictAnswer(_Answer):
    """Answers to the photos of a request, in their order.

    Attributes:
        model: Digest of the model that answered.
    """

    model: str
    answers: list[PhotoAnswer]


class WeighRequest(_Answer):
    """Evidence for a photo that was answered before.

    Attributes:
        probabilities: Of the photo, by class.
        evidence: Readings by property.
    """

    probabilities: dict[str, float]
    evidence: dict[str, str | float]


class WeighAnswer(_Answer):
    """What the evidence makes of the answer, and what to test next."""

    with_evidence: EvidenceAnswer | None
    advice: str


class PropertyAnswer(_Answer):
    """A property that a hand can test.

    Attributes:
        unit: Of a number.
        scale: Least and greatest number.
        values: Words that may be read.
        how: What to do.
    """

    name: str
    unit: str | None = None
    scale: tuple[float, float] | None = None
    values: list[str] | None = None
    how: str


class ModelAnswer(_Answer):
    """What the model is.

    Attributes:
        digest: Of its index.
        groups: Of the classes.
        properties: What a hand can test.
        demonstration: Whether it was fitted on photos drawn by code.
        heat_maps: Whether it can show what speaks for an answer.
        report: Whether its report can be read here.
        card: Whether its model card can be read here.
        keeps: Whether photos and answers are kept.
        limits: Most photos and bytes of a request.
    """

    name: str
    kind: str
    version: str
    digest: str
    classes: list[str]
    groups: dict[str, str]
    members: list[str]
    properties: list[PropertyAnswer]
    demonstration: bool
    heat_maps: bool
    report: bool
    card: bool
    keeps: bool
    limits: dict[str, int]


def photo_answers(found: Predictions) -> list[PhotoAnswer]:
    """Predictions as answers."""
    return [_photo(found, row, record) for row, record in enumerate(found.records())]


def _photo(found: Predictions, row: int, record: Mapping[str, object]) -> PhotoAnswer:
    name = str(found.paths[row])
    if not found.answered[row]:
        return PhotoAnswer(name=name, status="unreadable", reason=found.reasons[row])
    return PhotoAnswer(
        name=name,
        status="ok",
        label=found.top(row)[0][0],
        group=str(record["group"]),
        confidence=found.top(row)[0][1],
        probabilities=dict(zip(found.classes, found.proba[row].tolist(), strict=True)),
        typicality=found.typicality_of(row),
        verdict=found.verdict(row),
        set=None if found.sets is None else list(found.set_of(row)),
        votes=[
            Vote(member=member, label=label, probability=share) for member, label, share in found.votes(row)
        ],
        with_evidence=evidence_answer(found, row),
        advice=None if found.advice is None else found.advice[row],
    )


def evidence_answer(found: Predictions, row: int) -> EvidenceAnswer | None:
    """The answer with evidence; None where there is none."""
    if found.evidence is None:
        return None
    label, confidence = found.top_with_evidence(row) or (None, None)
    shares = dict(zip(found.classes, found.evidence.proba[row].tolist(), strict=True))
    return EvidenceAnswer(
        label=label, confidence=confidence, probabilities=shares, note=found.evidence.notes[row]
    )
