"""The main job on a folder of photos: cold fit, warm fit, predict against the backbones alone, peak memory.

Every figure is measured in this one run, in processes of their own; ratios are against figures of the same run.

    python benchmarks/main_job.py DATA [--config default] [--predict-runs 5]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FIT = """
import json, resource, sys, time
from pathlib import Path
from ensemble_minerals.config.loading import load_config
from ensemble_minerals.workflows.fit import fit
data, out, config, cache = sys.argv[1:5]
started = time.perf_counter()
result = fit(data, out, load_config(config), cache_dir=Path(cache), overwrite=True)
print(json.dumps({
    "seconds": time.perf_counter() - started,
    "stages": result.metrics["seconds"],
    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    "oof": {k: v for k, v in result.metrics["oof"].items() if k != "per_class"},
    "members": {n: {k: m[k] for k in ("accuracy", "log_loss")} for n, m in result.metrics["members"].items()},
    "meta": result.metrics["meta"],
}))
"""

PREDICT = """
import json, sys, time
from pathlib import Path
from ensemble_minerals.features.extraction import extract_features
from ensemble_minerals.prediction.predictor import load
bundle, data, cache, runs = sys.argv[1:5]
predictor = load(bundle, cache_dir=Path(cache))
photos = sorted(p for p in Path(data).rglob("*") if p.is_file())[::4]
predictor.predict(photos[:8])  # networks are loaded
whole, passes = [], []
for _ in range(int(runs)):
    started = time.perf_counter()
    predictor.predict(photos)
    whole.append(time.perf_counter() - started)
    started = time.perf_counter()
    extract_features(photos, [""] * len(photos), list(predictor.extractors.values()), store=None, n_threads=2,
                     progress=None)
    passes.append(time.perf_counter() - started)
print(json.dumps({"photos": len(photos), "whole": whole, "passes": passes}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--config", default="default")
    parser.add_argument("--predict-runs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cache, bundle = Path(folder) / "cache", Path(folder) / "bundle"
        arguments = [str(options.data), str(bundle), options.config, str(cache)]
        cold = _run(FIT, *arguments)
        warm = _run(FIT, *arguments)
        predicted = _run(PREDICT, str(bundle), str(options.data), str(cache), str(options.predict_runs))
    oof, members = cold["oof"], cold["members"]
    best = min(members, key=lambda name: members[name]["log_loss"])
    ratios = [whole / alone for whole, alone in zip(predicted["whole"], predicted["passes"], strict=True)]
    print(f"| figure ({options.config}) | measured |\n|---|---|")
    print(f"| out-of-fold accuracy | {oof['accuracy']:.4f} |")
    print(f"| out-of-fold log-loss | {oof['log_loss']:.4f} |")
    print(f"| best single member | {best}: {members[best]['log_loss']:.4f} log-loss |")
    print(
        f"| log-loss below the best single member | {1 - oof['log_loss'] / members[best]['log_loss']:.1%} |"
    )
    print(f"| expected calibration error (15 bins) | {oof['ece']:.4f} |")
    print(f"| combination | {cold['meta']['chosen']}, temperature {cold['meta']['temperature']:.3f} |")
    print(f"| cold fit | {cold['seconds']:.1f} s ({json.dumps(cold['stages'])}) |")
    print(f"| warm fit | {warm['seconds']:.1f} s ({json.dumps(warm['stages'])}) |")
    print(f"| cold fit over its feature pass | {cold['seconds'] / cold['stages']['features']:.2f} |")
    print(
        f"| predict over the sources' passes alone, median of {len(ratios)} | {statistics.median(ratios):.3f} |"
    )
    print(f"| predict, milliseconds a photo | {1000 * min(predicted['whole']) / predicted['photos']:.1f} |")
    print(f"| peak memory, cold and warm fit | {cold['peak_mb']:.0f} MB, {warm['peak_mb']:.0f} MB |")


def _run(script: str, *arguments: str) -> dict:  # type: ignore[type-arg]  # plain JSON
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stderr)
    print(f"... {time.perf_counter() - started:.0f} s", file=sys.stderr)
    return json.loads(done.stdout.strip().splitlines()[-1])  # type: ignore[no-any-return]


if __name__ == "__main__":
    main()
