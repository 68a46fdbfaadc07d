"""`compare` sets two bundles side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ensemble_minerals.cli import options
from ensemble_minerals.cli.running import handle_errors, jobs
from ensemble_minerals.system.csv_file import raw_cells

app = typer.Typer()


@app.command(
    "compare",
    epilog="""
  ensemble-minerals compare artifacts/before artifacts/after

  ensemble-minerals compare artifacts/before artifacts/after --data others/ --out changed.csv
""",
)
def command(
    first: Annotated[Path, typer.Argument(metavar="A", help="Folder that fit saved.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another, with the same classes.")],
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DATA",
            help="Labeled photos that took no part in either fit.",
            show_default="the photos that both fits answered out of fold",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        options.out("FILE", "A .csv of the photos with another answer, or a .json of everything."),
    ] = None,
    overwrite: Annotated[bool, options.overwrite("the file that stands at --out")] = False,
    n_jobs: options.Jobs = -1,
    cache: options.Cache = None,
    no_cache: options.NoCache = False,
    raw_csv: options.RawCsv = False,
    debug: options.Debug = False,
) -> None:
    """See what bundle B gains over bundle A on the same photos, with intervals, and for which classes."""
    with handle_errors(debug), raw_cells(raw_csv):
        from ensemble_minerals.cli import console
        from ensemble_minerals.cli.progress import show_progress
        from ensemble_minerals.cli.results.comparison import show_comparison
        from ensemble_minerals.system import paths
        from ensemble_minerals.workflows.compare import compare

        threads = jobs(n_jobs)
        with show_progress() as progress:
            result = compare(
                first,
                second,
                data=data,
                out=out,
                overwrite=overwrite,
                cache_dir=paths.cache_folder(cache, none=no_cache),
                n_jobs=threads,
                progress=progress,
            )
        terminal = console.stdout()
        show_comparison(terminal, result)
        if out is not None:
            console.say(terminal, f"Saved: {out}")
