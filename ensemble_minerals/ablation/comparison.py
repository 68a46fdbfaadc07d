"""The arms of an ablation against the full ensemble: effect first, then whether chance explains it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.ablation.arms import FULL, REJECTION, Arm
from ensemble_minerals.ablation.refusal import RefusedPhotos, count_refused
from ensemble_minerals.ablation.run import AblationRun
from ensemble_minerals.evaluation.costs import Cost
from ensemble_minerals.evaluation.intervals import GroupBootstrap, Interval, detectable_difference
from ensemble_minerals.evaluation.metrics import LOWER_IS_BETTER, jsonable, row_log_loss, weighted_metric
from ensemble_minerals.evaluation.significance import (
    CorrectedT,
    McNemar,
    corrected_resampled_t,
    doubt,
    holm,
    mcnemar,
    verdict,
)

SCORES = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "ece")
"""Columns of the table."""

COMPARED = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss")
"""Scores whose paired difference gets an interval."""

TESTED = ("accuracy", "log_loss")
"""Scores that are tested."""

ALPHA = 0.05
POWER = 0.8

Proba = NDArray[np.floating[Any]]
Outcome = Literal["better", "worse", "same", "not significant"]


@dataclass(frozen=True)
class PairedComparison:
    """The full ensemble against one arm; differences are full minus arm.

    Attributes:
        identical: Whether both gave the same answers.
        difference: Of each of `COMPARED`, with an interval over row groups.
        mcnemar: Exact test of the accuracy, one a repeat.
        t: Corrected t test over folds and repeats, of each of `TESTED`.
        p: p-value of each of `TESTED`.
        p_holm: The same, adjusted for the whole table; empty for an arm outside it.
        verdict: Each of `TESTED` in a sentence; empty for an arm outside the table.
    """

    identical: bool
    difference: Mapping[str, Interval]
    mcnemar: tuple[McNemar, ...]
    t: Mapping[str, CorrectedT]
    p: Mapping[str, float]
    p_holm: Mapping[str, float] = field(default_factory=dict)
    verdict: Mapping[str, str] = field(default_factory=dict)

    def lead(self, score: str) -> float:
        """By how much the full ensemble is better; below 0 if it is worse, also for a loss."""
        difference = self.difference[score].estimate
        return -difference if score in LOWER_IS_BETTER else difference

    def outcome(self, score: str) -> Outcome:
        """How the full ensemble stands against the arm, by the adjusted p-value."""
        if self.identical:
            return "same"
        if self.p_holm[score] >= ALPHA:
            return "not significant"
        return "better" if self.lead(score) > 0 else "worse"

    def doubt(self, score: str) -> str:
        """Why its interval leaves 0 out where the test is not significant; empty where they agree."""
        test = "exact" if score == "accuracy" else "folds"
        return doubt(self.difference[score], self.p_holm[score], test, alone=self.p[score], alpha=ALPHA)

    def is_significant(self, score: str) -> bool:
        """Whether the full ensemble is significantly better or worse."""
        return self.outcome(score) in ("better", "worse")


@dataclass(frozen=True)
class ArmResult:
    """One arm of the table.

    Attributes:
        arm: What it is.
        scores: Of each of `SCORES`, mean over the repeats.
        cost: Of the arm.
        paired: The full ensemble against it; None for the full ensemble itself.
    """

    arm: Arm
    scores: Mapping[str, float]
    cost: Cost
    paired: PairedComparison | None = None

    @property
    def against(self) -> PairedComparison:
        """The full ensemble against it.

        Raises:
            ValueError: If this is the full ensemble.
        """
        if self.paired is None:
            raise ValueError(f"{self.arm.name} is not compared with itself")
        return self.paired

    def as_json(self) -> dict[str, Any]:
        """The arm as JSON values."""
        arm = self.arm
        return {
            "name": arm.name,
            "title": arm.title,
            "description": arm.description,
            "kind": arm.kind,
            "subject": arm.subject,
            "members": list(arm.members),
            "scores": jsonable(self.scores),
            "cost": jsonable(self.cost),
            **(jsonable(self.paired) if self.paired is not None else {}),
        }


@dataclass(frozen=True)
class Resolution:
    """The smallest difference in accuracy that the data can show.

    Attributes:
        reference: Title of the arm that stands for a typical one; None if there is only the full ensemble.
        discordance: Share of the row groups that only one of that arm and the full ensemble has right.
        detectable: The smallest difference that is found with a probability of `POWER`; None if none is.
        detectable_in_table: The same after the correction for all comparisons.
    """

    reference: str | None = None
    discordance: float | None = None
    detectable: float | None = None
    detectable_in_table: float | None = None


@dataclass(frozen=True)
class FoldChoice:
    """What one outer fold chose: its best single member, and the combination of the full ensemble."""

    repeat: int
    fold: int
    best_single: str
    combination: str


@dataclass(frozen=True)
class Comparison:
    """All arms against the full ensemble.

    Attributes:
        n: Photos.
        row_groups: Row groups of the photos.
        repeats: Outer cross-validations.
        folds: Outer folds of each.
        classes: Names of the classes.
        alpha: Level of the tests.
        family: Comparisons that Holm adjusts for.
        resolution: What the data can show.
        choices: One for each outer fold.
        arms: In the order of the table.
        refused: What is not answered with rejection; None without that arm.
    """

    n: int
    row_groups: int
    repeats: int
    folds: int
    classes: tuple[str, ...]
    alpha: float
    family: int
    resolution: Resolution
    choices: tuple[FoldChoice, ...]
    arms: tuple[ArmResult, ...]
    refused: RefusedPhotos | None = None

    def by_name(self) -> dict[str, ArmResult]:
        """The arms by name."""
        return {result.arm.name: result for result in self.arms}

    def as_json(self) -> dict[str, Any]:
        """The comparison as JSON values."""
        values = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "arms"}
        return {**jsonable(values), "arms": [result.as_json() for result in self.arms]}


def compare_arms(
    run: AblationRun,
    costs: Mapping[str, Cost],
    *,
    refuse: float = 0.05,
    n_replicates: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Score every arm and test it against the full ensemble.

    Accuracy is decided by McNemar's exact test over row groups (for several repeats twice the median of their
    p-values, which keeps the level: Rueschendorf 1982, Advances in Applied Probability 14), log-loss by the
    corrected resampled t test over folds and repeats. Each is adjusted by Holm over the table; arms of kind
    ``protocol`` answer another question and stand outside it.

    Args:
        run: Answers of every arm.
        costs: Of each arm; may lack some.
        refuse: Typicality up to which the arm with rejection refuses.
        n_replicates: Draws of the bootstrap.
        seed: Of the bootstrap.
    """
    y, groups = run.known.y, run.known.groups
    proba, folds = run.proba, run.folds
    repeats, n = folds.shape
    bootstrap = GroupBootstrap(np.tile(groups, repeats), n_replicates=n_replicates, seed=seed)
    paired = {
        arm.name: _paired(proba[FULL], proba[arm.name], y, groups, folds, bootstrap)
        for arm in run.arms
        if arm.name != FULL
    }
    family = [arm for arm in run.arms if arm.name != FULL and arm.kind != "protocol"]
    paired |= _adjusted(paired, family)
    return Comparison(
        n=n,
        row_groups=len(np.unique(groups)),
        repeats=repeats,
        folds=int(folds.max()) + 1,
        classes=run.known.names,
        alpha=ALPHA,
        family=len(family),
        resolution=_resolution(run, len(family)),
        choices=tuple(FoldChoice(**choice) for choice in run.choices),
        arms=tuple(
            ArmResult(arm, _scores(proba[arm.name], y), costs.get(arm.name, Cost()), paired.get(arm.name))
            for arm in run.arms
        ),
        refused=count_refused(run, bootstrap, refuse) if REJECTION in proba else None,
    )


def _scores(repeats: Proba, y: NDArray[np.intp]) -> dict[str, float]:
    """Scores of an arm, mean over the repeats."""
    return {
        score: float(np.mean([weighted_metric(score, y, proba).estimate for proba in repeats]))
        for score in SCORES
    }


def _paired(
    full: Proba,
    other: Proba,
    y: NDArray[np.intp],
    groups: NDArray[np.intp],
    folds: NDArray[np.intp],
    bootstrap: GroupBootstrap,
) -> PairedComparison:
    """Full minus arm: intervals over row groups, and the two tests, not yet adjusted."""
    labels = np.tile(y, len(folds))
    first, second = np.concatenate(list(full)), np.concatenate(list(other))
    difference = {
        score: bootstrap.interval(
            weighted_metric(score, labels, first), minus=weighted_metric(score, labels, second)
        )
        for score in COMPARED
    }
    exact = tuple(
        mcnemar(one.argmax(axis=1) == y, two.argmax(axis=1) == y, groups)
        for one, two in zip(full, other, strict=True)
    )
    t = {
        score: corrected_resampled_t(_by_fold(score, full, y, folds) - _by_fold(score, other, y, folds))
        for score in TESTED
    }
    p = exact[0].p if len(exact) == 1 else min(1.0, 2 * float(np.median([test.p for test in exact])))
    return PairedComparison(
        identical=bool(np.allclose(full, other, rtol=0, atol=1e-9)),
        difference=difference,
        mcnemar=exact,
        t=t,
        p={"accuracy": p, "log_loss": t["log_loss"].p},
    )


def _adjusted(paired: Mapping[str, PairedComparison], family: Sequence[Arm]) -> dict[str, PairedComparison]:
    """The comparisons of the table with adjusted p-values and verdicts."""
    adjusted = {score: holm([paired[arm.name].p[score] for arm in family]) for score in TESTED}
    table = {}
    for number, arm in enumerate(family):
        plain = paired[arm.name]
        p_holm = {score: adjusted[score][number] for score in TESTED}
        verdicts = {score: _in_words(plain.difference[score], arm, score, p) for score, p in p_holm.items()}
        table[arm.name] = replace(plain, p_holm=p_holm, verdict=verdicts)
    return table


def _by_fold(score: str, proba: Proba, y: NDArray[np.intp], folds: NDArray[np.intp]) -> NDArray[np.float64]:
    """Mean of a score over the rows of each outer fold, (repeats, folds)."""
    table = []
    for answers, fold in zip(proba.astype(np.float64), folds, strict=True):
        rows = row_log_loss(y, answers) if score == "log_loss" else answers.argmax(axis=1) == y
        table.append([float(rows[fold == number].mean()) for number in range(int(fold.max()) + 1)])
    return np.array(table)


def _in_words(difference: Interval, arm: Arm, score: str, p: float) -> str:
    return verdict(
        difference,
        p,
        first="the full ensemble",
        second=arm.title,
        alpha=ALPHA,
        lower_is_better=score in LOWER_IS_BETTER,
        percent=score == "accuracy",
    )


def _resolution(run: AblationRun, family: int) -> Resolution:
    y, groups, proba = run.known.y, run.known.groups, run.proba
    titles = {arm.name: arm.title for arm in run.arms if arm.name != FULL}
    if not titles:
        return Resolution()
    reference = next((name for name in ("best_single", "uniform") if name in titles), next(iter(titles)))
    right = {name: proba[name][0].argmax(axis=1) == y for name in (FULL, reference)}
    test = mcnemar(right[FULL], right[reference], groups)
    n_groups = len(np.unique(groups))
    return Resolution(
        reference=titles[reference],
        discordance=test.discordance,
        detectable=detectable_difference(n_groups, test.discordance, power=POWER, alpha=ALPHA),
        detectable_in_table=detectable_difference(
            n_groups, test.discordance, power=POWER, alpha=ALPHA / max(family, 1)
        ),
    )
