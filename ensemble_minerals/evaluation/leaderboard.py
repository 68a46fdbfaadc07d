"""The members: how good each is, how differently they err, what they cost, and how much each one counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.ensemble.combination import Combination
from ensemble_minerals.evaluation.answers import Answers
from ensemble_minerals.evaluation.diversity import diversity, leave_one_member_out, uniform_mean
from ensemble_minerals.evaluation.intervals import GroupBootstrap
from ensemble_minerals.evaluation.metrics import METRICS, Floats, WeightedMetric, weighted_metric

_COLUMNS = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "ece")


def members_section(
    answers: Answers,
    bootstrap: GroupBootstrap,
    *,
    weights: NDArray[np.float64],
    costs: Mapping[str, Mapping[str, float | None]],
    cost: Mapping[str, float | None],
) -> dict[str, Any]:
    """Scores, costs, diversity and weights of the members.

    Args:
        answers: The rows.
        bootstrap: Draws of their row groups.
        weights: (M,) how much each member counts, see `member_weights`.
        costs: For each member any of ``fit_seconds``, ``predict_ms`` and ``megabytes``.
        cost: The same for all members together: a source that several need counts once.

    Returns:
        ``ensemble``, ``uniform`` (the plain average) and, best first, ``members``; ``best_single`` with the
        ensemble's paired gain over it; ``oracle`` and ``all_right``; pairwise matrices in the order of ``names``.
    """
    y = answers.y
    probas = dict(zip(answers.members, answers.member_proba, strict=True))
    found = diversity(y, probas)
    alone = len(probas) < 2
    without = {} if alone else leave_one_member_out(y, probas)
    rows = []
    for name, weight in zip(answers.members, weights, strict=True):
        rows.append(
            {
                "name": name,
                **_scores(answers, probas[name], bootstrap),
                "weight": float(weight),
                "without": None if alone else without[name]["log_loss"],
                **_known(costs.get(name, {})),
            }
        )
    rows.sort(key=lambda row: (-row["accuracy"].estimate, row["log_loss"]))
    best = answers.best_single
    return {
        "ensemble": {**_scores(answers, answers.proba, bootstrap), **_known(cost)},
        "uniform": _scores(answers, uniform_mean(probas), bootstrap),
        "members": rows,
        "best_single": {
            "name": answers.members[best],
            **{
                f"{score}_gain": bootstrap.interval(
                    weighted_metric(score, y, answers.proba),
                    minus=weighted_metric(score, y, answers.member_proba[best]),
                )
                for score in ("accuracy", "log_loss")
            },
        },
        "oracle": found.oracle,
        "all_right": found.all_right,
        "names": list(answers.members),
        "error_correlation": found.error_correlation,
        "double_fault": found.double_fault,
    }


def _known(cost: Mapping[str, float | None]) -> dict[str, float | None]:
    return {key: cost.get(key) for key in ("fit_seconds", "predict_ms", "megabytes")}


def _scores(answers: Answers, proba: Floats, bootstrap: GroupBootstrap) -> dict[str, Any]:
    built: dict[str, WeightedMetric] = {name: METRICS[name](answers.y, proba) for name in _COLUMNS}
    scores: dict[str, Any] = {name: float(metric.estimate) for name, metric in built.items()}
    scores["accuracy"] = bootstrap.interval(built["accuracy"])
    return scores


def member_weights(combination: Combination, n_members: int) -> tuple[NDArray[np.float64], str]:
    """How much each member counts in a fitted combination, and what the number means.

    Args:
        combination: Of the final ensemble.
        n_members: M.

    Returns:
        (M,) weights, and a sentence on them.
    """
    weight = np.asarray(combination.weight, dtype=np.float64)
    if combination.kind == "mean":
        return weight, "The answer is the mean of the members' probabilities with these weights."
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
