"""`config` prints a configuration, as it is or with every key explained."""

from __future__ import annotations

from typing import Annotated

import typer

from ensemble_minerals.cli import options
from ensemble_minerals.cli.running import handle_errors

app = typer.Typer()


@app.command("config")
def command(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="A shipped configuration, a recipe, or a YAML file.", show_default=False
        ),
    ] = None,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain", help="Write every key out, also those left to their defaults, and say what it means."
        ),
    ] = False,
    debug: options.Debug = False,
) -> None:
    """Print a configuration to start from; without NAME, list those that ship.

    What is printed is YAML:  ensemble-minerals config default > mine.yaml
    """
    with handle_errors(debug):
        from ensemble_minerals.cli import console
        from ensemble_minerals.config.files import configurations, find_config
        from ensemble_minerals.config.loading import load_config
        from ensemble_minerals.config.reference import explain as explained

        terminal = console.stdout()
        if name is None and not explain:
            listed = configurations()
            width = max(len(known) for known, _ in listed)
            for known, line in listed:
                console.say(terminal, f"{known:{width}}  {line}")
            console.say(terminal)
            console.say(terminal, "Print one:  ensemble-minerals config NAME > mine.yaml")
        elif explain:
            console.say(terminal, explained(load_config(name)).rstrip())
        else:
            load_config(name)  # a file of the user's may have mistakes
            console.say(terminal, find_config(name)[0].read_text(encoding="utf-8-sig").rstrip())
