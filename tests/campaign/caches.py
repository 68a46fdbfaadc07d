"""Damaged caches."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from drawn.damage import damage_folder

from campaign.commands import fit
from campaign.trials import BLOCKED, TRACE, WRONG, Trial
from campaign.workplace import Workplace, in_child, scores


def damage_caches(place: Workplace, rng: np.random.Generator, count: int) -> Iterator[Trial]:
    """A fit with a damaged cache has the figures of one without a cache, and so has the next."""
    import ensemble_minerals.networks.models.multi_head  # once here, not in every child
    import ensemble_minerals.workflows.fit  # noqa: F401

    kinds = ("heads", "backbone")[:count]
    warm, expected = {}, {}
    for kind in kinds:
        warm[kind] = place.fresh(f"warm {kind}")
        command = fit(place, kind)
        folder = place.fresh("reference")
        ran = place.run(*command.call(folder), "--no-report", "--cache", warm[kind])
        assert ran.code == 0, ran.said
        expected[kind] = scores(folder / command.output)
    for number in range(count):
        kind = kinds[0 if number % 5 else -1]
        cache = place.root / "damaged"
        shutil.rmtree(cache, ignore_errors=True)
        shutil.copytree(warm[kind], cache)
        what = damage_folder(cache, int(rng.integers(2**31)))
        broken: tuple[str, ...] = ()
        said = ""
        for _ in range(2):
            folder = place.fresh("from damaged")
            found, error = in_child(partial(_fit, place, kind, folder, cache))
            if found is None:
                broken += (TRACE,) if not said else (BLOCKED,)
            elif found != _as_json(expected[kind]):
                broken += (WRONG,)
            said += error
        yield Trial(f"{kind}: {what}", broken, said)


def _fit(place: Workplace, kind: str, folder: Path, cache: Path) -> object:
    from ensemble_minerals.config.loading import load_config
    from ensemble_minerals.workflows.fit import fit

    with Path(os.devnull).open("w") as nowhere:  # notes on the cache
        os.dup2(nowhere.fileno(), 2)
    config = load_config(str(place.root / f"{kind}.yaml"))
    fit(place.photos, folder / "bundle", config, n_jobs=1, cache_dir=cache)
    return scores(folder / "bundle")


def _as_json(values: object) -> object:
    return list(values) if isinstance(values, tuple) else values
