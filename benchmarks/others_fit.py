"""The other half of `others.py`, run by an interpreter that has AutoGluon Tabular; imports nothing of ours.

python others_fit.py features.npz answers.npy TIME_LIMIT PRESETS
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from importlib.metadata import version

import numpy as np
import pandas as pd
from autogluon.tabular import TabularPredictor


def main() -> None:
    extractor, target, time_limit, presets = sys.argv[1:5]
    stored = np.load(extractor)
    X, y, folds = stored["X"], stored["y"], stored["folds"]
    table = pd.DataFrame(X, columns=[f"f{number}" for number in range(X.shape[1])])
    table["class"] = y
    answers = np.zeros((len(y), int(y.max()) + 1))
    best = []
    started = time.perf_counter()
    for fold in np.unique(folds):
        rows = folds != fold
        training = table[rows]
        # Presets that bag are given our own folds, so that photos of one object stay together in theirs too.
        bagged = presets not in ("medium_quality", "optimize_for_deployment")
        if bagged:
            training = training.assign(part=folds[rows])
        with tempfile.TemporaryDirectory() as folder:
            predictor = TabularPredictor(
                "class",
                problem_type="multiclass",
                eval_metric="log_loss",
                path=folder,
                groups="part" if bagged else None,
                verbosity=1,
            )
            predictor.fit(training, time_limit=float(time_limit), presets=presets)
            proba = predictor.predict_proba(table[~rows].drop(columns="class"))
            answers[~rows] = proba[sorted(proba.columns)].to_numpy()
            best.append(str(predictor.model_best))
        print(f"fold {fold}: {time.perf_counter() - started:.0f} s, {best[-1]}", file=sys.stderr, flush=True)
    np.save(target, answers)
    print(
        json.dumps(
            {
                "seconds": time.perf_counter() - started,
                "version": version("autogluon.tabular"),
                "best": ", ".join(dict.fromkeys(best)),
            }
        )
    )


if __name__ == "__main__":
    main()
