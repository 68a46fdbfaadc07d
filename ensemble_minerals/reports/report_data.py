"""What a report is made of: answers, and what is known of the ensemble and its photos beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.bundle.bundle import Bundle
from ensemble_minerals.config.properties import Properties
from ensemble_minerals.data.manifest import Manifest
from ensemble_minerals.ensemble.combination import Combination
from ensemble_minerals.evaluation.answers import Answers
from ensemble_minerals.evaluation.class_analysis import ClassSheet, class_sheets
from ensemble_minerals.evaluation.confidence import Abstention, assess_abstention
from ensemble_minerals.evaluation.costs import Cost, member_costs
from ensemble_minerals.evaluation.intervals import GroupBootstrap
from ensemble_minerals.evaluation.learning_curve import LearningCurve
from ensemble_minerals.evaluation.photo_measures import PhotoMeasures
from ensemble_minerals.evaluation.score_table import Score, score_table
from ensemble_minerals.evaluation.splits import SplitFigures, split_figures
from ensemble_minerals.evaluation.strangers import StrangerFigures, stranger_figures
from ensemble_minerals.evaluation.suspects import LabelSuspects, suspect_labels
from ensemble_minerals.evaluation.training_curves import Logs
from ensemble_minerals.prediction.random_split import RandomSplit
from ensemble_minerals.prediction.scored_rows import ScoredRows


@dataclass(frozen=True)
class ReportHeader:
    """What was measured on what.

    Attributes:
        bundle: Name of the bundle.
        data: Name of the folder with the photos.
        data_digest: Of the photos that were answered.
        fit_digest: Of the photos of the fit.
        kind: Whether the answers are those of the fit or for another folder.
        source: Where the answers come from, in words.
        notes: What the user should know.
        failures: Members that failed in a fold: ``member``, ``fold`` and ``reason``.
        demonstration: Whether the ensemble was trained on the demonstration set.
        files: Number of files.
        rows: Number of answered photos.
        row_groups: Number of their row groups.
        classes: Number of classes.
        folds: Number of folds of the fit.
        members: Number of members.
        seed: Of the fit.
        chosen: The way in which the members are combined.
        combined: The same in words.
        temperature: Of the final ensemble.
        versions: Of the packages that the fit used.
    """

    bundle: str
    data: str
    data_digest: str
    fit_digest: str
    kind: Literal["out_of_fold", "labeled_folder"]
    source: str
    notes: tuple[str, ...]
    failures: tuple[Mapping[str, Any], ...]
    demonstration: bool
    files: int
    rows: int
    row_groups: int
    classes: int
    folds: int
    members: int
    seed: int
    chosen: str
    combined: str
    temperature: float
    versions: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class ReportData:
    """All that the sections of a report are computed from. What several sections need is computed once, here.

    Attributes:
        header: What was measured on what.
        answers: Rows with known classes, answered by models that never saw them.
        manifest: Of the photos, with row groups.
        measures: Of the answered photos.
        splits: What several ways to measure say of the ensemble.
        combination: Of the final ensemble.
        temperature: Of the final ensemble.
        costs: Of each member; may lack some.
        cost: Of all members together.
        learning_curve: None where the fit made none.
        logs: Epochs of trained networks; empty where none was trained.
        calibration: Rows to calibrate prediction sets on; the answered rows themselves, across folds, if None.
        strangers: How well strangers are told; None where the bundle cannot tell.
        properties: Of the classes, which a hand can test; None where there are none.
        corrections: What people's corrections did, counted; empty where there were none.
        corrected_later: Whether the fit did not know of them.
        seed: Of the bootstrap.
    """

    header: ReportHeader
    answers: Answers
    manifest: Manifest
    measures: PhotoMeasures
    splits: SplitFigures
    combination: Combination
    temperature: float
    costs: Mapping[str, Cost] = field(default_factory=dict)
    cost: Cost = field(default_factory=Cost)
    learning_curve: LearningCurve | None = None
    logs: Logs = field(default_factory=dict)
    calibration: Answers | None = None
    strangers: StrangerFigures | None = None
    properties: Properties | None = None
    corrections: Mapping[str, Any] = field(default_factory=dict)
    corrected_later: bool = False
    seed: int = 0

    @cached_property
    def bootstrap(self) -> GroupBootstrap:
        """Draws of the row groups; every interval of a report sees the same ones."""
        return GroupBootstrap(self.answers.groups, seed=self.seed)

    @cached_property
    def scores(self) -> dict[str, Score]:
        """The scores of the ensemble by name."""
        return score_table(self.answers, self.bootstrap)

    @cached_property
    def sheets(self) -> tuple[ClassSheet, ...]:
        """The photos class by class."""
        return class_sheets(self.answers)

    @cached_property
    def abstention(self) -> Abstention:
        """What abstaining brings."""
        return assess_abstention(self.answers)

    @cached_property
    def suspects(self) -> LabelSuspects:
        """The suspected labels."""
        return suspect_labels(self.answers)


_COMBINED = {
    "best_single": "the best single member",
    "uniform": "the plain mean of all members",
    "calibrated": "the plain mean of all members, each calibrated before",
    "greedy": "a weighted mean, members chosen greedily",
    "log_pool": "a weighted product of the members' probabilities",
    "logistic": "a logistic regression over the members' log-probabilities",
}


def collect_report_data(
    bundle: Bundle,
    scored: ScoredRows,
    measures: PhotoMeasures,
    own: ScoredRows,
    random_split: RandomSplit,
    strangers: tuple[str, NDArray[np.float64]] | None = None,
) -> ReportData:
    """Collect what a report needs from a bundle and its answers.

    Args:
        bundle: What answered.
        scored: Its answers.
        measures: Of the answered photos.
        own: Answers to the fit's own rows; prediction sets for others are calibrated on them.
        random_split: Answers to the fit's own rows in a random split.
        strangers: Name of a folder of photos that show none of the classes, and their typicality.
    """
    metrics = bundle.metrics
    curve = metrics.get("learning_curve")
    costs, cost = member_costs(
        bundle.fitted_ensemble.members, metrics.get("source_costs", {}), metrics.get("member_seconds", {})
    )
    return ReportData(
        header=_header(bundle, scored),
        answers=scored.answers,
        manifest=scored.manifest,
        measures=measures,
        combination=bundle.fitted_ensemble.combination,
        temperature=bundle.fitted_ensemble.temperature,
        costs=costs,
        cost=cost,
        learning_curve=None if curve is None else LearningCurve.read(curve),
        logs=bundle.logs,
        calibration=None if scored.kind == own.kind else own.answers,
        splits=split_figures(
            own.answers,
            metrics,
            random_split.proba
            if random_split.proba is None or own.kept is None
            else random_split.proba[own.kept],
            random_split.reason,
            None if scored.kind == own.kind else scored.answers,
            seed=bundle.config.seed,
        ),
        strangers=_strangers(bundle, scored, strangers),
        properties=bundle.properties,
        corrections=scored.corrections
        or (bundle.info.get("corrections") or {} if scored.kind == "out_of_fold" else {}),
        corrected_later=scored.corrections is not None,
        seed=bundle.config.seed,
    )


def _strangers(
    bundle: Bundle, scored: ScoredRows, strangers: tuple[str, NDArray[np.float64]] | None
) -> StrangerFigures | None:
    if bundle.rejection is None or scored.typicality is None:
        return None
    return stranger_figures(
        scored.typicality,
        bundle.rejection.refuse,
        bundle.metrics.get("rejection", {}).get("left_out", {}),
        strangers,
        GroupBootstrap(scored.answers.groups, seed=bundle.config.seed),
    )


def _header(bundle: Bundle, scored: ScoredRows) -> ReportHeader:
    info, answers = bundle.info, scored.answers
    chosen = bundle.metrics["meta"]["chosen"]
    return ReportHeader(
        bundle=bundle.path.name,
        data=info["data"]["root"] if scored.kind == "out_of_fold" else scored.manifest.root.resolve().name,
        data_digest=scored.manifest.digest,
        fit_digest=info["data"]["digest"],
        kind=scored.kind,
        source=scored.source,
        notes=(*scored.notes, *info.get("notes", [])),
        failures=tuple(info.get("failures", [])),
        demonstration=bool(info.get("demonstration")),
        files=len(scored.manifest),
        rows=len(answers),
        row_groups=answers.n_groups,
        classes=len(answers.classes),
        folds=bundle.config.folds.n_splits,
        members=len(answers.members),
        seed=bundle.config.seed,
        chosen=chosen,
        combined=_COMBINED.get(chosen, chosen),
        temperature=bundle.fitted_ensemble.temperature,
        versions=info["packages"],
    )
