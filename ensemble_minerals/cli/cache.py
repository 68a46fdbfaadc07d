"""`cache` shows what is kept between runs, and removes it."""

from __future__ import annotations

from typing import Annotated

import typer

from ensemble_minerals.cli import options
from ensemble_minerals.cli.running import handle_errors

app = typer.Typer()


@app.command(
    "cache",
    epilog="""
  ensemble-minerals cache

  ensemble-minerals cache --prune --older-than 30d --limit 2GB

  ensemble-minerals cache --clear
""",
)
def command(
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove what was not used for long, and what is above the limit.")
    ] = False,
    older_than: Annotated[
        str,
        typer.Option(
            "--older-than", metavar="TIME", help="With --prune: remove what was not used for so long."
        ),
    ] = "90d",
    limit: Annotated[
        str | None,
        typer.Option(
            "--limit",
            metavar="SIZE",
            help="With --prune: remove what was not used for longest, until the rest is within this size.",
            show_default="ENSEMBLE_MINERALS_CACHE_LIMIT, or 10GB",
        ),
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Remove everything.")] = False,
    cache: options.Cache = None,
    debug: options.Debug = False,
) -> None:
    """Show what is kept between runs, such as features of photos, or remove it: it only saves time.

    After each fit, what was not used for longest leaves until the cache is within its limit.
    """
    with handle_errors(debug):
        import time

        from ensemble_minerals.cli import console
        from ensemble_minerals.cli.progress import show_progress
        from ensemble_minerals.cli.results.cache import show_cache
        from ensemble_minerals.errors import UserError
        from ensemble_minerals.system import cache_folder
        from ensemble_minerals.system.durations import parse_duration
        from ensemble_minerals.system.paths import cache_place
        from ensemble_minerals.system.sizes import format_size, parse_size

        if limit is not None and not prune:
            raise UserError(f"--limit {limit}: add --prune to remove what is above it")
        if clear and prune:
            raise UserError("--clear removes everything; leave --prune out")
        most = cache_folder.cache_limit() if limit is None else parse_size(limit, "--limit")
        longest = parse_duration(older_than, "--older-than")
        folder, terminal = cache_place(cache), console.stdout()
        with show_progress():  # shows what is wrong with the cache
            if clear:
                freed = cache_folder.clear_cache(folder)
            elif prune:
                freed = cache_folder.prune_cache(folder, unused_since=time.time() - longest, limit=most)
            items, size = cache_folder.list_cache(folder), cache_folder.size_on_disk(folder)
        if clear or prune:
            console.say(terminal, f"Removed: {format_size(freed)}. Left: {format_size(size)} in {folder}.")
        else:
            show_cache(terminal, folder, items, size, most)
