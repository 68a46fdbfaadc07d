"""`inspect` checks photos before training."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from ensemble_minerals.cli import options
from ensemble_minerals.cli.running import handle_errors, jobs, resolved_config
from ensemble_minerals.system.csv_file import raw_cells

app = typer.Typer()


@app.command("inspect", epilog="  ensemble-minerals inspect photos/ --out artifacts/look")
def command(
    data: options.Data,
    config: options.Config = None,
    settings: options.Settings = None,
    out: Annotated[
        Path | None,
        options.out("DIR", "Save the findings here: inspection.html, .json, manifest.csv, pairs.csv."),
    ] = None,
    corrections: options.Corrections = None,
    n_jobs: options.Jobs = -1,
    cache: options.Cache = None,
    no_cache: options.NoCache = False,
    raw_csv: options.RawCsv = False,
    debug: options.Debug = False,
) -> None:
    """Look through photos before training: counts, unreadable files, duplicates, conflicts."""
    with handle_errors(debug), raw_cells(raw_csv):
        from ensemble_minerals.cli import console
        from ensemble_minerals.cli.progress import show_progress
        from ensemble_minerals.cli.results.inspection import show_inspection
        from ensemble_minerals.data.usable import check_usable
        from ensemble_minerals.reports.inspection import INSPECTION
        from ensemble_minerals.system import paths
        from ensemble_minerals.workflows.inspect import inspect_data

        resolved = resolved_config(config, settings)
        claim = (
            nullcontext()
            if out is None
            else paths.claimed_output(out, "an inspection", kind=INSPECTION, outside=[data])
        )
        with claim:
            threads = jobs(n_jobs)
            with show_progress(notes=False) as progress:
                inspection = inspect_data(
                    data,
                    resolved,
                    cache_dir=paths.cache_folder(cache, none=no_cache),
                    n_threads=threads,
                    corrections=corrections or (),
                    progress=progress,
                )
            terminal = console.stdout()
            show_inspection(terminal, inspection)
            console.say(terminal)
            if out is None:
                console.say(
                    terminal,
                    "With --out DIR this is saved, with the pairs and the points that agree on a page.",
                )
            else:
                console.say(
                    terminal, f"Saved: {inspection.write(out, n_threads=threads) / 'inspection.html'}"
                )
        check_usable(inspection.manifest)
