"""`export` writes an ensemble or a student as ONNX, or a student as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ensemble_minerals.cli import options
from ensemble_minerals.cli.running import finished, handle_errors

app = typer.Typer()


@app.command(
    "export",
    epilog="""
  ensemble-minerals export artifacts/small --out small.onnx

  ensemble-minerals export artifacts/small --format html --out minerals.html

  ensemble-minerals export artifacts/small --quantize int8 --out small.onnx

An ensemble with color and texture members has no graph: distill a student from it, or fit one without them.
""",
)
def command(
    model: options.Model,
    out: Annotated[Path, options.out("FILE", "The file, ending in .onnx or .html.")],
    form: Annotated[
        Literal["onnx", "html"],
        typer.Option(
            "--format", help="A graph, or a page that opens from a file and answers photos without a network."
        ),
    ] = "onnx",
    quantize: Annotated[
        Literal["int8"] | None,
        typer.Option(
            "--quantize",
            help="Compute a student in 8-bit integers: a quarter of the size. What it costs is measured on photos "
            "that a student never saw, and printed.",
        ),
    ] = None,
    photos: options.PhotosMoved = None,
    runtime: Annotated[
        Path | None,
        typer.Option(
            "--runtime",
            metavar="DIR",
            help="For a page: an unpacked onnxruntime-web package, where no npm can fetch it.",
        ),
    ] = None,
    cache: options.Cache = None,
    no_cache: options.NoCache = False,
    overwrite: Annotated[bool, options.overwrite("the file at --out")] = False,
    debug: options.Debug = False,
) -> None:
    """Write a student or an ensemble as one ONNX file, or a student as a page: photos in, probabilities out.

    Preprocessing, class names and temperature are inside. The file is compared with PyTorch before it appears.
    """
    with handle_errors(debug) as job:
        from ensemble_minerals.cli import console
        from ensemble_minerals.cli.progress import show_progress
        from ensemble_minerals.system import paths
        from ensemble_minerals.workflows.export import export

        job.standing = finished(out)
        with show_progress() as progress:
            result = export(
                model,
                out,
                form=form,
                quantize=quantize,
                photos=photos,
                runtime=runtime,
                cache_dir=paths.cache_folder(cache, none=no_cache),
                overwrite=overwrite,
                progress=progress,
            )
        terminal = console.stdout()
        console.say(terminal, f"Saved as {result.file}, {result.megabytes:.1f} MB.")
        console.say(
            terminal,
            f"Compared with PyTorch in {result.runtime}: probabilities differ by {result.difference:.1e} at most.",
        )
        if result.files:
            console.say(
                terminal,
                f"Compared with predict on {result.files} files of the fit of several sizes: probabilities differ by "
                f"{result.difference_on_files:.4f} at most.",
            )
        if result.int8 is not None:
            accuracy, log_loss = result.int8.accuracy, result.int8.log_loss
            console.say(
                terminal,
                f"On {result.int8.n} photos that the student of one fold never saw, its accuracy is "
                f"{accuracy[1]:.3f} in int8 and {accuracy[0]:.3f} in float32, "
                f"its log-loss {log_loss[1]:.3f} and {log_loss[0]:.3f}.",
            )
