"""`explain` shows which parts of a photo an answer is based on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ensemble_minerals.cli import options
from ensemble_minerals.cli.running import SOME_UNREADABLE, finished, handle_errors, jobs
from ensemble_minerals.system.csv_file import raw_cells

app = typer.Typer()


@app.command(
    "explain",
    epilog="""
  ensemble-minerals explain artifacts/mine odd.jpg --out artifacts/why

  ensemble-minerals explain artifacts/mine odd.jpg --class malachite --layers lite0:final
""",
)
def command(
    bundle: options.BundleFolder,
    inputs: options.Inputs,
    out: Annotated[
        Path | None, options.out("DIR", "Where page, images and tables go.", "BUNDLE-explained")
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
    n_jobs: options.Jobs = -1,
    overwrite: Annotated[bool, options.overwrite("the explanation at --out")] = False,
    cache: options.Cache = None,
    no_cache: options.NoCache = False,
    raw_csv: options.RawCsv = False,
    debug: options.Debug = False,
) -> None:
    """Show what in photos speaks for an answer: heat-maps, feature maps and every member's vote."""
    with handle_errors(debug) as job, raw_cells(raw_csv):
        from ensemble_minerals.cli import console
        from ensemble_minerals.cli.progress import show_progress
        from ensemble_minerals.system import paths
        from ensemble_minerals.workflows.explain import explain

        folder = paths.beside(bundle, "explained") if out is None else out
        job.standing = finished(folder)
        with show_progress() as progress:
            result = explain(
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
        terminal = console.stdout()
        answered = result.predictions.answered
        console.say(terminal, f"{int(answered.sum())} of {len(answered)} photos are explained.")
        console.say(terminal, f"Page: {result.html}; every vote: {result.votes}")
    if not result.predictions.answered.all():
        raise typer.Exit(SOME_UNREADABLE)
