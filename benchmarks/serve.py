"""`serve` under load, process included: throughput and times at 1, 8 and 64 clients, beside bare `predict`.

Bare `predict` gets all photos in one call. One client waits for each answer before it asks again, so it is also
compared with `predict` of one photo after another.

Then many requests of which a third are broken: every one must be answered, none by an error of the server, and the
memory of the server must not grow. A bundle of one small backbone (`fast`) shows that sooner.

    python benchmarks/serve.py BUNDLE PHOTOS [--cache DIR] [--photos 48] [--runs 3] [--requests 10000]
"""

from __future__ import annotations

import argparse
import os
import random
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import timing

from ensemble_minerals.prediction.predictor import load

CLIENTS = (1, 8, 64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--cache", type=Path, default=None)
    parser.add_argument("--photos", type=int, default=48)
    parser.add_argument("--runs", type=int, default=3, help="0: broken requests alone")
    parser.add_argument("--requests", type=int, default=10_000, help="of which a third are broken")
    options = parser.parse_args()
    files = random.Random(0).sample(timing.photos_of(options.data), options.photos)
    photos = [file.read_bytes() for file in files]
    with serving(options.bundle, options.cache) as (address, process):
        ask(httpx.Client(base_url=address, timeout=120), photos[0])
        if options.runs:
            under_load(address, options, files, photos)
        if options.requests:
            broken_requests(address, process, photos, options.requests)


def under_load(address: str, options: argparse.Namespace, files: list[Path], photos: list[bytes]) -> None:
    """Measure throughput and times, and bare `predict` of the same photos in turns; print a table."""
    predictor = load(options.bundle, options.cache, len(os.sched_getaffinity(0)))
    predictor.predict(files[:4])
    rows = []
    for n_clients in CLIENTS:
        bodies = [[photo] for photo in photos] * max(1, 2 * n_clients // len(photos))
        shares, rates, middles, slowest, overs, singles = [], [], [], [], [], []
        for run in range(options.runs):
            one_by_one = [timing.seconds(partial(predictor.predict, [file])) for file in files]
            bare = timing.seconds(lambda: predictor.predict(files)) / len(files)
            times, seconds, codes = load_of(address, bodies, n_clients)
            assert codes == {200: len(bodies)}, codes
            rates.append(len(bodies) / seconds)
            shares.append(rates[-1] * bare)
            middles.append(statistics.median(times))
            slowest.append(statistics.quantiles(times, n=20)[-1])
            overs.append(middles[-1] / statistics.median(one_by_one))
            singles.append(rates[-1] * statistics.mean(one_by_one))
            timing.note(f"run {run + 1}, {n_clients} clients: {shares[-1]:.2f} of bare predict")
        words = [
            f"{timing.spread(rates, 1, ' photos a second')}, {timing.spread(shares, 2, ' of bare predict')}",
            f"p50 {timing.spread(middles, 3)}, p95 {timing.spread(slowest, 3)}",
        ]
        if n_clients == 1:
            words.append(f"{timing.spread(singles, 2, ' of bare predict of one photo after another')}")
            words.append(f"p50 over the median of one warm prediction {timing.spread(overs, 2, '')}")
        rows.append((f"{n_clients} clients, one photo a request", "; ".join(words)))
    timing.table(f"serve, {len(photos)} photos", rows)


def broken_requests(address: str, process: int, photos: list[bytes], n_requests: int) -> None:
    """Send requests of which a third are broken; print what came back, and how memory went."""
    rng = random.Random(1)
    small = sorted(photos, key=len)[:8]
    codes: Counter[int] = Counter()
    memory = [resident(process)]
    for start in range(0, n_requests, 1000):
        chosen = [rng.choice(small) for _ in range(min(1000, n_requests - start))]
        bodies = [[damaged(photo, rng)] if rng.random() < 1 / 3 else [photo] for photo in chosen]
        _, _, found = load_of(address, bodies, 8)
        codes += found
        memory.append(resident(process))
        print(f"{start + 1000} requests: {dict(codes)}, {memory[-1]:.0f} MB", file=sys.stderr)
    print(f"\n{sum(codes.values()):,} requests, a third broken: {dict(sorted(codes.items()))}")
    print(f"server's memory after the first and the last thousand: {memory[1]:.0f} and {memory[-1]:.0f} MB")


def damaged(photo: bytes, rng: random.Random) -> bytes:
    """A photo that is cut off, changed, or none at all."""
    kind = rng.randrange(3)
    if kind == 0:
        return photo[: rng.randrange(len(photo))]
    if kind == 1:
        changed = bytearray(photo)
        for _ in range(50):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        return bytes(changed)
    return rng.randbytes(rng.randrange(2000))


def load_of(
    address: str, bodies: list[list[bytes]], n_clients: int
) -> tuple[list[float], float, Counter[int]]:
    """Let clients send requests: seconds of each, seconds of all, and how often each status came back."""
    codes: Counter[int] = Counter()

    def one(photos: list[bytes]) -> float:
        started = time.perf_counter()
        while (status := ask(client, *photos)) == 429:
            time.sleep(0.2)
        codes[status] += 1
        return time.perf_counter() - started

    limits = httpx.Limits(max_connections=n_clients)
    with (
        httpx.Client(base_url=address, timeout=300, limits=limits) as client,
        ThreadPoolExecutor(n_clients) as pool,
    ):
        ask(client, *bodies[0])
        started = time.perf_counter()
        times = list(pool.map(one, bodies))
        return times, time.perf_counter() - started, codes


def ask(client: httpx.Client, *photos: bytes) -> int:
    """Send photos, and return the status."""
    return client.post("/v1/predict", files=[("files", ("x.jpg", photo)) for photo in photos]).status_code


def resident(process: int) -> float:
    """Megabytes of a process."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


@contextmanager
def serving(bundle: Path, cache: Path | None) -> Iterator[tuple[str, int]]:
    """A server of a bundle: its address and process."""
    kept = ["--no-cache"] if cache is None else ["--cache", str(cache)]
    command = [sys.executable, "-m", "ensemble_minerals", "serve", str(bundle), "--port", "0", *kept]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "200"}
    ) as server:
        assert server.stderr is not None
        try:
            while (match := re.search(r"http://\S+", line := server.stderr.readline())) is None:
                assert line, "the server ended"
            yield match[0], server.pid
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
