"""`inspect`: what a folder of photos holds, before anything is trained on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ensemble_minerals.config.schema import Config
from ensemble_minerals.data.corrections import given_corrections
from ensemble_minerals.data.warnings import data_warnings
from ensemble_minerals.experiment.correcting import scan_corrected
from ensemble_minerals.experiment.grouping import group_photos
from ensemble_minerals.experiment.inspection import DataFindings
from ensemble_minerals.features.converted_ahead import converted_ahead
from ensemble_minerals.features.registry import proposing_backbones
from ensemble_minerals.reports.inspection import write_inspection
from ensemble_minerals.system.progress import Progress, Silent
from ensemble_minerals.system.runtime import Runtime
from ensemble_minerals.system.stopwatch import Stopwatch


class Inspection(DataFindings):
    """What a folder of photos holds, and how to save it."""

    def write(self, folder: str | Path, *, n_threads: int = 1) -> Path:
        """Save ``inspection.json``, ``manifest.csv``, ``pairs.csv`` and ``inspection.html``.

        Args:
            folder: Where they go; it appears whole or not at all, and replaces an earlier inspection.
            n_threads: Threads that make thumbnails.

        Returns:
            The folder.

        Raises:
            UserError: If the folder holds something else, or cannot be written.
        """
        folder = Path(folder)
        write_inspection(self, folder, n_threads=n_threads)
        return folder


def inspect_data(
    data: str | Path,
    config: Config,
    *,
    cache_dir: Path | None = None,
    n_threads: int = 1,
    corrections: Sequence[str | Path] = (),
    progress: Progress | None = None,
) -> Inspection:
    """Find out what a folder of photos holds, without training anything.

    Photos of the same object are found as in `fit`, and what that takes is kept in the cache for it.

    Args:
        data: Folder with one sub-folder a class, or a CSV with the columns path and label.
        config: Limits, backbones and thresholds.
        cache_dir: Where scans, features and converted networks are kept between runs; nowhere if None.
        n_threads: Threads that decode.
        corrections: Files of corrections, as of `fit`.
        progress: Told about progress.

    Raises:
        DataError: If there are no photos, or fewer than two classes, or the corrections cannot be used.
        WeightsError: If the first backbone's weights cannot be had.
    """
    runtime = Runtime(n_threads, cache_dir, Silent() if progress is None else progress)
    decisions = given_corrections(corrections)
    stopwatch = Stopwatch()
    needed = proposing_backbones(config)
    with stopwatch("scan"), converted_ahead(Path(data), config, cache_dir, n_threads, needed):
        corrected = scan_corrected(Path(data), config, runtime, decisions, n_classes=0)
    with stopwatch("groups"):
        manifest, report = group_photos(corrected.manifest, config, runtime, corrected.pairs)
    warnings = (
        *corrected.notes,
        *manifest.warnings,
        *data_warnings(manifest, max(config.folds.n_splits, 2), report.pairs),
    )
    return Inspection(manifest, report.pairs, config, warnings, stopwatch.seconds)
