"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ensemble_minerals.cli.running import DEBUG_VARIABLE

_CACHE = "ENSEMBLE_MINERALS_CACHE"

Data = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        help="Folder with a sub-folder of photos for each class, or with train, validation and test folders that "
        "hold them, or a CSV with path and label.",
    ),
]
Model = Annotated[Path, typer.Argument(metavar="BUNDLE|STUDENT", help="Folder that fit or distill saved.")]
BundleFolder = Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder that fit saved.")]
Inputs = Annotated[
    list[str],
    typer.Argument(
        metavar="INPUTS...",
        help="Photos, folders, patterns in quotes, or lists: a CSV with a column path, a .txt with a path a line.",
    ),
]
PhotosMoved = Annotated[
    Path | None,
    typer.Option("--photos", metavar="DIR", help="Where the photos of the fit are now, if they moved."),
]
Config = Annotated[
    str | None,
    typer.Option(
        "--config",
        "-c",
        metavar="NAME|FILE",
        help="default, fast, finetuned, hub, local, a recipe, or a YAML file.",
        show_default="default",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="Change one value of the configuration, such as folds.n_splits=3. Repeatable.",
    ),
]
Jobs = Annotated[
    int,
    typer.Option(
        "--n-jobs",
        "-j",
        metavar="N",
        help="Work at once on so many cores; -1 for all. Answers stay the same.",
    ),
]
Corrections = Annotated[
    list[Path] | None,
    typer.Option(
        "--corrections",
        metavar="FILE",
        help="Decisions that review wrote: other labels, photos left out or added, pairs kept apart. Repeatable: "
        "the last to decide counts. Photos are not touched.",
    ),
]
CorrectionsSince = Annotated[
    list[Path] | None,
    typer.Option(
        "--corrections",
        metavar="FILE",
        help="Decisions that review wrote since the fit: labels are those of now, without photos that were left out. "
        "Repeatable: the last to decide counts.",
    ),
]
Folds = Annotated[
    int, typer.Option("--folds", metavar="K", help="Outer folds; the inner ones are the configuration's.")
]
Seed = Annotated[
    int | None,
    typer.Option(
        "--seed",
        metavar="N",
        help="Seed of folds, samplers and networks.",
        show_default="the configuration's",
    ),
]
Cache = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        metavar="DIR",
        envvar=_CACHE,
        help="Where features are kept between runs.",
        show_default="the user's cache folder",
    ),
]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Keep nothing between runs.")]
Backend = Annotated[
    str,
    typer.Option(
        "--backend",
        metavar="NAME",
        help="local, or a dask or ray cluster whose workers see photos, weights and --out under the same paths. "
        "Answers stay the same.",
    ),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        "--scheduler",
        metavar="ADDRESS",
        help="Of the cluster, such as tcp://head:8786; ray finds its own.",
        show_default=False,
    ),
]
Figures = Annotated[
    Literal["pdf", "svg"] | None,
    typer.Option("--figures", help="Write every figure in this format as well, for print; PNG always."),
]
RawCsv = Annotated[
    bool,
    typer.Option(
        "--raw-csv",
        help="Keep names in CSV files as they are, also those that a spreadsheet takes for a formula; by default "
        "they begin with an apostrophe.",
    ),
]
Debug = Annotated[
    bool, typer.Option("--debug", envvar=DEBUG_VARIABLE, help="Show the traceback of an error.")
]

Host = Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Where to listen.")]
Port = Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="0 for any that is free.")]
AllowHosts = Annotated[
    list[str] | None,
    typer.Option("--allow-host", metavar="NAME", help="Name by which it may be addressed. Repeatable."),
]
Token = Annotated[str | None, typer.Option(envvar="ENSEMBLE_MINERALS_TOKEN", hidden=True)]


def out(metavar: str, text: str, default: bool | str = True) -> Any:
    """The option ``--out`` of a command: what it makes, and where that goes by default."""
    return typer.Option("--out", "-o", metavar=metavar, help=text, show_default=default)


def overwrite(what: str) -> Any:
    """The option ``--overwrite`` of a command: what it replaces."""
    return typer.Option("--overwrite", help=f"Replace {what}.")


def resume(what: str) -> Any:
    """The option ``--resume`` of a command: what it goes on with."""
    return typer.Option("--resume", help=f"Go on with {what} that was interrupted.")


def token_file(text: str) -> Any:
    """The option ``--token-file`` of a server: what its token is for."""
    return typer.Option("--token-file", metavar="FILE", help=text)
