"""The command line, put together from its commands.

A command imports what it needs when it runs, so ``--help`` answers at once. Exit codes are those of `cli.running`.
"""

from __future__ import annotations

import atexit
import os
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from io import TextIOWrapper
from typing import Annotated, Protocol

import typer

from ensemble_minerals.cli import (
    ablate,
    cache,
    compare,
    config,
    demo,
    distill,
    explain,
    export,
    fit,
    inspect,
    predict,
    recipes,
    report,
    review,
    serve,
    tune,
)
from ensemble_minerals.cli.running import SOME_UNREADABLE

EPILOG = """
[bold]From photos to answers[/bold]

  ensemble-minerals inspect photos/ --out artifacts/look

  ensemble-minerals fit photos/ --out artifacts/mine

  ensemble-minerals predict artifacts/mine new/ --gallery answers.html

photos/ holds a folder for each class. No photos at hand? Run  ensemble-minerals demo
"""

COMMANDS = (
    fit,
    demo,
    predict,
    inspect,
    report,
    compare,
    ablate,
    tune,
    explain,
    distill,
    export,
    serve,
    review,
    config,
    recipes,
    cache,
)
"""One module each, in the order of ``--help``. To add a command, write its module and list it here."""


class Command(Protocol):
    """The module of a command; its last name is the command's."""

    __name__: str
    app: typer.Typer


def build(commands: Iterable[Command]) -> typer.Typer:
    """Put commands together.

    Args:
        commands: Their modules, in the order of ``--help``.
    """
    program = typer.Typer(
        name="ensemble-minerals",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog=EPILOG,
        callback=_root,
    )
    for command in commands:
        program.add_typer(command.app)
    return program


def main() -> None:
    """Read the arguments and run the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a file name may hold what the terminal's encoding lacks
            stream.reconfigure(errors="replace")
    if any(argument == "" or re.fullmatch(r"--[a-z-]+=", argument) for argument in sys.argv[1:]):
        # The path "" would be the current folder.
        typer.echo("error: an argument is empty; is a variable of the shell not set?", err=True)
        sys.exit(2)
    asked = [command for command in COMMANDS if command.__name__.rpartition(".")[2] in sys.argv[1:2]]
    if predict in asked:
        with suppress(OSError, RuntimeError):  # the command says what is wrong with a path
            predict.begin(sys.argv[2:])
    try:
        (build(asked) if asked else app)()  # to build one takes a tenth of the time of all
    except SystemExit as ending:
        if not isinstance(ending.code, int) or ending.code in (0, SOME_UNREADABLE):
            raise
        # After a failure threads may still compute. Python would wait for them, or abort if one is in a library
        # that is being unloaded.
        _end_workers()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(ending.code)


def _end_workers() -> None:
    """End joblib's worker processes; they would wait for work, and its tracker would complain of what they left."""
    loky = sys.modules.get("joblib.externals.loky")
    if loky is not None:
        loky.get_reusable_executor(reuse=True).shutdown(wait=True, kill_workers=True)
        atexit._run_exitfuncs()


def _show_version(wanted: bool) -> None:
    if wanted:
        from ensemble_minerals import __version__

        typer.echo(f"ensemble-minerals {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Which mineral is on the photo? Trains calibrated ensembles on a folder of photos, and asks them."""


app = build(COMMANDS)
