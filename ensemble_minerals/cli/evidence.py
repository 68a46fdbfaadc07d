"""`report`, `ablate` and `explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ensemble_minerals.cli.options import (
    Backend,
    BundleFolder,
    Cache,
    ConfigOption,
    Data,
    Debug,
    Inputs,
    Jobs,
    NoCache,
    PhotosMoved,
    Scheduler,
    Seed,
    Settings,
)
from ensemble_minerals.cli.running import SOME_UNREADABLE, is_synthetic, jobs, reporting

app = typer.Typer()


@app.command(
    epilog="""
  ensemble-minerals report artifacts/mine

  ensemble-minerals report artifacts/mine --data others/ --out artifacts/mine-others
"""
)
def report(
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
    n_jobs: Jobs = -1,
    cache: Cache = None,
    no_cache: NoCache = False,
    debug: Debug = False,
) -> None:
    """See where an ensemble fails and why: errors, calibration, suspected labels, weak slices."""
    with reporting(debug, "run the same command again"):
        from ensemble_minerals.cli import console
        from ensemble_minerals.system import paths
        from ensemble_minerals.workflows.report import write_report

        if out is not None:
            paths.check_place(out, "--out")
        threads = jobs(n_jobs)
        with console.reporter(console.console(stderr=True)) as progress:
            result = write_report(
                bundle,
                data=data,
                out=out,
                photos=photos,
                cache_dir=paths.cache_folder(cache, none=no_cache),
                n_jobs=threads,
                heatmaps=not no_heatmaps,
                progress=progress,
            )
        shown = console.console()
        console.say(shown, f"Report: {result.html}; the same as data, tables and figures lies beside it.")


@app.command(
    epilog="""
  ensemble-minerals ablate photos/ --out artifacts/ablation

  ensemble-minerals ablate photos/ --repeats 3 --arms best_single,uniform,ingredient

Interrupted? The same command with --resume goes on.
"""
)
def ablate(
    data: Data,
    config: ConfigOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Where page, table and figures go.",
            show_default="artifacts/<name of DATA>-ablation",
        ),
    ] = None,
    settings: Settings = None,
    repeats: Annotated[
        int, typer.Option("--repeats", "-r", metavar="R", help="Outer cross-validations; more are sharper.")
    ] = 1,
    folds: Annotated[
        int, typer.Option("--folds", metavar="K", help="Outer folds; the inner ones are the configuration's.")
    ] = 5,
    arms: Annotated[
        list[str] | None,
        typer.Option(
            "--arms",
            metavar="A,B,...",
            help="Only these arms or kinds of arms: single, choice, control, combination, ingredient, source, "
            "protocol.",
            show_default="all",
        ),
    ] = None,
    n_jobs: Jobs = -1,
    seed: Seed = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an ablation that was interrupted.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the ablation that stands at --out.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Go on even if it will take more than half an hour.")
    ] = False,
    backend: Backend = "local",
    scheduler: Scheduler = None,
    cache: Cache = None,
    no_cache: NoCache = False,
    debug: Debug = False,
) -> None:
    """Test the ensemble against single models, and against itself without each ingredient."""
    with reporting(debug, "finished outer folds are kept; run the same command with --resume to go on"):
        from ensemble_minerals.cli import console, tables
        from ensemble_minerals.config.loading import load_config
        from ensemble_minerals.system import paths
        from ensemble_minerals.workflows import ablate as ablating

        extra = [] if seed is None else [f"seed={seed}"]
        resolved = load_config(config, [*(settings or []), *extra])
        folder = paths.default_ablation(data) if out is None else out
        paths.check_place(folder, "--out")
        wanted = [name.strip() for entry in arms or () for name in entry.split(",") if name.strip()]
        with console.reporter(console.console(stderr=True)) as progress:
            result = ablating.ablate(
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
                resume=resume,
                overwrite=overwrite,
                progress=progress,
            )
        shown = console.console()
        tables.show_ablation(shown, result, synthetic=is_synthetic(data))
        console.say(shown)
        console.say(shown, f"Page: {result.html}; ablation.md beside it is the table for a paper.")


@app.command(
    epilog="""
  ensemble-minerals explain artifacts/mine odd.jpg --out artifacts/why

  ensemble-minerals explain artifacts/mine odd.jpg --class malachite --layers lite0:final
"""
)
def explain(
    bundle: BundleFolder,
    inputs: Inputs,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Where page, pictures and tables go.",
            show_default="BUNDLE-explained",
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--class", metavar="CLASS", help="What speaks for this class.", show_default="the photo's answer"
        ),
    ] = None,
    members: Annotated[
        list[str] | None,
        typer.Option("--member", metavar="NAME", help="Also draw this member's own heat-map. Repeatable."),
    ] = None,
    layers: Annotated[
        list[str] | None,
        typer.Option(
            "--layers",
            metavar="NETWORK:LAYER",
            help="Layers whose feature maps are drawn, such as lite0:final. Repeatable.",
            show_default="three of each network",
        ),
    ] = None,
    n_jobs: Jobs = -1,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the explanation that stands at --out.")
    ] = False,
    cache: Cache = None,
    no_cache: NoCache = False,
    debug: Debug = False,
) -> None:
    """Show what in photos speaks for an answer: heat-maps, feature maps and every member's vote."""
    with reporting(debug, "run the same command again"):
        from ensemble_minerals.cli import console
        from ensemble_minerals.system import paths
        from ensemble_minerals.workflows import explain as explaining

        folder = bundle.with_name(f"{bundle.name}-explained") if out is None else out
        paths.check_place(folder, "--out")
        with console.reporter(console.console(stderr=True)) as progress:
            result = explaining.explain(
                bundle,
                inputs,
                folder,
                target=target,
                layers=layers,
                members=members,
                cache_dir=paths.cache_folder(cache, none=no_cache),
                overwrite=overwrite,
                n_jobs=jobs(n_jobs),
                progress=progress,
            )
        shown = console.console()
        answered = result.predictions.answered
        console.say(shown, f"{int(answered.sum())} of {len(answered)} photos are explained.")
        console.say(shown, f"Page: {result.html}; every vote: {result.votes}")
    if not result.predictions.answered.all():
        raise typer.Exit(SOME_UNREADABLE)
