"""`predict`: a bundle or a student and photos in, answers out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ensemble_minerals.bundle.student import is_student
from ensemble_minerals.features.opened_ahead import note_networks
from ensemble_minerals.prediction.given_labels import given_labels
from ensemble_minerals.prediction.inputs import Inputs, named_folders
from ensemble_minerals.prediction.photo_predictor import PhotoPredictor
from ensemble_minerals.prediction.predictor import Predictor, load
from ensemble_minerals.prediction.student import load_student
from ensemble_minerals.prediction.table import Predictions, check_ending
from ensemble_minerals.system.cpu import count_jobs
from ensemble_minerals.system.paths import check_output
from ensemble_minerals.system.progress import Progress, Silent


@dataclass(frozen=True)
class PredictResult:
    """What a prediction made.

    Attributes:
        predictions: One row an input.
        synthetic: Whether the model was fitted on photos drawn by code.
        table: The file of the table, if one was wanted.
        gallery: The page with the photos, if one was wanted.
    """

    predictions: Predictions
    synthetic: bool
    table: Path | None
    gallery: Path | None


def predict(
    model: str | Path,
    inputs: Inputs,
    *,
    out: Path | None = None,
    top_k: int = 1,
    sets: float | None = None,
    refuse: float | None = None,
    evidence: Sequence[str] = (),
    prior: str | Path | None = None,
    properties: str | None = None,
    advise: bool = False,
    gallery: Path | None = None,
    gallery_title: str = "Answers",
    overwrite: bool = False,
    n_jobs: int = -1,
    cache_dir: str | Path | None = None,
    progress: Progress | None = None,
) -> PredictResult:
    """Predict photos, and save the answers.

    Args:
        model: A bundle, or a student.
        inputs: Files, folders (every file in them, at any depth), patterns, and lists of paths (a CSV with a column
            path, or a .txt file with a path on each line).
        out: Table with a row for each input: ``.csv``, ``.json`` or ``.parquet``.
        top_k: How many guesses the table gives for each photo.
        sets: Also give each photo the set of classes that holds the true one with this probability,
            between 0 and 1.
        refuse: Share of photos like those of the fit that is refused in expectation, called none of the classes; 0
            refuses none. As the model was fitted if None.
        evidence: What the hand tells of every photo, such as ``hardness=3``; a CSV among the inputs may have such
            columns, one for each property. The answers of the photos stay, others stand beside them.
        prior: CSV with the columns class and weight: how common each class is where the photos were taken.
        properties: Of the classes; those of the model by default, else ``minerals``, or a YAML file.
        advise: Say of each unsure photo which test would tell most.
        gallery: Page with each photo, its label and every member's vote: ``.html``.
        gallery_title: Heading of the page.
        overwrite: Replace files that stand at `out` and `gallery`.
        n_jobs: Threads that decode; -1 for all processors this process may use.
        cache_dir: Where converted networks are kept between runs; nowhere if None.
        progress: Told about progress.

    Raises:
        BundleError: If the model is missing, damaged or of an unknown format.
        UserError: If an input matches nothing, evidence cannot be understood, or nothing can be saved where it should
            be: not in a folder of photos.
        WeightsError: If a backbone's weights cannot be had.
    """
    progress = Silent() if progress is None else progress
    folders = named_folders(inputs)
    if out is not None:
        check_ending(out)
        check_output(out, overwrite=overwrite, outside=folders)
    if gallery is not None:
        check_output(gallery, "--gallery", suffixes=(".html", ".htm"), overwrite=overwrite, outside=folders)
    n_threads = count_jobs(n_jobs)
    predictor: PhotoPredictor = (
        load_student(model, n_threads) if is_student(Path(model)) else load(model, cache_dir, n_threads)
    )
    predictions = predictor.predict(
        inputs,
        progress.stage("Answering"),
        sets=sets,
        refuse=refuse,
        evidence=evidence,
        prior=prior,
        properties=properties,
        advise=advise,
        note=progress.note,
    )
    if cache_dir is not None and isinstance(predictor, Predictor):
        note_networks(Path(model), Path(cache_dir), predictor.networks_in_cache)
    synthetic = predictor.is_demonstration
    if out is not None:
        predictions.write(out, top_k)
    if gallery is not None:
        from ensemble_minerals.reports.gallery import write_gallery

        write_gallery(
            predictions,
            gallery,
            title=gallery_title,
            source=str(model),
            synthetic=synthetic,
            n_threads=n_threads,
            given=given_labels(inputs, predictions.paths, predictions.classes),
        )
    return PredictResult(predictions, synthetic, out, gallery)
