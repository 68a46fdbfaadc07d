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
import timing

from ensemble_minerals.config import load_config
from ensemble_minerals.ensemble.stacked import StackedEnsemble
from ensemble_minerals.evaluation.metrics import summary
from ensemble_minerals.listener import Silent
from ensemble_minerals.preparation import Prepared, prepare
from ensemble_minerals.processor import cores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--config", default="default")
    parser.add_argument("--set", action="append", default=[], help="Settings of the fast path.")
    parser.add_argument("--cache", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        cache = options.cache or place / "cache"
        fast = _prepared(options.data, options.config, options.set, cache, place / "fast")
        exact = _prepared(
            options.data, options.config, ["engine=torch", "precision=float32"], cache, place / "exact"
        )
    engines = {
        name: f"{source.facts['engine']} {source.facts['precision']}"
        for name, source in fast.dataset.sources.items()
        if "engine" in source.facts
    }
    y = np.searchsorted(np.array(fast.classes), fast.labels)
    scores = {}
    for name, prepared in (("fast", fast), ("exact", exact)):
        ensemble = StackedEnsemble(fast.members, n_jobs=cores())
        ensemble.fit(prepared.blocks, fast.labels, fast.groups, fast.folds)
        scores[name] = summary(y, ensemble.oof_proba_, fast.classes)
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


def _prepared(data: Path, config: str, settings: list[str], cache: Path, work: Path) -> Prepared:
    prepared = prepare(
        data, load_config(config, settings), cache_dir=cache, n_threads=cores(), listener=Silent(), work=work
    )
    timing.note(f"features with {', '.join(settings) or 'what the program chooses'}: done")
    return prepared


if __name__ == "__main__":
    main()
