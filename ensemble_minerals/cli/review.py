"""`review` lets people look at doubtful photos, and decide about their labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ensemble_minerals.cli import options
from ensemble_minerals.cli.running import handle_errors, jobs, token_of

app = typer.Typer()


@app.command(
    "review",
    epilog="""
  ensemble-minerals review artifacts/mine --corrections corrections.csv

  ensemble-minerals review artifacts/mine --corrections corrections.csv --unlabeled new/

  ensemble-minerals fit photos/ --corrections corrections.csv --out artifacts/better

Open the address that it says. Photos are not touched; every decision is a row in the file of corrections.
""",
)
def command(
    bundle: options.BundleFolder,
    corrections: Annotated[
        Path,
        typer.Option(
            "--corrections", metavar="FILE", help="CSV to which decisions are added; made with the first one."
        ),
    ] = Path("corrections.csv"),
    others: Annotated[
        list[Path] | None,
        typer.Option(
            "--others", metavar="FILE", help="Corrections of other people, to be read as well. Repeatable."
        ),
    ] = None,
    unlabeled: Annotated[
        Path | None,
        typer.Option(
            "--unlabeled",
            metavar="FOLDER",
            help="Label new photos instead, those first that would teach most; fit --corrections then learns from "
            "them, too.",
        ),
    ] = None,
    photos: options.PhotosMoved = None,
    host: options.Host = "127.0.0.1",
    port: options.Port = 8000,
    allow_hosts: options.AllowHosts = None,
    token_file: Annotated[
        Path | None,
        options.token_file(
            "Holds the token that people enter; needed beyond this machine. Or ENSEMBLE_MINERALS_TOKEN. "
            "Otherwise the address that is said holds one."
        ),
    ] = None,
    token: options.Token = None,
    n_jobs: options.Jobs = -1,
    cache: options.Cache = None,
    no_cache: options.NoCache = False,
    debug: options.Debug = False,
) -> None:
    """Look at doubtful photos in a page, and decide: keep, relabel, leave out, not the same object."""
    with handle_errors(debug, "decisions so far are in the file of corrections"):
        from ensemble_minerals.cli.progress import show_progress
        from ensemble_minerals.system import paths
        from ensemble_minerals.workflows.review import review

        with show_progress() as progress:
            review(
                bundle,
                corrections,
                others=others or (),
                unlabeled=unlabeled,
                photos=photos,
                host=host,
                port=port,
                allow_hosts=allow_hosts or (),
                token=token_of(token, token_file),
                n_jobs=jobs(n_jobs),
                cache_dir=paths.cache_folder(cache, none=no_cache),
                progress=progress,
            )
