"""The members of an ensemble: their scores, diversity, costs and weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.ensemble.combination import Combination
from ensemble_minerals.evaluation.answers import Answers
from ensemble_minerals.evaluation.costs import Cost
from ensemble_minerals.evaluation.diversity import diversity, leave_one_member_out, uniform_mean
from ensemble_minerals.evaluation.intervals import GroupBootstrap, Interval
from ensemble_minerals.evaluation.metrics import METRICS, Floats, weighted_metric


@dataclass(frozen=True)
class AnswerScores:
    """The scores of one member or of the ensemble; `ece` is the raw one."""

    accuracy: Interval
    balanced_accuracy: float
    macro_f1: float
    log_loss: float
    ece: float


@dataclass(frozen=True)
class MemberResult:
    """One member.

    Attributes:
        name: Of the member.
        scores: Of its own answers.
        weight: How much it counts, see `member_weights`.
        without: By how much the log-loss of the plain average rises without it; None for a single member.
        cost: Of this member alone.
    """

    name: str
    scores: AnswerScores
    weight: float
    without: float | None
    cost: Cost


@dataclass(frozen=True)
class BestSingle:
    """The best single member in hindsight, and what the ensemble gains over it, paired."""

    name: str
    accuracy_gain: Interval
    log_loss_gain: Interval


@dataclass(frozen=True, eq=False)
class Leaderboard:
    """A comparison of the members of an ensemble.

    Attributes:
        ensemble: Scores of the ensemble.
        cost: Of all members together.
        uniform: Scores of the plain average.
        members: The best first.
        best_single: The best of them.
        oracle: Share of the photos that some member answers right.
        all_right: Share of the photos that every member answers right.
        names: The M members in the order of the matrices.
        error_correlation: (M, M) correlation of being wrong; NaN where it is not defined.
        double_fault: (M, M) share of the photos that both answer wrong.
    """

    ensemble: AnswerScores
    cost: Cost
    uniform: AnswerScores
    members: tuple[MemberResult, ...]
    best_single: BestSingle
    oracle: float
    all_right: float
    names: tuple[str, ...]
    error_correlation: Floats
    double_fault: Floats


def leaderboard(
    answers: Answers,
    bootstrap: GroupBootstrap,
    *,
    weights: NDArray[np.float64],
    costs: Mapping[str, Cost],
    cost: Cost,
) -> Leaderboard:
    """Score, compare and weigh the members.

    Args:
        answers: The rows.
        bootstrap: Draws of their row groups.
        weights: (M,) how much each member counts, see `member_weights`.
        costs: Of each member; may lack some.
        cost: Of all members together: a feature extractor that several need counts once.
    """
    y = answers.y
    probas = dict(zip(answers.members, answers.member_proba, strict=True))
    differences = diversity(y, probas)
    without = leave_one_member_out(y, probas) if len(probas) > 1 else {}
    members = [
        MemberResult(
            name=name,
            scores=_scores(answers, probas[name], bootstrap),
            weight=float(weight),
            without=without[name]["log_loss"] if without else None,
            cost=costs.get(name, Cost()),
        )
        for name, weight in zip(answers.members, weights, strict=True)
    ]
    members.sort(key=lambda member: (-member.scores.accuracy.estimate, member.scores.log_loss))
    best = answers.best_single

    def gain(score: str) -> Interval:
        return bootstrap.interval(
            weighted_metric(score, y, answers.proba),
            minus=weighted_metric(score, y, answers.member_proba[best]),
        )

    return Leaderboard(
        ensemble=_scores(answers, answers.proba, bootstrap),
        cost=cost,
        uniform=_scores(answers, uniform_mean(probas), bootstrap),
        members=tuple(members),
        best_single=BestSingle(answers.members[best], gain("accuracy"), gain("log_loss")),
        oracle=differences.oracle,
        all_right=differences.all_right,
        names=answers.members,
        error_correlation=differences.error_correlation,
        double_fault=differences.double_fault,
    )


def _scores(answers: Answers, proba: Floats, bootstrap: GroupBootstrap) -> AnswerScores:
    def score(name: str) -> float:
        return float(METRICS[name](answers.y, proba).estimate)

    return AnswerScores(
        accuracy=bootstrap.interval(METRICS["accuracy"](answers.y, proba)),
        balanced_accuracy=score("balanced_accuracy"),
        macro_f1=score("macro_f1"),
        log_loss=score("log_loss"),
        ece=score("ece"),
    )


def member_weights(combination: Combination, n_members: int) -> tuple[NDArray[np.float64], str]:
    """The weight of each member in a fitted combination, and what it means.

    Args:
        combination: Of the final ensemble.
        n_members: M.

    Returns:
        (M,) weights, and a sentence on what they mean.

    >>> member_weights(Combination("mean", np.array([0.75, 0.25]), np.zeros(3)), 2)[0]
    array([0.75, 0.25])
    """
    weight = np.asarray(combination.weight, dtype=np.float64)
    if combination.kind == "mean":
        return weight, "The answer is the mean of the members' probabilities with these weights."
    if combination.kind == "calibrated":
        return (
            weight,
            "The answer is the mean of the members, whose log-probabilities are multiplied by these numbers.",
        )
    if combination.kind == "product":
        return (
            weight,
            "The answer is the product of the members' probabilities raised to these powers, normalized.",
        )
    size = np.linalg.norm(weight.reshape(n_members, -1), axis=1)
    total = float(size.sum())
    share = size / total if total > 0 else np.full(n_members, 1 / n_members)
    return share, (
        "A logistic regression over all log-probabilities; the number is each member's share of the length of "
        "its coefficients."
    )
