"""`report` says where an ensemble fails."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ensemble_minerals.cli.options import (
    BundleFolder,
    Cache,
    Debug,
    Figures,
    Jobs,
    NoCache,
    PhotosMoved,
    RawCsv,
)
from ensemble_minerals.cli.running import handle_errors, jobs
from ensemble_minerals.system.csv_file import raw_cells

app = typer.Typer()


@app.command(
    "report",
    epilog="""
  ensemble-minerals report artifacts/mine

  ensemble-minerals report artifacts/mine --data others/ --out artifacts/mine-others
""",
)
def command(
    bundle: BundleFolder,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DATA",
            help="Labeled photos that took no part in the fit, to be scored with the bundle.",
            show_default="the fit's own photos, each answered by models that never saw it",
        ),
    ] = None,
    strangers: Annotated[
        Path | None,
        typer.Option(
            "--strangers",
            metavar="FOLDER",
            help="Photos that show none of the classes: the report says how many of them are told.",
        ),
    ] = None,
    photos: PhotosMoved = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Where the report goes; an earlier report there is replaced.",
            show_default="BUNDLE-report",
        ),
    ] = None,
    no_heatmaps: Annotated[
        bool,
        typer.Option(
            "--no-heatmaps",
            help="Do not look into the networks for what spoke for the worst mistakes: quicker.",
        ),
    ] = False,
    random_split: Annotated[
        bool | None,
        typer.Option(
            "--random-split/--no-random-split",
            help="Train the members once more in a random split, as most tools do, to say what it would promise.",
            show_default="where the features are in the cache, and it takes a minute at most",
        ),
    ] = None,
    n_jobs: Jobs = -1,
    cache: Cache = None,
    no_cache: NoCache = False,
    figures: Figures = None,
    raw_csv: RawCsv = False,
    debug: Debug = False,
) -> None:
    """See where an ensemble fails and why: errors, calibration, suspected labels, weak slices."""
    with handle_errors(debug), raw_cells(raw_csv):
        from ensemble_minerals.cli import console
        from ensemble_minerals.cli.progress import show_progress
        from ensemble_minerals.system import paths
        from ensemble_minerals.workflows.report import write_report

        threads = jobs(n_jobs)
        with show_progress() as progress:
            result = write_report(
                bundle,
                data=data,
                out=out,
                photos=photos,
                strangers=strangers,
                cache_dir=paths.cache_folder(cache, none=no_cache),
                n_jobs=threads,
                heatmaps=not no_heatmaps,
                random_split=random_split,
                figure_format=figures,
                progress=progress,
            )
        terminal = console.stdout()
        console.say(terminal, f"Report: {result.html}; the same as data, tables and figures lies beside it.")
