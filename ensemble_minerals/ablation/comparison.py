"""The arms of an ablation against the full ensemble: effect first, then whether chance explains it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.ablation.arms import FULL, Arm
from ensemble_minerals.ablation.run import AblationRun
from ensemble_minerals.evaluation.intervals import GroupBootstrap, detectable_difference
from ensemble_minerals.evaluation.metrics import jsonable, row_log_loss, weighted_metric
from ensemble_minerals.evaluation.significance import McNemar, corrected_resampled_t, holm, mcnemar, verdict

SCORES = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "ece")
"""Columns of the table."""

COMPARED = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss")
"""Scores whose paired difference gets an interval."""

TESTED = ("accuracy", "log_loss")
"""Scores that are tested."""

COSTS = ("fit_seconds", "predict_ms", "megabytes")
"""What an arm may cost; None where it was not measured."""

ALPHA = 0.05
POWER = 0.8

Proba = NDArray[np.floating[Any]]


def compare_arms(
    run: AblationRun,
    y: NDArray[np.intp],
    groups: NDArray[np.intp],
    classes: Sequence[str],
    costs: Mapping[str, Mapping[str, float | None]],
    *,
    n_replicates: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Score every arm and test it against the full ensemble.

    Accuracy is decided by McNemar's exact test over row groups (for several repeats twice the median of their
    p-values, which keeps the level: Rueschendorf 1982, Advances in Applied Probability 14), log-loss by the
    corrected resampled t test over folds and repeats. Each is adjusted by Holm over the table; arms of kind
    ``protocol`` answer another question and stand outside it.

    Args:
        run: Answers of every arm.
        y: Class positions, (n,).
        groups: Row groups, (n,).
        classes: Class names.
        costs: For each arm ``fit_seconds``, ``predict_ms`` a photo and ``megabytes``.
        n_replicates: Draws of the bootstrap.
        seed: Of the bootstrap.

    Returns:
        JSON values: ``n``, ``row_groups``, ``repeats``, ``folds``, ``family`` (comparisons that Holm adjusts
        for), ``resolution``, ``choices`` and ``arms``, of which each has its scores, cost and, but for the full
        ensemble, ``difference`` (full minus arm, with intervals), ``identical`` (whether it gave the same
        answers), ``mcnemar``, ``t``, ``p``, ``p_holm`` and ``verdict``, the last three for each tested score.
    """
    repeats, n = run.folds.shape
    bootstrap = GroupBootstrap(np.tile(groups, repeats), n_replicates=n_replicates, seed=seed)
    rows = [_scores(arm, run, y, costs) for arm in run.arms]
    full = run.proba[FULL]
    tested = [(row, arm) for row, arm in zip(rows, run.arms, strict=True) if arm.name != FULL]
    for row, arm in tested:
        row.update(_paired(full, run.proba[arm.name], y, groups, run.folds, bootstrap))
    family = [(row, arm) for row, arm in tested if arm.kind != "protocol"]
    for score in TESTED:
        adjusted = holm([row["p"][score] for row, _ in family])
        for (row, arm), p in zip(family, adjusted, strict=True):
            row["p_holm"][score] = p
            row["verdict"][score] = _in_words(row, arm, score, p)
    return {
        "n": n,
        "row_groups": len(np.unique(groups)),
        "repeats": repeats,
        "folds": int(run.folds.max()) + 1,
        "classes": list(classes),
        "alpha": ALPHA,
        "family": len(family),
        "resolution": _resolution(run, y, groups, len(family)),
        "choices": run.choices,
        "arms": jsonable(rows),
    }


def _scores(
    arm: Arm, run: AblationRun, y: NDArray[np.intp], costs: Mapping[str, Mapping[str, float | None]]
) -> dict[str, Any]:
    """What an arm is, its scores (mean over the repeats) and its cost."""
    answers = run.proba[arm.name]
    return {
        "name": arm.name,
        "title": arm.title,
        "description": arm.description,
        "kind": arm.kind,
        "subject": arm.subject,
        "members": list(arm.members),
        "scores": {
            score: float(np.mean([weighted_metric(score, y, proba).estimate for proba in answers]))
            for score in SCORES
        },
        "cost": {kind: costs.get(arm.name, {}).get(kind) for kind in COSTS},
    }


def _paired(
    full: Proba,
    other: Proba,
    y: NDArray[np.intp],
    groups: NDArray[np.intp],
    folds: NDArray[np.intp],
    bootstrap: GroupBootstrap,
) -> dict[str, Any]:
    """Full minus arm: intervals over row groups, and the two tests."""
    labels = np.tile(y, len(folds))
    first, second = np.concatenate(list(full)), np.concatenate(list(other))
    difference = {
        score: bootstrap.interval(
            weighted_metric(score, labels, first), minus=weighted_metric(score, labels, second)
        )
        for score in COMPARED
    }
    exact: list[McNemar] = [
        mcnemar(one.argmax(axis=1) == y, two.argmax(axis=1) == y, groups)
        for one, two in zip(full, other, strict=True)
    ]
    t = {
        score: corrected_resampled_t(_by_fold(score, full, y, folds) - _by_fold(score, other, y, folds))
        for score in TESTED
    }
    p = exact[0].p if len(exact) == 1 else min(1.0, 2 * float(np.median([test.p for test in exact])))
    return {
        "identical": bool(np.allclose(full, other, rtol=0, atol=1e-9)),
        "difference": difference,
        "mcnemar": exact,
        "t": t,
        "p": {"accuracy": p, "log_loss": t["log_loss"].p},
        "p_holm": {},
        "verdict": {},
    }


def _by_fold(score: str, proba: Proba, y: NDArray[np.intp], folds: NDArray[np.intp]) -> NDArray[np.float64]:
    """Mean of a score over the rows of each outer fold, (repeats, folds)."""
    table = []
    for answers, fold in zip(proba.astype(np.float64), folds, strict=True):
        rows = row_log_loss(y, answers) if score == "log_loss" else answers.argmax(axis=1) == y
        table.append([float(rows[fold == number].mean()) for number in range(int(fold.max()) + 1)])
    return np.array(table)


def _in_words(row: Mapping[str, Any], arm: Arm, score: str, p: float) -> str:
    return verdict(
        row["difference"][score],
        p,
        first="the full ensemble",
        second=arm.title,
        alpha=ALPHA,
        lower_is_better=score == "log_loss",
        percent=score == "accuracy",
    )


def _resolution(
    run: AblationRun, y: NDArray[np.intp], groups: NDArray[np.intp], family: int
) -> dict[str, Any]:
    """The smallest difference in accuracy that these data can show, alone and among all comparisons."""
    titles = {arm.name: arm.title for arm in run.arms if arm.name != FULL}
    if not titles:
        return {"reference": None, "discordance": None, "detectable": None, "detectable_in_table": None}
    reference = next((name for name in ("best_single", "uniform") if name in titles), next(iter(titles)))
    right = {name: run.proba[name][0].argmax(axis=1) == y for name in (FULL, reference)}
    test = mcnemar(right[FULL], right[reference], groups)
    n_groups = len(np.unique(groups))
    return {
        "reference": titles[reference],
        "discordance": test.discordance,
        "detectable": detectable_difference(n_groups, test.discordance, power=POWER, alpha=ALPHA),
        "detectable_in_table": detectable_difference(
            n_groups, test.discordance, power=POWER, alpha=ALPHA / max(family, 1)
        ),
    }
