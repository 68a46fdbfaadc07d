"""The arms of an ablation against the full ensemble: effect first, then whether chance explains it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.evaluation.ablation import FULL, AblationRun, Arm
from ensemble_minerals.evaluation.intervals import GroupBootstrap, detectable_difference
from ensemble_minerals.evaluation.metrics import jsonable, row_log_loss, summary, weighted_metric
from ensemble_minerals.evaluation.significance import McNemar, corrected_resampled_t, holm, mcnemar, verdict

SCORES = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "ece")
"""Columns of the table."""

COMPARED = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss")
"""Scores whose paired difference gets an interval."""

ALPHA = 0.05


def compare_arms(
    run: AblationRun,
    y: NDArray[np.intp],
    groups: NDArray[np.intp],
    classes: Sequence[str],
    costs: Mapping[str, Mapping[str, float]],
    *,
    n_replicates: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Score every arm and test it against the full ensemble.

    Accuracy is tested by McNemar's exact test over row groups (for several repeats twice the median of their
    p-values, which keeps the level: Rueschendorf 1982, Advances in Applied Probability 14), log-loss by the
    corrected resampled t test over folds and repeats. Each is adjusted by Holm over the table; arms of kind
    ``protocol`` answer another question and stand outside it.

    Args:
        run: Answers of every arm.
        y: Class positions, (n,).
        groups: Row groups, (n,).
        classes: Class names.
        costs: For each arm ``predict_ms`` a photo and ``megabytes``.
        n_replicates: Draws of the bootstrap.
        seed: Of the bootstrap.

    Returns:
        JSON values: ``n``, ``row_groups``, ``repeats``, ``folds``, ``resolution``, ``choices`` and ``arms``, of
        which each has its scores, costs and, but for the full ensemble, ``difference`` (full minus arm, with
        intervals), ``mcnemar``, ``t``, the adjusted p-values and verdicts in words.
    """
    repeats, n = run.folds.shape
    n_groups = len(np.unique(groups))
    bootstrap = GroupBootstrap(np.tile(groups, repeats), n_replicates=n_replicates, seed=seed)
    rows = [_scores(arm, run, y, classes, costs) for arm in run.arms]
    full = run.proba[FULL]
    tested = [
        (row, arm)
        for row, arm in zip(rows, run.arms, strict=True)
        if arm.name != FULL and not np.isnan(run.proba[arm.name]).any()
    ]
    for row, arm in tested:
        row.update(_paired(full, run.proba[arm.name], y, groups, run.folds, bootstrap))
    family = [row for row, arm in tested if arm.kind != "protocol"]
    for score in ("accuracy", "log_loss"):
        adjusted = holm([row["p"][score] for row in family])
        for row, p in zip(family, adjusted, strict=True):
            row["p_holm"][score] = p
            row["verdict"][score] = _in_words(row, score, p)
    return {
        "n": n,
        "row_groups": n_groups,
        "repeats": repeats,
        "folds": int(run.folds.max()) + 1,
        "classes": list(classes),
        "resolution": _resolution(full, run, y, groups),
        "choices": run.choices,
        "arms": jsonable(rows),
    }


def _scores(
    arm: Arm,
    run: AblationRun,
    y: NDArray[np.intp],
    classes: Sequence[str],
    costs: Mapping[str, Mapping[str, float]],
) -> dict[str, Any]:
    """Description, scores (mean over the repeats) and cost of an arm."""
    each = [summary(y, proba, classes) for proba in run.proba[arm.name]]
    return {
        "name": arm.name,
        "description": arm.description,
        "kind": arm.kind,
        "members": list(arm.members),
        "scores": {score: float(np.mean([one[score] for one in each])) for score in SCORES},
        "cost": {"fit_seconds": run.seconds.get(arm.name), **costs.get(arm.name, {})},
    }


def _paired(
    full: NDArray[np.floating[Any]],
    other: NDArray[np.floating[Any]],
    y: NDArray[np.intp],
    groups: NDArray[np.intp],
    folds: NDArray[np.intp],
    bootstrap: GroupBootstrap,
) -> dict[str, Any]:
    """Full minus arm: intervals over row groups, and the two tests."""
    repeats = len(folds)
    labels = np.tile(y, repeats)
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
    gaps = np.array(
        [
            [
                float(np.mean(row_log_loss(y, one)[fold == number] - row_log_loss(y, two)[fold == number]))
                for number in range(int(fold.max()) + 1)
            ]
            for one, two, fold in zip(full.astype(np.float64), other.astype(np.float64), folds, strict=True)
        ]
    )
    t = corrected_resampled_t(gaps)
    p = exact[0].p if repeats == 1 else min(1.0, 2 * float(np.median([test.p for test in exact])))
    return {
        "difference": difference,
        "mcnemar": exact,
        "t": t,
        "p": {"accuracy": p, "log_loss": t.p},
        "p_holm": {},
        "verdict": {},
    }


def _in_words(row: Mapping[str, Any], score: str, p: float) -> str:
    return verdict(
        row["difference"][score],
        p,
        first="the full ensemble",
        second=row["name"],
        alpha=ALPHA,
        lower_is_better=score == "log_loss",
        percent=score == "accuracy",
    )


def _resolution(
    full: NDArray[np.floating[Any]], run: AblationRun, y: NDArray[np.intp], groups: NDArray[np.intp]
) -> dict[str, Any]:
    """The smallest difference in accuracy that these data can show."""
    others: list[str] = [name for name in ("best_single", "uniform") if name in run.proba]
    others += [arm.name for arm in run.arms if arm.name != FULL]
    reference = others[0] if others else None
    if reference is None:
        return {"detectable": None, "sentence": "There is one arm only, so nothing is compared."}
    test = mcnemar(full[0].argmax(axis=1) == y, run.proba[reference][0].argmax(axis=1) == y, groups)
    n_groups = len(np.unique(groups))
    found = detectable_difference(n_groups, test.discordance) if test.discordance > 0 else None
    share = f"{100 * test.discordance:.1f} %"
    if found is None:
        sentence = (
            f"The full ensemble and {reference} differ on {share} of {n_groups} groups of photos: too few to find "
            "any difference in accuracy with a probability of 80 %."
        )
    else:
        sentence = (
            f"With {n_groups} groups of photos, of which {share} are answered differently by the full ensemble and "
            f"{reference}, a true difference in accuracy of {100 * found:.1f} points is found with a probability of "
            "80 %; smaller ones may be missed."
        )
    return {
        "detectable": found,
        "discordance": test.discordance,
        "reference": reference,
        "sentence": sentence,
    }
