"""`serve` offers a model as a page and to programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ensemble_minerals.cli import options
from ensemble_minerals.cli.running import handle_errors, jobs, token_of

app = typer.Typer()


@app.command(
    "serve",
    epilog="""
  ensemble-minerals serve artifacts/mine

  ensemble-minerals serve artifacts/mine --host 0.0.0.0 --allow-host lab.example.org --token-file token.txt

The page is at http://127.0.0.1:8000/, the interface for programs is described at /docs.
""",
)
def command(
    model: options.Model,
    host: options.Host = "127.0.0.1",
    port: options.Port = 8000,
    allow_hosts: options.AllowHosts = None,
    token_file: Annotated[
        Path | None,
        options.token_file(
            "Holds the token that requests must show; needed beyond this machine. Or ENSEMBLE_MINERALS_TOKEN."
        ),
    ] = None,
    token: options.Token = None,
    keep: Annotated[
        Path | None,
        typer.Option("--keep", metavar="DIR", help="Keep photos and answers there; else nothing is written."),
    ] = None,
    n_jobs: options.Jobs = -1,
    cache: options.Cache = None,
    no_cache: options.NoCache = False,
    debug: options.Debug = False,
) -> None:
    """Serve a bundle: a page to drop photos on, and an HTTP interface."""
    with handle_errors(debug):
        from ensemble_minerals.cli.progress import show_progress
        from ensemble_minerals.system import paths
        from ensemble_minerals.workflows.serve import serve

        with show_progress() as progress:
            serve(
                model,
                host=host,
                port=port,
                allow_hosts=allow_hosts or (),
                token=token_of(token, token_file),
                keep=keep,
                n_jobs=jobs(n_jobs),
                cache_dir=paths.cache_folder(cache, none=no_cache),
                progress=progress,
            )
