"""`fit` trains an ensemble and saves it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from ensemble_minerals.cli import options
from ensemble_minerals.cli.running import handle_errors, is_synthetic, jobs, resolved_config
from ensemble_minerals.system.csv_file import raw_cells

app = typer.Typer()


@app.command(
    "fit",
    epilog="""
  ensemble-minerals fit photos/

  ensemble-minerals fit photos/ --config fast --out artifacts/quick --overwrite

  ensemble-minerals fit photos/ --set members.0.head=mlp --set folds.n_splits=3
""",
)
def command(
    data: options.Data,
    config: options.Config = None,
    out: Annotated[
        Path | None, options.out("DIR", "Where the bundle goes.", "artifacts/<name of DATA>")
    ] = None,
    settings: options.Settings = None,
    n_jobs: options.Jobs = -1,
    seed: options.Seed = None,
    resume: Annotated[bool, options.resume("a fit")] = False,
    overwrite: Annotated[bool, options.overwrite("the bundle at --out")] = False,
    allow_failures: Annotated[
        bool, typer.Option("--allow-failures", help="Leave out members that fail instead of stopping.")
    ] = False,
    refit: Annotated[
        bool,
        typer.Option(
            "--refit",
            help="Train each member again, on all photos, and answer with that, instead of the mean of the fold "
            "models: quicker answers, from models the figures were not measured on.",
        ),
    ] = False,
    pack: Annotated[
        bool,
        typer.Option(
            "--pack", help="Copy the backbones' weights into the bundle, so that it needs nothing else."
        ),
    ] = False,
    no_report: Annotated[
        bool, typer.Option("--no-report", help="Do not write the page on where the ensemble fails and why.")
    ] = False,
    time_limit: Annotated[
        str | None,
        typer.Option(
            "--time-limit",
            metavar="TIME",
            help="Be done in about this time, such as 10m or 1h30m. Members are taken in the order of the "
            "configuration, trained networks last; those that the time is not enough for are left out, and the "
            "learning curve. If not even one fits, the quickest is fitted all the same. The report comes on top.",
        ),
    ] = None,
    strangers: Annotated[
        Path | None,
        typer.Option(
            "--strangers",
            metavar="FOLDER",
            help="Photos that show none of the classes: they help to choose what tells such photos.",
        ),
    ] = None,
    corrections: options.Corrections = None,
    backend: options.Backend = "local",
    scheduler: options.Scheduler = None,
    cache: options.Cache = None,
    no_cache: options.NoCache = False,
    raw_csv: options.RawCsv = False,
    debug: options.Debug = False,
) -> None:
    """Train an ensemble on a folder of photos and save it as a bundle."""
    advice = "finished parts are kept; run the same command with --resume to go on"
    with handle_errors(debug, advice) as job, raw_cells(raw_csv):
        from ensemble_minerals.bundle.schema import BUNDLE
        from ensemble_minerals.features.converted_ahead import begin_to_convert
        from ensemble_minerals.system import paths

        resolved = resolved_config(config, settings, seed, allow_failures=allow_failures, refit=refit)
        bundle = paths.default_bundle(data) if out is None else out
        paths.check_output(bundle, kind=BUNDLE, overwrite=overwrite, outside=[data])
        cache_dir = paths.cache_folder(cache, none=no_cache)
        begin_to_convert(data, resolved, cache_dir, jobs(n_jobs))

        from ensemble_minerals.cli import console
        from ensemble_minerals.cli.progress import show_progress
        from ensemble_minerals.cli.results.fit import show_fit
        from ensemble_minerals.workflows.fit import fit

        is_new = not BUNDLE.matches(bundle)
        if not no_report:
            from ensemble_minerals.workflows.report import (  # loads matplotlib
                report_folder,
                write_report,
            )

            report_folder(bundle)  # whatever prevents the report is reported before the work, not after it
        stands = f"the bundle stands at {bundle}"
        if not no_report:
            stands += f"; make its report with:  ensemble-minerals report {shlex.quote(str(bundle))}"
        job.standing = lambda: stands if is_new and BUNDLE.matches(bundle) else ""
        with show_progress() as progress:
            result = fit(
                data,
                bundle,
                resolved,
                n_jobs=jobs(n_jobs),
                cache_dir=cache_dir,
                resume=resume,
                overwrite=overwrite,
                pack=pack,
                backend=backend,
                scheduler=scheduler,
                time_limit=time_limit,
                strangers=strangers,
                corrections=corrections or (),
                progress=progress,
            )
            job.standing = lambda: stands
            page = None if no_report else write_report(bundle, n_jobs=jobs(n_jobs), progress=progress).html
        terminal = console.stdout()
        show_fit(terminal, result, synthetic=is_synthetic(data))
        console.say(terminal)
        console.say(terminal, f"Saved as {result.bundle}; its README.md says more.")
        if page is not None:
            console.say(terminal, f"Where it fails and why: {page}")
        console.say(terminal, "Next:")
        console.say(
            terminal,
            f"  ensemble-minerals predict {shlex.quote(str(result.bundle))} PHOTOS --gallery answers.html",
        )
