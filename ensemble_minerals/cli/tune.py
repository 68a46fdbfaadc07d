"""`tune` searches a better configuration, and measures what it gains."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from ensemble_minerals.cli import options
from ensemble_minerals.cli.running import finished, handle_errors, is_synthetic, jobs, resolved_config
from ensemble_minerals.system.csv_file import raw_cells

app = typer.Typer()


@app.command(
    "tune",
    epilog="""
  ensemble-minerals tune photos/ --time-limit 30m --out artifacts/tuned

  ensemble-minerals fit photos/ --config artifacts/tuned/config.yaml --out artifacts/mine

Heads, penalties, samplers, views and members are tried on features that are computed once. The search chooses by
out-of-fold log-loss, which flatters what it chose; so it is repeated inside the training rows of outer folds, and the
gain is measured on the others, with an interval. Needs  pip install 'ensemble-minerals[tune]'
""",
)
def command(
    data: options.Data,
    config: options.Config = None,
    out: Annotated[
        Path | None,
        options.out("DIR", "Where the configuration and the page go.", "artifacts/<name of DATA>-tune"),
    ] = None,
    settings: options.Settings = None,
    time_limit: Annotated[
        str,
        typer.Option(
            "--time-limit",
            metavar="TIME",
            help="Be done in about this time, such as 30m or 2h: one share for the search on all photos, and one for "
            "each outer fold.",
        ),
    ] = "30m",
    trials: Annotated[
        int | None,
        typer.Option(
            "--trials",
            metavar="N",
            help="Configurations that each search tries, at most.",
            show_default="what the time allows",
        ),
    ] = None,
    folds: options.Folds = 3,
    corrections: options.Corrections = None,
    n_jobs: options.Jobs = -1,
    seed: options.Seed = None,
    overwrite: Annotated[bool, options.overwrite("the tuning at --out")] = False,
    cache: options.Cache = None,
    no_cache: options.NoCache = False,
    raw_csv: options.RawCsv = False,
    debug: options.Debug = False,
) -> None:
    """Search a configuration that answers better than the first, and measure honestly what it gains."""
    with handle_errors(debug) as job, raw_cells(raw_csv):
        from ensemble_minerals.cli import console
        from ensemble_minerals.cli.progress import show_progress
        from ensemble_minerals.cli.results.tuning import show_tuning
        from ensemble_minerals.system import paths
        from ensemble_minerals.workflows.tune import tune

        resolved = resolved_config(config, settings, seed)
        folder = paths.default_tuning(data) if out is None else out
        job.standing = finished(folder)
        with show_progress() as progress:
            result = tune(
                data,
                folder,
                resolved,
                time_limit=time_limit,
                trials=trials,
                n_splits=folds,
                n_jobs=jobs(n_jobs),
                cache_dir=paths.cache_folder(cache, none=no_cache),
                overwrite=overwrite,
                corrections=corrections or (),
                progress=progress,
            )
        terminal = console.stdout()
        show_tuning(terminal, result, synthetic=is_synthetic(data))
        console.say(terminal)
        console.say(terminal, f"Page: {result.html}; configuration: {result.config}")
        given = "".join(f" --corrections {shlex.quote(str(file))}" for file in corrections or ())
        train = f"fit {shlex.quote(str(data))} --config {shlex.quote(str(result.config))}{given}"
        bundle = shlex.quote(f"{folder}-bundle")
        console.say(terminal, f"Train it with  ensemble-minerals {train} --out {bundle}")
