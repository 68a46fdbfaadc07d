"""Whether speed costs accuracy: out-of-fold figures of the fast path against PyTorch in float32, on one machine.

Two cold fits of the same photos: with the engine and precision that the program chooses, and with
`engine: torch` and `precision: float32`.

    python benchmarks/precision.py DATA [--config default] [--cache DIR]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import timing

FIT = """
import json, sys
from pathlib import Path
from ensemble_minerals.config import load_config
from ensemble_minerals.pipeline import fit
data, out, config, cache, *settings = sys.argv[1:]
result = fit(data, out, load_config(config, settings), cache_dir=Path(cache), overwrite=True)
index = json.loads((Path(out) / "bundle.json").read_text())
engines = {
    name: f"{source['facts']['engine']} {source['facts']['precision']}"
    for name, source in index["sources"].items() if "engine" in source["facts"]
}
oof = result.metrics["oof"]
print(json.dumps({
    "accuracy": oof["accuracy"], "log_loss": oof["log_loss"], "ece": oof["ece"], "engines": engines,
    "features": result.metrics["seconds"]["features"],
}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--config", default="default")
    parser.add_argument("--cache", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cache = options.cache or Path(folder) / "cache"
        arguments = [options.data, Path(folder) / "bundle", options.config, cache]
        fast = timing.fresh(FIT, *arguments)
        timing.note(f"fast path: {fast['process_seconds']:.0f} s")
        exact = timing.fresh(FIT, *arguments, "engine=torch", "precision=float32")
        timing.note(f"torch in float32: {exact['process_seconds']:.0f} s")
    timing.table(
        f"fast path against torch in float32, {options.config}",
        [
            ("engines of the fast path", ", ".join(f"{n}: {e}" for n, e in fast["engines"].items())),
            ("out-of-fold log-loss, fast", f"{fast['log_loss']:.4f}"),
            ("torch in float32", f"{exact['log_loss']:.4f}"),
            ("**fast over torch**", f"{fast['log_loss'] / exact['log_loss'] - 1:+.2%}"),
            ("accuracy", f"{fast['accuracy']:.4f} and {exact['accuracy']:.4f}"),
            ("seconds of the features", f"{fast['features']:.0f} and {exact['features']:.0f}"),
        ],
    )


if __name__ == "__main__":
    main()
