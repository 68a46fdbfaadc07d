"""The sections of the report, in the order of the page. A new section is its file, its template and a line here."""

from __future__ import annotations

from ensemble_minerals.reports.sections import (
    abstention,
    classes,
    confusion,
    corrections,
    data,
    evidence,
    learning_curve,
    members,
    overview,
    pairs,
    reliability,
    scores,
    sheets,
    slices,
    splits,
    strangers,
    training,
)
from ensemble_minerals.reports.sections.base import Section

SECTIONS: list[type[Section]] = [
    overview.Overview,
    scores.Scores,
    splits.Splits,
    classes.Classes,
    confusion.Confusion,
    pairs.Pairs,
    sheets.Sheets,
    reliability.ReliabilitySection,
    abstention.AbstentionSection,
    strangers.Strangers,
    evidence.Evidence,
    data.DoubtfulData,
    corrections.CorrectionsSection,
    slices.Slices,
    members.Members,
    learning_curve.LearningCurveSection,
    training.Training,
]
