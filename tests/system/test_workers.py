"""What a killed process started ends with it, and leaves no shared memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    not Path("/proc/self").exists(), reason="/proc tells which processes are there"
)
SHARED = Path("/dev/shm")

JOBLIB = """
    import time
    from joblib import delayed
    import numpy as np
    from ensemble_minerals.system.parallel import run_unordered

    def work(array):
        print("working", flush=True)
        time.sleep(120)

    array = np.zeros(3_000_000)  # which joblib shares
    list(run_unordered([delayed(work)(array) for _ in range(2)], n_jobs=2, shared=[array]))
"""
LOADER = """
    import time
    from torch.utils.data import DataLoader
    from ensemble_minerals.networks.training.skorch_net import _begin_worker

    class Slow:
        def __len__(self):
            return 9
        def __getitem__(self, position):
            print("working", flush=True)
            time.sleep(120)

    next(iter(DataLoader(Slow(), num_workers=2, worker_init_fn=_begin_worker)))
"""


def of_session(session: int) -> list[int]:
    """Processes that run in a session."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, its_session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(its_session) == session and state != "Z":
            found.append(int(folder.name))
    return found


@pytest.mark.parametrize("program", [JOBLIB, LOADER], ids=["joblib", "loader"])
def test_a_kill_takes_the_workers_with_it(tmp_path, program):
    before = set(SHARED.iterdir()) if SHARED.exists() else set()
    file = tmp_path / "program.py"
    file.write_text(textwrap.dedent(program))
    process = subprocess.Popen(
        [sys.executable, file], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["working\n"] * 2
        assert len(of_session(process.pid)) >= 3
        process.kill()
        process.wait()
        patience = time.monotonic() + 30
        while of_session(process.pid) and time.monotonic() < patience:
            time.sleep(0.1)
        assert of_session(process.pid) == []
        left = [path.name for path in set(SHARED.iterdir()) - before if str(process.pid) in path.name]
        assert left == []
    finally:
        for number in of_session(process.pid):
            os.kill(number, signal.SIGKILL)
        process.communicate()
