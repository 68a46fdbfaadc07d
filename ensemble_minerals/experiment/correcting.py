"""The stage that reads photos and applies people's corrections to them."""

from __future__ import annotations

from pathlib import Path

from ensemble_minerals.config.schema import Config
from ensemble_minerals.data.correcting import Corrected, correct
from ensemble_minerals.data.corrections import Corrections
from ensemble_minerals.data.same_object.given_pairs import NO_PAIRS
from ensemble_minerals.data.usable import check_usable
from ensemble_minerals.experiment.dataset import scan_photos
from ensemble_minerals.system.runtime import Runtime


def scan_corrected(
    data: Path, config: Config, runtime: Runtime, corrections: Corrections | None, *, n_classes: int = 2
) -> Corrected:
    """Read all photos, see `scan_photos`, and those that corrections add, and apply the corrections.

    Args:
        data: Folder with one sub-folder a class, or a CSV with the columns path and label.
        config: Classes, and limits of what is decoded.
        runtime: Scans are kept in its cache folder; told what the corrections did.
        corrections: Of people; None for none.
        n_classes: So many classes must have photos that can be read.

    Raises:
        DataError: As `scan_photos` and `correct` do, or if corrections leave too few classes.
    """
    if corrections is None:
        return Corrected(scan_photos(data, config, runtime, n_classes=n_classes), NO_PAIRS, {}, ())
    manifest = scan_photos(data, config, runtime, n_classes=n_classes, added=corrections.added())
    corrected = correct(manifest, corrections)
    for note in corrected.notes:
        runtime.progress.note(note)
    check_usable(corrected.manifest, n_classes)
    return corrected
