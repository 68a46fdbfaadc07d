"""Photos as a fit prepares them, and its ensemble: for benchmarks of what comes after the features."""

from __future__ import annotations

from pathlib import Path

import timing

from ensemble_minerals.config.schema import Config
from ensemble_minerals.ensemble.stacked import StackedEnsemble
from ensemble_minerals.experiment.setup import Prepared, build_ensemble, prepare
from ensemble_minerals.system.cpu import cores
from ensemble_minerals.system.progress import Silent


def prepared(data: Path, config: Config, cache: Path, work: Path) -> Prepared:
    """Rows with features, row groups and folds; features come from the cache where it has them."""
    found = prepare(data, config, cache_dir=cache, n_threads=cores(), progress=Silent(), work=work)
    timing.note(f"features of {len(found.rows)} photos: done")
    return found


def ensemble(config: Config, photos: Prepared) -> StackedEnsemble:
    """What `fit` would fit to them, unfitted, on all cores."""
    return build_ensemble(config, photos.members, n_jobs=cores())
