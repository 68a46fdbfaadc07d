"""Other people's ensembles on the very same features: AutoGluon Tabular, in an environment of its own.

Features, labels, row groups and folds of the fit are written to a file; `others_fit.py` is run on it by another
interpreter, which needs numpy, pandas and `autogluon.tabular`, and nothing of ours. Each photo is answered by
models that never saw it: the other program is fitted once for each fold, on the rows outside it, and may split
those further by our own folds. Ours are the out-of-fold figures of a fit.

    python -m venv autogluon-env && autogluon-env/bin/pip install 'autogluon.tabular[lightgbm,catboost,xgboost]'
    python benchmarks/others.py DATA --python autogluon-env/bin/python [--time-limit 900] [--presets medium_quality]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import photos
import timing

from ensemble_minerals.config.loading import load_config
from ensemble_minerals.evaluation.metrics import summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--python", type=Path, required=True, help="Interpreter that has autogluon.tabular.")
    parser.add_argument("--config", default="default")
    parser.add_argument("--cache", type=Path, default=None)
    parser.add_argument(
        "--time-limit",
        type=int,
        default=900,
        help="Seconds a fold, a minute or more of them for its columns.",
    )
    parser.add_argument("--presets", default="medium_quality")
    parser.add_argument("--runs", type=int, default=5, help="Of ours; the other program runs once.")
    options = parser.parse_args()
    config = load_config(options.config)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        prepared = photos.prepared(options.data, config, options.cache or work / "cache", work)
        data = prepared.row_data()
        y = np.searchsorted(np.array(prepared.dataset.classes), prepared.dataset.labels)
        fitted: dict[str, Any] = {}

        def ours() -> None:
            ensemble = photos.ensemble(config, prepared)
            fitted["ours"] = ensemble.fit(
                data, prepared.dataset.labels, prepared.dataset.groups, prepared.dataset.folds
            )

        times = timing.alternate({"ours": ours}, options.runs)["ours"]
        own = summary(y, fitted["ours"].oof_proba_, prepared.dataset.classes)
        whole = data.side_by_side(list(data.matrices))
        np.savez(work / "features.npz", X=whole, y=y, folds=prepared.dataset.folds)
        theirs = _run(options.python, work, options.time_limit, options.presets)
        proba = np.load(work / "answers.npy")
        other = summary(y, proba / proba.sum(axis=1, keepdims=True), prepared.dataset.classes)
    rows = [("ours: " + key, f"{own[key]:.4f}") for key in ("accuracy", "log_loss", "ece")]
    rows += [("ours: seconds of all folds, members and combination", timing.spread(times))]
    rows += [(f"AutoGluon: {key}", f"{other[key]:.4f}") for key in ("accuracy", "log_loss", "ece")]
    rows += [
        ("AutoGluon: seconds of all folds", f"{theirs['seconds']:.0f} s"),
        (
            "AutoGluon: version, presets, best models",
            f"{theirs['version']}, {options.presets}, {theirs['best']}",
        ),
    ]
    timing.table(f"{len(y)} photos, {whole.shape[1]} features, {options.config}", rows)


def _run(python: Path, work: Path, time_limit: int, presets: str) -> dict[str, Any]:
    script = Path(__file__).with_name("others_fit.py")
    arguments = [python, script, work / "features.npz", work / "answers.npy", time_limit, presets]
    done = subprocess.run([str(a) for a in arguments], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"{script.name} failed under {python}")
    outcome: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return outcome


if __name__ == "__main__":
    main()
