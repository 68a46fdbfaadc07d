"""`ablate` tests the ensemble against single models and against itself without a part."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ensemble_minerals.cli import options
from ensemble_minerals.cli.running import finished, handle_errors, is_synthetic, jobs, resolved_config
from ensemble_minerals.system.csv_file import raw_cells

app = typer.Typer()


@app.command(
    "ablate",
    epilog="""
  ensemble-minerals ablate photos/ --out artifacts/ablation

  ensemble-minerals ablate photos/ --repeats 3 --arms best_single,uniform,ingredient

Interrupted? The same command with --resume goes on.
""",
)
def command(
    data: options.Data,
    config: options.Config = None,
    out: Annotated[
        Path | None,
        options.out("DIR", "Where page, table and figures go.", "artifacts/<name of DATA>-ablation"),
    ] = None,
    settings: options.Settings = None,
    repeats: Annotated[
        int, typer.Option("--repeats", "-r", metavar="R", help="Outer cross-validations; more are sharper.")
    ] = 1,
    folds: options.Folds = 5,
    arms: Annotated[
        list[str] | None,
        typer.Option(
            "--arms",
            metavar="A,B,...",
            help="Only these arms or kinds of arms: single, choice, control, combination, addition, ingredient, "
            "source, protocol.",
            show_default="all",
        ),
    ] = None,
    corrections: options.Corrections = None,
    n_jobs: options.Jobs = -1,
    seed: options.Seed = None,
    resume: Annotated[bool, options.resume("an ablation")] = False,
    overwrite: Annotated[bool, options.overwrite("the ablation at --out")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Go on even if it will take more than half an hour.")
    ] = False,
    backend: options.Backend = "local",
    scheduler: options.Scheduler = None,
    cache: options.Cache = None,
    no_cache: options.NoCache = False,
    figures: options.Figures = None,
    raw_csv: options.RawCsv = False,
    debug: options.Debug = False,
) -> None:
    """Test the ensemble against single models, and against itself without each ingredient."""
    advice = "finished outer folds are kept; run the same command with --resume to go on"
    with handle_errors(debug, advice) as job, raw_cells(raw_csv):
        from ensemble_minerals.cli import console
        from ensemble_minerals.cli.progress import show_progress
        from ensemble_minerals.cli.results.ablation import show_ablation
        from ensemble_minerals.system import paths
        from ensemble_minerals.workflows.ablate import ablate

        resolved = resolved_config(config, settings, seed)
        folder = paths.default_ablation(data) if out is None else out
        wanted = [name.strip() for entry in arms or () for name in entry.split(",") if name.strip()]
        job.standing = finished(folder)
        with show_progress() as progress:
            result = ablate(
                data,
                folder,
                resolved,
                repeats=repeats,
                arms=wanted or None,
                n_splits=folds,
                n_jobs=jobs(n_jobs),
                cache_dir=paths.cache_folder(cache, none=no_cache),
                yes=yes,
                backend=backend,
                scheduler=scheduler,
                figure_format=figures,
                resume=resume,
                overwrite=overwrite,
                corrections=corrections or (),
                progress=progress,
            )
        terminal = console.stdout()
        show_ablation(terminal, result, synthetic=is_synthetic(data))
        console.say(terminal)
        console.say(terminal, f"Page: {result.html}; ablation.md beside it is the table for a paper.")
