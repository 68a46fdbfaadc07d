"""`predict` answers for photos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ensemble_minerals.cli.options import Cache, Debug, Inputs, Jobs, NoCache
from ensemble_minerals.cli.running import SOME_UNREADABLE, jobs, reporting

app = typer.Typer()


@app.command(
    "predict",
    epilog="""
  ensemble-minerals predict artifacts/mine new/ --out answers.csv --gallery answers.html

  ensemble-minerals predict artifacts/mine one.jpg 'more/*.png' --top-k 3

Exit code 0: all answered; 3: some photos could not be read, all others are answered.
""",
)
def command(
    bundle: Annotated[
        Path, typer.Argument(metavar="BUNDLE|STUDENT", help="Folder that fit or distill saved.")
    ],
    inputs: Inputs,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="Table with a row for each input: .csv, .json or .parquet."
        ),
    ] = None,
    top_k: Annotated[
        int,
        typer.Option("--top-k", "-k", metavar="K", min=1, help="How many guesses to give for each photo."),
    ] = 1,
    sets: Annotated[
        float | None,
        typer.Option(
            "--sets",
            metavar="P",
            help="Give each photo the classes that hold the true one with probability P, such as 0.95.",
        ),
    ] = None,
    gallery: Annotated[
        Path | None,
        typer.Option(
            "--gallery",
            "-g",
            metavar="FILE.html",
            help="Page with each photo, its label and every member's vote.",
        ),
    ] = None,
    n_jobs: Jobs = -1,
    cache: Cache = None,
    no_cache: NoCache = False,
    debug: Debug = False,
) -> None:
    """Ask a bundle what is on photos."""
    with reporting(debug, "run the same command again"):
        from ensemble_minerals.cli import console
        from ensemble_minerals.cli.progress import reporter
        from ensemble_minerals.cli.results.predictions import show_predictions
        from ensemble_minerals.prediction.predictor import Predictor, load
        from ensemble_minerals.prediction.student import StudentPredictor, is_student, load_student
        from ensemble_minerals.prediction.table import check_ending
        from ensemble_minerals.system import paths

        if out is not None:
            check_ending(out)
            paths.check_output(out)
        if gallery is not None:
            paths.check_output(gallery, "--gallery", suffixes=(".html", ".htm"))
        threads = jobs(n_jobs)
        predictor: Predictor | StudentPredictor
        if is_student(bundle):
            predictor = load_student(bundle, threads)
            synthetic = bool(predictor.student.info.get("demonstration"))
        else:
            predictor = load(bundle, paths.cache_folder(cache, none=no_cache), threads)
            synthetic = bool(predictor.bundle.info.get("demonstration"))
        with reporter() as progress:
            predictions = predictor.predict(inputs, progress.stage("Answering"), sets=sets)
        terminal = console.stdout()
        show_predictions(terminal, predictions, top_k=top_k, synthetic=synthetic)
        if out is not None:
            console.say(terminal, f"Table: {predictions.write(out, top_k)}")
        if gallery is not None:
            from ensemble_minerals.reports.gallery import write_gallery

            write_gallery(predictions, gallery, source=str(bundle), synthetic=synthetic, n_threads=threads)
            console.say(terminal, f"Gallery: {gallery}")
    if not predictions.answered.all():
        raise typer.Exit(SOME_UNREADABLE)
