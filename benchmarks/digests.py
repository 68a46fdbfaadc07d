"""What checking the cache costs a warm fit: CPU seconds in checksums and digests over those of the whole process.

A fit fills the cache; then each run fits again in a process of its own, whose functions of `system.digest` count the
CPU time that is spent in them, reading included. That tells a share of a hundredth, which pairs of fits with and
without checks do not on a machine that does other work.

    python benchmarks/digests.py DATA [--config default] [--runs 3] [--cache DIR]
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import timing

FIT = """
import json, resource, sys, time
from pathlib import Path
from ensemble_minerals.system import digest
spent = {}
def counted(name):
    function = getattr(digest, name)
    def run(*arguments):
        started = time.thread_time()
        try:
            return function(*arguments)
        finally:
            spent[name] = spent.get(name, 0.0) + time.thread_time() - started
    return run
for name in ("content_digest", "checksum", "stream_digest"):  # the others call these
    setattr(digest, name, counted(name))
from ensemble_minerals.config.loading import load_config
from ensemble_minerals.workflows.fit import fit
data, config, cache, out = sys.argv[1:]
fit(data, out, load_config(config), n_jobs=1, cache_dir=cache, overwrite=True)
used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(json.dumps({"cpu": sum(one.ru_utime + one.ru_stime for one in used), "spent": spent}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--config", default="default")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=None, help="of an earlier fit; it is copied")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if options.cache is not None:
            shutil.copytree(options.cache, work / "cache")
        arguments = (options.data, options.config, work / "cache", work / "bundle")
        timing.fresh(FIT, *arguments, OMP_NUM_THREADS="1")
        runs = [timing.fresh(FIT, *arguments, OMP_NUM_THREADS="1") for _ in range(options.runs)]
    # The digest of a photo's file is its identity, found at every scan, whether there is a cache or not.
    shares = [
        100 * sum(spent for name, spent in run["spent"].items() if name != "stream_digest") / run["cpu"]
        for run in runs
    ]
    rows = [("warm fit, CPU", timing.spread([run["cpu"] for run in runs]))]
    for name in sorted({name for run in runs for name in run["spent"]}):
        rows.append((name, timing.spread([1e3 * run["spent"].get(name, 0.0) for run in runs], 1, " ms")))
    rows.append(("**checks of the cache over the warm fit**", timing.spread(shares, 2, " %")))
    timing.table(f"checking what is read, {options.config}", rows)


if __name__ == "__main__":
    main()
