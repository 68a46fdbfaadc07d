"""`demo`: photos drawn by code, an ensemble fitted to them, and its answers for photos that it never saw."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ensemble_minerals.config.schema import Config
from ensemble_minerals.data.own_outputs import SYNTHETIC_MARKER
from ensemble_minerals.data.synthetic.photo_set import (
    DEMONSTRATION_COUNTS,
    draw_demonstration_set,
    draw_photo,
)
from ensemble_minerals.prediction.table import Predictions
from ensemble_minerals.system.atomic import atomic_folder
from ensemble_minerals.system.paths import FolderKind, check_output, claimed_output
from ensemble_minerals.system.progress import Progress, Silent
from ensemble_minerals.workflows.fit import FitResult, fit
from ensemble_minerals.workflows.predict import predict
from ensemble_minerals.workflows.report import write_report

DEMONSTRATION = FolderKind("demonstration", SYNTHETIC_MARKER)
"""Folders of drawn photos: an empty file marks them, and whatever is trained on them says that it is synthetic."""

NEW_OF_CLASS = 2
"""New photos of each class for the ensemble to predict."""


@dataclass(frozen=True)
class Demonstration:
    """What the demonstration made.

    Attributes:
        folder: Holds all of it.
        fit: The fit on ``photos/``.
        predictions: Answers for ``new/``.
    """

    folder: Path
    fit: FitResult
    predictions: Predictions

    def outputs(self) -> list[tuple[Path, str]]:
        """What is worth a look: paths, and what is there."""
        return [
            (
                self.folder / "gallery.html",
                "answers for new photos, with every member's vote: open it in a browser",
            ),
            (self.folder / "predictions.csv", "the same as a table"),
            (self.folder / "report" / "report.html", "where the ensemble fails and why, class by class"),
            (
                self.folder / "bundle" / "README.md",
                "the ensemble's model card: figures by class, feature extractors, limits",
            ),
            (self.folder / "photos", "what it was trained on, a folder for each class"),
        ]


def demonstrate(
    folder: Path,
    config: Config,
    *,
    n_jobs: int = -1,
    cache_dir: Path | None = None,
    scale: float = 1.0,
    progress: Progress | None = None,
) -> Demonstration:
    """Draw the demonstration set, fit an ensemble to it, and let it predict new drawings.

    Args:
        folder: Where ``photos/``, ``new/``, ``bundle/``, ``predictions.csv``, ``gallery.html`` and ``report/`` go;
            those of an earlier demonstration are replaced.
        config: What to train.
        n_jobs: Concurrent tasks; -1 for all processors this process may use.
        cache_dir: Where features and converted networks are kept between runs.
        scale: Size of the set, 1 for all of `DEMONSTRATION_COUNTS`.
        progress: Told about progress.

    Raises:
        UserError: If the folder holds something that is no earlier demonstration.
    """
    progress = Silent() if progress is None else progress
    with claimed_output(folder / "photos", "a demonstration", kind=DEMONSTRATION):
        check_output(folder / "new", kind=DEMONSTRATION)
        return _demonstrate(
            folder, config, n_jobs=n_jobs, cache_dir=cache_dir, scale=scale, progress=progress
        )


def _demonstrate(
    folder: Path, config: Config, *, n_jobs: int, cache_dir: Path | None, scale: float, progress: Progress
) -> Demonstration:
    drawn = progress.stage("Drawing photos")
    made = draw_demonstration_set(folder / "photos", seed=config.seed, scale=scale)
    new = _draw_new(folder / "new", config.seed, folder / "photos" / made.broken[0])
    drawn(made.n_files + new, made.n_files + new)
    fitted = fit(
        folder / "photos",
        folder / "bundle",
        config,
        n_jobs=n_jobs,
        cache_dir=cache_dir,
        overwrite=True,
        progress=progress,
    )
    predicted = predict(
        fitted.bundle,
        [folder / "new"],
        out=folder / "predictions.csv",
        gallery=folder / "gallery.html",
        gallery_title="Answers for drawings it never saw",
        overwrite=True,
        n_jobs=n_jobs,
        cache_dir=cache_dir,
        progress=progress,
    )
    write_report(fitted.bundle, out=folder / "report", n_jobs=n_jobs, progress=progress)
    return Demonstration(folder, fitted, predicted.predictions)


def _draw_new(folder: Path, seed: int, broken: Path) -> int:
    """Draw photos that are in no training set, named for what they show, and add a broken file."""
    with atomic_folder(folder, durable=False) as draft:
        (draft / SYNTHETIC_MARKER).touch()
        for position, mineral in enumerate(DEMONSTRATION_COUNTS):
            for number in range(NEW_OF_CLASS):
                # Three numbers seed a photo of the set itself; a fourth makes sure that none of them comes again.
                rng = np.random.default_rng([seed, position, number, 1])
                image = Image.fromarray(draw_photo(mineral, rng))
                image.save(draft / f"{mineral}-{number + 1}.jpg", quality=90)
        shutil.copyfile(broken, draft / "broken.jpg")
    return NEW_OF_CLASS * len(DEMONSTRATION_COUNTS) + 1
