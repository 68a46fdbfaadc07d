"""`demo` shows everything on photos drawn by code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ensemble_minerals.cli import options
from ensemble_minerals.cli.running import handle_errors, jobs
from ensemble_minerals.system.csv_file import raw_cells

app = typer.Typer()


@app.command("demo", epilog="  ensemble-minerals demo --out artifacts/demo")
def command(
    out: Annotated[
        Path, options.out("DIR", "Where photos, bundle and answers go; replaced when run again.")
    ] = Path("artifacts/demo"),
    config: Annotated[str, typer.Option("--config", "-c", metavar="NAME|FILE", help="As for fit.")] = "fast",
    n_jobs: options.Jobs = -1,
    cache: options.Cache = None,
    no_cache: options.NoCache = False,
    raw_csv: options.RawCsv = False,
    debug: options.Debug = False,
) -> None:
    """See it work on photos drawn by code: fit, predict, gallery. Needs no data."""
    with handle_errors(debug), raw_cells(raw_csv):
        from ensemble_minerals.cli import console
        from ensemble_minerals.cli.progress import show_progress
        from ensemble_minerals.cli.results.fit import show_fit
        from ensemble_minerals.cli.results.predictions import show_predictions
        from ensemble_minerals.config.loading import load_config
        from ensemble_minerals.system import paths
        from ensemble_minerals.workflows.demo import demonstrate

        resolved = load_config(config)
        paths.check_output(out / "photos")
        terminal = console.stdout()
        with show_progress() as progress:
            demonstration = demonstrate(
                out,
                resolved,
                n_jobs=jobs(n_jobs),
                cache_dir=paths.cache_folder(cache, none=no_cache),
                progress=progress,
            )
        show_fit(terminal, demonstration.fit, synthetic=True)
        show_predictions(terminal, demonstration.predictions, synthetic=True)
        console.say(terminal)
        console.say(terminal, "All of this is synthetic. Where to look:")
        width = max(len(str(path)) for path, _ in demonstration.outputs())
        for path, what in demonstration.outputs():
            console.say(terminal, f"  {path!s:{width}}  {what}")
        console.say(terminal, "With your own photos, a folder for each class:  ensemble-minerals fit photos/")
