"""How the search for likely pairs grows: embeddings, hashes and visual words drawn by code.

Each size has a process of its own. Words are drawn by Zipf's law, as those of photos are: a few are common, most are
rare. What a photo and a pair take beside it (`same_object.py`) does not depend on their number.

    python benchmarks/candidates.py [--sizes 10000 30000 100000]
"""

from __future__ import annotations

import argparse

import timing

RUN = """
import json, resource, sys, time
import numpy as np
from ensemble_minerals.data.same_object.candidates import propose_pairs
from ensemble_minerals.system.cpu import cores

n, rng = int(sys.argv[1]), np.random.default_rng(0)
embeddings = rng.normal(size=(n, 1280)).astype(np.float16)
hashes = rng.integers(0, 2**64, (2, n), dtype=np.uint64)
rarity = 1 / np.arange(1, 65537)
drawn = rng.choice(65536, (n, 170), p=rarity / rarity.sum()).astype(np.uint16)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started, used = time.perf_counter(), time.process_time()
pairs = propose_pairs(embeddings, *hashes, list(drawn), n_jobs=cores())
print(json.dumps({
    "seconds": time.perf_counter() - started,
    "processor": time.process_time() - used,
    "pairs": len(pairs) / n,
    "memory": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 30_000, 100_000])
    print(
        "| photos | seconds | processor seconds | microseconds a photo | pairs a photo | MB above the data |"
    )
    print("|---|---|---|---|---|---|")
    for size in parser.parse_args().sizes:
        run = timing.fresh(RUN, size)
        each = 1e6 * run["processor"] / size
        row = (f"{run['seconds']:.1f}", f"{run['processor']:.1f}", f"{each:.0f}", f"{run['pairs']:.1f}")
        print(f"| {size:,} | {' | '.join(row)} | {run['memory']:.0f} |", flush=True)


if __name__ == "__main__":
    main()
