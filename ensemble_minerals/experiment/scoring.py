"""The figures of a fit, ``metrics.json``: each on rows that what is scored never saw."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.data.contamination import has_twin, is_test
from ensemble_minerals.evaluation.learning_curve import learning_curve
from ensemble_minerals.evaluation.metrics import jsonable, summary
from ensemble_minerals.evaluation.twins import scores_without_twins
from ensemble_minerals.experiment.dataset import Dataset, counts
from ensemble_minerals.experiment.plan import Plan
from ensemble_minerals.experiment.training import Trained
from ensemble_minerals.members.cached_rows import CachedRows, describe_strategy
from ensemble_minerals.system.arrays import array_digest
from ensemble_minerals.system.runtime import Runtime
from ensemble_minerals.system.sealed import read_sealed, write_sealed


def score(
    trained: Trained, plan: Plan, dataset: Dataset, seconds: Mapping[str, float], runtime: Runtime
) -> dict[str, Any]:
    """Score a trained ensemble and its members.

    Args:
        trained: The ensemble.
        plan: What was trained, and whether a learning curve is wanted.
        dataset: The photos.
        seconds: Time of each stage so far.
        runtime: The learning curve takes its ``n_jobs`` on this machine.

    Returns:
        JSON values. ``oof`` is the score of the ensemble on rows that it never saw, not on its training rows.
    """
    ensemble, classes = trained.ensemble, dataset.classes
    answered = ensemble.answered_
    y = np.searchsorted(np.array(classes), dataset.labels[answered])
    metrics: dict[str, Any] = {
        "protocol": "cross_validation" if len(answered) == len(dataset.rows) else "holdout",
        "oof": summary(y, ensemble.oof_proba_[answered], classes),
        "members": {
            name: summary(y, ensemble.out_of_fold_.member_proba[n, answered], classes)
            for n, name in enumerate(ensemble.out_of_fold_.members)
        },
        "meta": {
            "chosen": ensemble.meta_.chosen_,
            "candidates": ensemble.meta_.scores_,
            "temperature": ensemble.fitted_ensemble_.temperature,
            "fold_temperatures": {str(fold): t for fold, t in ensemble.fold_temperatures_.items()},
        },
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "member_seconds": {name: round(value, 3) for name, value in ensemble.seconds_.items()},
        "counts": counts(dataset.manifest),
    }
    if dataset.test_rows.size:
        proba = ensemble.predict_proba(trained.setup.row_data(dataset, dataset.test_rows))
        truth = np.searchsorted(np.array(classes), dataset.manifest.label[dataset.test_rows])
        metrics["test"] = summary(truth, proba, classes)
        metrics |= _without_twins(dataset, dataset.test_rows, proba, seed=plan.config.seed)
    elif metrics["protocol"] == "holdout":
        metrics |= _without_twins(
            dataset, dataset.rows[answered], ensemble.oof_proba_[answered], seed=plan.config.seed
        )
    if plan.learning_curve:
        curve = _learning_curve(trained, dataset, metrics, runtime, seed=plan.config.seed)
        if curve is not None:
            metrics["learning_curve"] = curve
    return metrics


def _without_twins(
    dataset: Dataset, rows: NDArray[np.intp], proba: NDArray[np.floating[Any]], *, seed: int
) -> dict[str, Any]:
    """Scores without test photos that have a twin in the training part; nothing where the user named no test part."""
    manifest = dataset.manifest
    if not is_test(manifest)[rows].all():
        return {}
    classes = dataset.classes
    y = np.searchsorted(np.array(classes), manifest.label[rows])
    twin, groups = has_twin(manifest)[rows], manifest.row_group[rows]
    return scores_without_twins(y, proba, twin, groups, classes, seed=seed)


def _learning_curve(
    trained: Trained, dataset: Dataset, metrics: Mapping[str, Any], runtime: Runtime, *, seed: int
) -> Any:
    """JSON values of that of the best member that is quick to fit, on growing parts of the training rows."""
    answers = trained.ensemble.out_of_fold_
    quick = {member.name: member for member in trained.setup.members if member.is_quick}
    candidates = [number for number, name in enumerate(answers.members) if name in quick]
    if not candidates:
        return None
    best = min(candidates, key=lambda m: float(metrics["members"][answers.members[m]]["log_loss"]))
    member, whole = quick[answers.members[best]], answers.member_proba[[best]]
    data, described, file = (
        trained.setup.row_data(dataset, dataset.rows),
        describe_strategy(member.strategy),
        None,
    )
    rows = CachedRows.open(runtime.cache_dir, data, dataset.inputs)
    if rows is not None and described is not None:
        file = rows.file(member.features, "learning curve", member.name, described, array_digest(whole), seed)
        if (sealed := read_sealed(file)) is not None:
            return json.loads(sealed)
    curve = jsonable(learning_curve([member], data, dataset.inputs, whole, n_jobs=runtime.n_jobs, seed=seed))
    if file is not None:
        write_sealed(file, json.dumps(curve).encode())
    return curve
