"""`distill` trains one small network on the answers of an ensemble."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from ensemble_minerals.cli import options
from ensemble_minerals.cli.running import finished, handle_errors, jobs

app = typer.Typer()


@app.command(
    "distill",
    epilog="""
  ensemble-minerals distill artifacts/mine --out artifacts/small

  ensemble-minerals distill artifacts/mine --student mobilenetv3_small_100 --weights hub

Then:  ensemble-minerals predict artifacts/small PHOTOS,  ensemble-minerals export artifacts/small --out small.onnx
""",
)
def command(
    bundle: options.BundleFolder,
    student: Annotated[
        str, typer.Option("--student", metavar="MODEL", help="The small network: any model name of timm.")
    ] = "tf_efficientnet_lite0",
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            metavar="WHERE",
            help="Where training starts: hub, random, package:NAME, or a .safetensors or .pth file.",
            show_default="installed weights, else hub",
        ),
    ] = None,
    out: Annotated[Path | None, options.out("DIR", "Where the student goes.", "BUNDLE-student")] = None,
    photos: options.PhotosMoved = None,
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
    corrections: options.CorrectionsSince = None,
    n_jobs: options.Jobs = -1,
    resume: Annotated[bool, options.resume("a distillation")] = False,
    overwrite: Annotated[bool, options.overwrite("the student at --out")] = False,
    debug: options.Debug = False,
) -> None:
    """Teach one small network what the ensemble knows, for a phone or a browser.

    It learns from the labels and from the ensemble's out-of-fold answers, and its figures are out of fold, too: a
    student is trained for each fold and scored on photos it never saw; one more, on all photos, is saved.
    """
    with handle_errors(debug, "finished folds are kept; run the same command with --resume to go on") as job:
        from ensemble_minerals.cli import console
        from ensemble_minerals.cli.progress import show_progress
        from ensemble_minerals.cli.results.student import show_student
        from ensemble_minerals.config.students import student_config
        from ensemble_minerals.system.paths import beside
        from ensemble_minerals.workflows.distill import distill

        network = student_config(student, weights=weights, size=size, epochs=epochs, overrides=settings or ())
        folder = beside(bundle, "student") if out is None else out
        job.standing = finished(folder)
        with show_progress() as progress:
            result = distill(
                bundle,
                folder,
                network,
                photos=photos,
                label_share=label_share,
                n_jobs=jobs(n_jobs),
                resume=resume,
                overwrite=overwrite,
                corrections=corrections or (),
                progress=progress,
            )
        terminal = console.stdout()
        show_student(terminal, result)
        console.say(terminal)
        console.say(terminal, f"Saved as {result.student}. Next:")
        name = shlex.quote(str(result.student))
        console.say(terminal, f"  ensemble-minerals predict {name} PHOTOS")
        console.say(terminal, f"  ensemble-minerals export {name} --out {name}.onnx")
