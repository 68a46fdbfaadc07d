"""All parts of the campaign."""

from __future__ import annotations

import tempfile
from pathlib import Path

from campaign import bundles, caches, crowds, disks, kills, pictures, trials
from campaign.trials import Part, Row
from campaign.workplace import Workplace

PARTS = (
    Part("decoder", "mutated pictures, decoder", pictures.decode_mutants, 10_000, 4),
    Part("predict", "mutated pictures, `predict`", pictures.predict_mutants, 500, 4),
    Part("kill-fit", "SIGKILL of `fit`, 60 photos", kills.kill_fits, 100, 35),
    Part("kill-others", "SIGKILL of each other command", kills.kill_commands, 160, 40),
    Part("every-call", "kill or full disk at every change of a file", kills.every_call, 2_000, 30),
    Part("full-disk", "full disk, each command", disks.full_disk, 54, 10),
    Part("full-cache", "cache on a full disk", disks.full_cache, 10, 3),
    Part("permission", "no permission, each command", disks.no_permission, 18, 3),
    Part("bundle", "mutated bundles, loading", bundles.load_bundles, 1_000, 15),
    Part("bundle-commands", "mutated bundles, four commands", bundles.command_bundles, 160, 14),
    Part("cache", "damaged caches, `fit`", caches.damage_caches, 500, 30),
    Part("one-cache", "processes on one cache", crowds.one_cache, 16, 5),
    Part("one-output", "pairs of `fit` into one --out", crowds.one_output, 50, 12),
    Part("cluster", "Dask cluster with dying workers", crowds.dying_workers, 5, 5),
)
"""All parts; two at once take less than two hours."""


def run_part(name: str, scale: float, seed: int) -> Row:
    """Run a part in a folder of its own."""
    part = next(part for part in PARTS if part.name == name)
    with tempfile.TemporaryDirectory(prefix=f"campaign-{name}-", ignore_cleanup_errors=True) as folder:
        return trials.run(part, Workplace(Path(folder)), scale=scale, seed=seed)
