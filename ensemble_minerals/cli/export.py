"""`export` writes an ensemble or a student as ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ensemble_minerals.cli.options import Debug
from ensemble_minerals.cli.running import finished, handle_errors

app = typer.Typer()


@app.command(
    "export",
    epilog="""
  ensemble-minerals export artifacts/small --out small.onnx

An ensemble with color and texture members has no graph: distill a student from it, or fit one without them.
""",
)
def command(
    model: Annotated[
        Path, typer.Argument(metavar="BUNDLE|STUDENT", help="Folder that fit or distill saved.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The graph, ending in .onnx.")],
    form: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="onnx is the only one so far.")
    ] = "onnx",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file at --out.")] = False,
    debug: Debug = False,
) -> None:
    """Write a student or an ensemble as one ONNX file: photos in, calibrated probabilities out.

    Preprocessing, class names and temperature are inside. The file is compared with PyTorch before it appears.
    """
    with handle_errors(debug) as job:
        from ensemble_minerals.cli import console
        from ensemble_minerals.cli.progress import show_progress
        from ensemble_minerals.errors import UserError
        from ensemble_minerals.workflows.export import export

        if form != "onnx":
            raise UserError(f"--format {form}: the only format is onnx")
        job.standing = finished(out)
        with show_progress() as progress:
            result = export(model, out, overwrite=overwrite, progress=progress)
        terminal = console.stdout()
        console.say(terminal, f"Saved as {result.file}, {result.megabytes:.1f} MB.")
        console.say(
            terminal,
            f"Compared with PyTorch in {result.runtime}: probabilities differ by {result.difference:.1e} at most.",
        )
