"""Whether speed costs accuracy: out-of-fold figures of the fast path against PyTorch in float32, on one machine.

Features of the same photos twice: with the engine and precision that the program chooses, and with `engine: torch`
and `precision: float32`. Both ensembles are fitted in the folds of the fast path, because the last digits of
features decide which photos are just alike enough to be kept together, and other folds give other figures.

    python benchmarks/precision.py DATA [--config default] [--set KEY=VALUE] [--cache DIR]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import photos
import timing

from ensemble_minerals.config.loading import load_config
from ensemble_minerals.evaluation.metrics import summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--config", default="default")
    parser.add_argument("--set", action="append", default=[], help="Settings of the fast path.")
    parser.add_argument("--cache", type=Path, default=None)
    options = parser.parse_args()
    fast_config = load_config(options.config, options.set)
    if fast_config.networks:
        parser.error("PyTorch trains networks on either path; give a configuration without them")
    exact_config = load_config(options.config, ["engine=torch", "precision=float32"])
    with tempfile.TemporaryDirectory() as folder:
        cache, work = options.cache or Path(folder) / "cache", Path(folder)
        fast = photos.prepared(options.data, fast_config, cache, work / "fast")
        exact = photos.prepared(options.data, exact_config, cache, work / "exact")
        # Which photos are grouped may differ, too: the rows are those of the fast path.
        rows = fast.dataset
        y = np.searchsorted(np.array(rows.classes), rows.labels)
        scores = {}
        for name, prepared in (("fast", fast), ("exact", exact)):
            ensemble = photos.ensemble(fast_config, fast)
            ensemble.fit(prepared.row_data(rows.rows), rows.labels, rows.groups, rows.folds)
            scores[name] = summary(y, ensemble.oof_proba_, rows.classes)
    engines = {
        name: f"{extractor.metadata['engine']} {extractor.metadata['precision']}"
        for name, extractor in fast.dataset.extractors.items()
        if "engine" in extractor.metadata
    }
    ratio = scores["fast"]["log_loss"] / scores["exact"]["log_loss"] - 1
    timing.table(
        f"fast path against torch in float32, {options.config}, the same folds",
        [
            ("engines of the fast path", ", ".join(f"{n}: {e}" for n, e in engines.items())),
            ("out-of-fold log-loss, fast", f"{scores['fast']['log_loss']:.4f}"),
            ("torch in float32", f"{scores['exact']['log_loss']:.4f}"),
            ("**fast over torch**", f"{ratio:+.2%}"),
            ("accuracy", f"{scores['fast']['accuracy']:.4f} and {scores['exact']['accuracy']:.4f}"),
            (
                "seconds of the features, those in the cache left out",
                f"{fast.dataset.seconds['features']:.0f} and {exact.dataset.seconds['features']:.0f}",
            ),
        ],
    )


if __name__ == "__main__":
    main()
