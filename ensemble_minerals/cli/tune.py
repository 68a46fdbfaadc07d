"""`tune` searches a better configuration, and measures what it gains."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ensemble_minerals.cli.options import (
    Cache,
    ConfigOption,
    Data,
    Debug,
    Jobs,
    NoCache,
    RawCsv,
    Seed,
    Settings,
)
from ensemble_minerals.cli.running import finished, handle_errors, is_synthetic, jobs
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
    data: Data,
    config: ConfigOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Where the configuration and the page go.",
            show_default="artifacts/<name of DATA>-tune",
        ),
    ] = None,
    settings: Settings = None,
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
    folds: Annotated[
        int,
        typer.Option("--folds", metavar="K", help="Outer folds; the inner ones are the configuration's."),
    ] = 3,
    n_jobs: Jobs = -1,
    seed: Seed = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the tuning at --out.")] = False,
    cache: Cache = None,
    no_cache: NoCache = False,
    raw_csv: RawCsv = False,
    debug: Debug = False,
) -> None:
    """Search a configuration that answers better than the first, and measure honestly what it gains."""
    with handle_errors(debug) as job, raw_cells(raw_csv):
        from ensemble_minerals.cli import console
        from ensemble_minerals.cli.progress import show_progress
        from ensemble_minerals.cli.results.tuning import show_tuning
        from ensemble_minerals.config.loading import load_config
        from ensemble_minerals.system import paths
        from ensemble_minerals.workflows.tune import tune

        extra = [] if seed is None else [f"seed={seed}"]
        resolved = load_config(config, [*(settings or []), *extra])
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
                progress=progress,
            )
        terminal = console.stdout()
        show_tuning(terminal, result, synthetic=is_synthetic(data))
        console.say(terminal)
        console.say(terminal, f"Page: {result.html}; configuration: {result.config}")
        console.say(
            terminal,
            f"Train it with  ensemble-minerals fit {data} --config {result.config} --out artifacts/tuned",
        )
