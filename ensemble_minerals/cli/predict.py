"""`predict` answers for photos."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import typer

from ensemble_minerals.cli import options
from ensemble_minerals.cli.running import SOME_UNREADABLE, finished, handle_errors, jobs
from ensemble_minerals.system.csv_file import raw_cells

app = typer.Typer()


def begin(arguments: Sequence[str]) -> None:
    """Open the networks of a bundle for a few photos while its command is built and imports what it needs.

    Args:
        arguments: As they were typed. Where the bundle is not the first of them, nothing is begun.
    """
    n_files = sum(Path(argument).is_file() for argument in arguments[1:])
    if not n_files or "--no-cache" in arguments:
        return
    from ensemble_minerals.features.opened_ahead import FEW, open_ahead
    from ensemble_minerals.system import paths

    if n_files <= FEW:
        chosen = dict(pairwise(arguments)).get("--cache")
        open_ahead(Path(arguments[0]), paths.cache_place(None if chosen is None else Path(chosen)))


@app.command(
    "predict",
    epilog="""
  ensemble-minerals predict artifacts/mine new/ --out answers.csv --gallery answers.html

  ensemble-minerals predict artifacts/mine one.jpg 'more/*.png' list.csv --top-k 3

  ensemble-minerals predict artifacts/mine one.jpg --evidence hardness=3 --evidence streak=black --advise

Exit code 0: all answered; 3: some photos could not be read, all others are answered.
""",
)
def command(
    bundle: options.Model,
    inputs: options.Inputs,
    out: Annotated[
        Path | None, options.out("FILE", "Table with a row for each input: .csv, .json or .parquet.")
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
    evidence: Annotated[
        list[str] | None,
        typer.Option(
            "--evidence",
            "-e",
            metavar="NAME=VALUE",
            help="What the hand tells, such as hardness=3, hardness=2.5-3.5 or streak=black; for many photos as "
            "columns of a CSV. Repeatable.",
        ),
    ] = None,
    prior: Annotated[
        Path | None,
        typer.Option(
            "--prior", metavar="FILE", help="CSV with class and weight: how common each is at the place."
        ),
    ] = None,
    properties: Annotated[
        str | None,
        typer.Option(
            "--properties",
            metavar="NAME|FILE",
            help="What the classes show in hand tests: minerals, or a YAML file.",
            show_default="the model's",
        ),
    ] = None,
    advise: Annotated[
        bool, typer.Option("--advise", help="Say of each unsure photo which hand test would tell most.")
    ] = False,
    refuse: Annotated[
        float | None,
        typer.Option(
            "--refuse",
            metavar="SHARE",
            help="Call photos none of these that are stranger than all but this share of the photos of the fit, "
            "such as 0.05; 0 for none. As the fit says by default.",
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
    overwrite: Annotated[bool, options.overwrite("the files that stand at --out and --gallery")] = False,
    n_jobs: options.Jobs = -1,
    cache: options.Cache = None,
    no_cache: options.NoCache = False,
    raw_csv: options.RawCsv = False,
    debug: options.Debug = False,
) -> None:
    """Ask a bundle what is on photos."""
    with handle_errors(debug) as job, raw_cells(raw_csv):
        from ensemble_minerals.cli import console
        from ensemble_minerals.cli.progress import show_progress
        from ensemble_minerals.cli.results.predictions import show_predictions
        from ensemble_minerals.system import paths
        from ensemble_minerals.workflows.predict import predict

        job.standing = finished(out, gallery)
        with show_progress() as progress:
            result = predict(
                bundle,
                inputs,
                out=out,
                top_k=top_k,
                sets=sets,
                refuse=refuse,
                evidence=evidence or (),
                prior=prior,
                properties=properties,
                advise=advise,
                gallery=gallery,
                overwrite=overwrite,
                n_jobs=jobs(n_jobs),
                cache_dir=paths.cache_folder(cache, none=no_cache),
                progress=progress,
            )
        terminal = console.stdout()
        show_predictions(terminal, result.predictions, top_k=top_k, synthetic=result.synthetic)
        if result.table is not None:
            console.say(terminal, f"Table: {result.table}")
        if result.gallery is not None:
            console.say(terminal, f"Gallery: {result.gallery}")
    if not result.predictions.answered.all():
        raise typer.Exit(SOME_UNREADABLE)
