"""`recipes` lists the published systems that ship as configurations."""

from __future__ import annotations

import typer

from ensemble_minerals.cli import options
from ensemble_minerals.cli.running import handle_errors

app = typer.Typer()


@app.command("recipes")
def command(debug: options.Debug = False) -> None:
    """List the published systems that ship as configurations, a line each."""
    with handle_errors(debug):
        from ensemble_minerals.cli import console
        from ensemble_minerals.config.files import recipes

        terminal = console.stdout()
        listed = recipes()
        width = max(len(name) for name, _ in listed)
        for name, line in listed:
            console.say(terminal, f"{name:{width}}  {line}")
        console.say(terminal)
        console.say(terminal, "Use one as it is:  ensemble-minerals fit photos/ --config NAME")
