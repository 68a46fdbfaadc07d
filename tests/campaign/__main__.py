"""``make campaign``: runs the parts, prints the table as it grows, and writes it."""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from campaign import trials
from campaign.parts import PARTS, run_part
from campaign.trials import Row

AT_ONCE = 2


def main() -> int:
    """Run the campaign; the exit code is 1 if a promise did not hold."""
    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser(prog="make campaign", description=__doc__)
    parser.add_argument("--part", action="append", choices=names, help="only this part; repeatable")
    parser.add_argument("--scale", type=float, default=1.0, help="share of trials and of time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("artifacts/campaign"))
    arguments = parser.parse_args()
    wanted = [name for name in names if arguments.part is None or name in arguments.part]
    longest_first = sorted(wanted, key=lambda name: -PARTS[names.index(name)].minutes)
    rows: dict[str, Row] = {}
    with ProcessPoolExecutor(AT_ONCE, get_context("spawn"), max_tasks_per_child=1) as pool:
        running = {
            pool.submit(run_part, name, arguments.scale, arguments.seed): name for name in longest_first
        }
        for done in as_completed(running):
            row = rows[running[done]] = done.result()
            print(f"{row.part}: {row.held} of {row.tried} held, {row.seconds:.0f} s", file=sys.stderr)
            trials.save([rows[name] for name in wanted if name in rows], arguments.out)
    print(trials.table([rows[name] for name in wanted]))
    return int(any(row.held < row.tried for row in rows.values()))


if __name__ == "__main__":
    sys.exit(main())
