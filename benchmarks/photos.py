"""Photos as a fit prepares them, and its ensemble: for benchmarks of what comes after the features."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timing
from numpy.typing import NDArray

from ensemble_minerals.config.schema import Config
from ensemble_minerals.ensemble.stacked import StackedEnsemble
from ensemble_minerals.experiment.dataset import Dataset, scan_photos
from ensemble_minerals.experiment.extractors import open_extractors
from ensemble_minerals.experiment.preparation import prepare
from ensemble_minerals.experiment.setup import Setup, build_ensemble, set_up
from ensemble_minerals.members.rows import RowData
from ensemble_minerals.system.cpu import cores
from ensemble_minerals.system.runtime import Runtime


@dataclass(frozen=True)
class Prepared:
    """Photos as rows, and the members that a configuration describes."""

    dataset: Dataset
    setup: Setup

    def row_data(self, rows: NDArray[Any] | None = None) -> RowData:
        """What members see of manifest rows; of the rows to learn from if None."""
        return self.setup.row_data(self.dataset, self.dataset.rows if rows is None else rows)


def prepared(data: Path, config: Config, cache: Path, work: Path) -> Prepared:
    """Rows with features, row groups and folds; features come from the cache where it has them."""
    runtime = Runtime(cores(), cache)
    manifest = scan_photos(data, config, runtime)
    dataset = prepare(manifest, config, open_extractors(config, runtime), runtime)
    timing.note(f"features of {len(dataset.rows)} photos: done")
    return Prepared(dataset, set_up(dataset, config, runtime, work=work))


def ensemble(config: Config, photos: Prepared) -> StackedEnsemble:
    """What `fit` would fit to them, unfitted, on all cores."""
    return build_ensemble(config, photos.setup.members, Runtime(cores()))
