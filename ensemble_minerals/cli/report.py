"""`report` says where an ensemble fails."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ensemble_minerals.cli import options
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
    bundle: options.BundleFolder,
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
    photos: options.PhotosMoved = None,
    out: Annotated[
        Path | None,
        options.out("DIR", "Where the report goes; an earlier report there is replaced.", "BUNDLE-report"),
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
    corrections: options.CorrectionsSince = None,
    n_jobs: options.Jobs = -1,
    cache: options.Cache = None,
    no_cache: options.NoCache = False,
    figures: options.Figures = None,
    raw_csv: options.RawCsv = False,
    debug: options.Debug = False,
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
                corrections=corrections or (),
                progress=progress,
            )
        terminal = console.stdout()
        console.say(terminal, f"Report: {result.html}; the same as data, tables and figures lies beside it.")
