"""`distill`, `export` and `recipes`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from ensemble_minerals.cli.options import BundleFolder, Debug, Jobs, PhotosMoved
from ensemble_minerals.cli.running import jobs, reporting

app = typer.Typer()


@app.command(
    epilog="""
  ensemble-minerals distill artifacts/mine --student mobilenetv3_small_100 --out artifacts/small

  ensemble-minerals distill artifacts/mine --student tf_efficientnet_lite0 --weights package:efficientnet_lite0

Then:  ensemble-minerals predict artifacts/small PHOTOS,  ensemble-minerals export artifacts/small --out small.onnx
"""
)
def distill(
    bundle: BundleFolder,
    student: Annotated[
        str, typer.Option("--student", metavar="MODEL", help="The small network: any model name of timm.")
    ] = "mobilenetv3_small_100",
    weights: Annotated[
        str,
        typer.Option(
            "--weights",
            metavar="WHERE",
            help="Where training starts: hub, random, package:NAME, or a .safetensors or .pth file.",
        ),
    ] = "hub",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="DIR", help="Where the student goes.", show_default="BUNDLE-student"
        ),
    ] = None,
    photos: PhotosMoved = None,
    size: Annotated[
        int, typer.Option("--size", metavar="PX", min=16, help="Side of the student's input.")
    ] = 224,
    epochs: Annotated[
        int | None,
        typer.Option("--epochs", metavar="N", min=1, show_default="12", help="Epochs of training."),
    ] = None,
    label_share: Annotated[
        float,
        typer.Option(
            "--label-share",
            metavar="S",
            min=0,
            max=1,
            help="How much of what is learned is the label; the rest is the ensemble's answer.",
        ),
    ] = 0.5,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="PATH=VALUE",
            help="Change how it is trained, such as phases.0.train=last:4. Repeatable.",
        ),
    ] = None,
    n_jobs: Jobs = -1,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a distillation that was interrupted.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the student that stands at --out.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Teach one small network what the ensemble knows, for a phone or a browser.

    It learns from the labels and from the ensemble's out-of-fold answers, and its figures are out of fold, too: a
    student is trained for each fold and scored on photos it never saw; one more, on all photos, is saved.
    """
    with reporting(debug, "finished folds are kept; run the same command with --resume to go on"):
        from ensemble_minerals.cli import console, tables
        from ensemble_minerals.config.students import student_config
        from ensemble_minerals.system import paths
        from ensemble_minerals.workflows import distill as distilling

        network = student_config(student, weights=weights, size=size, epochs=epochs, overrides=settings or ())
        folder = bundle.with_name(f"{bundle.name}-student") if out is None else out
        paths.check_place(folder, "--out")
        with console.reporter(console.console(stderr=True)) as progress:
            result = distilling.distill(
                bundle,
                folder,
                network,
                photos=photos,
                label_share=label_share,
                n_jobs=jobs(n_jobs),
                resume=resume,
                overwrite=overwrite,
                progress=progress,
            )
        shown = console.console()
        tables.show_student(shown, result)
        console.say(shown)
        console.say(shown, f"Saved as {result.student}. Next:")
        name = shlex.quote(str(result.student))
        console.say(shown, f"  ensemble-minerals predict {name} PHOTOS")
        console.say(shown, f"  ensemble-minerals export {name} --out {name}.onnx")


@app.command(
    epilog="""
  ensemble-minerals export artifacts/small --out small.onnx

An ensemble with color and texture members has no graph: distill a student from it, or fit one without them.
"""
)
def export(
    model: Annotated[
        Path, typer.Argument(metavar="BUNDLE|STUDENT", help="Folder that fit or distill saved.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The graph, ending in .onnx.")],
    form: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="onnx is the only one so far.")
    ] = "onnx",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file that stands at --out.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Write a student or an ensemble as one ONNX file: photos in, calibrated probabilities out.

    Preprocessing, class names and temperature are inside. The file is compared with PyTorch before it appears.
    """
    with reporting(debug, "run the same command again"):
        from ensemble_minerals.cli import console
        from ensemble_minerals.errors import UserError
        from ensemble_minerals.workflows import export as exporting

        if form != "onnx":
            raise UserError(f"--format {form}: the only format is onnx")
        with console.reporter(console.console(stderr=True)) as progress:
            result = exporting.export(model, out, overwrite=overwrite, progress=progress)
        shown = console.console()
        console.say(shown, f"Saved as {result.file}, {result.megabytes:.1f} MB.")
        console.say(
            shown,
            f"Compared with PyTorch in {result.runtime}: probabilities differ by {result.difference:.1e} at most.",
        )


@app.command()
def recipes(debug: Debug = False) -> None:
    """List the published systems that ship as configurations, a line each."""
    with reporting(debug, "run the same command again"):
        from ensemble_minerals.cli import console
        from ensemble_minerals.config.files import recipes as listed

        shown = console.console()
        found = listed()
        width = max(len(name) for name, _ in found)
        for name, line in found:
            console.say(shown, f"{name:{width}}  {line}")
        console.say(shown)
        console.say(shown, "Use one as it is:  ensemble-minerals fit photos/ --config NAME")
