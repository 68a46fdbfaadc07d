"""The command line: each command parses, calls one function, prints, and exits.

Exit codes: 0 all went well, 1 the job failed, 2 the user's mistake, 3 some photos could not be read (all others were
answered), 130 interrupted. Nothing heavy is imported before a command runs, so ``--help`` answers at once.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

_DEBUG = "ENSEMBLE_MINERALS_DEBUG"
_CACHE = "ENSEMBLE_MINERALS_CACHE"
_SOME_UNREADABLE = 3
_INTERRUPTED = 130

app = typer.Typer(
    name="ensemble-minerals",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""
[bold]From photos to answers[/bold]

  ensemble-minerals inspect photos/ --out artifacts/look

  ensemble-minerals fit photos/ --out artifacts/mine

  ensemble-minerals predict artifacts/mine new/ --gallery answers.html

photos/ holds a folder for each class. No photos at hand? Run  ensemble-minerals demo
""",
)

Data = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        help="Folder with a sub-folder of photos for each class, or a CSV with path and label.",
    ),
]
ConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config",
        "-c",
        metavar="NAME|FILE",
        help="default, fast, hub, local, or a YAML file.",
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
Debug = Annotated[bool, typer.Option("--debug", envvar=_DEBUG, help="Show the traceback of an error.")]


def main() -> None:
    """Entry point of ``ensemble-minerals``."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a file name may hold what the terminal's encoding lacks
            stream.reconfigure(errors="replace")
    try:
        app()
    except SystemExit as ending:
        if ending.code == _INTERRUPTED:  # threads may still compute; Python's own way out aborts under them
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(_INTERRUPTED)
        raise


def _show_version(wanted: bool) -> None:
    if wanted:
        from ensemble_minerals import __version__

        typer.echo(f"ensemble-minerals {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Which mineral is on the photo? Trains calibrated ensembles on a folder of photos, and asks them."""


@app.command(
    epilog="""
  ensemble-minerals fit photos/

  ensemble-minerals fit photos/ --config fast --out artifacts/quick --overwrite

  ensemble-minerals fit photos/ --set members.0.head=mlp --set folds.n_splits=3
"""
)
def fit(
    data: Data,
    config: ConfigOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Where the bundle goes.",
            show_default="artifacts/<name of DATA>",
        ),
    ] = None,
    settings: Settings = None,
    n_jobs: Jobs = -1,
    seed: Seed = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a fit that was interrupted.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the bundle that stands at --out.")
    ] = False,
    allow_failures: Annotated[
        bool, typer.Option("--allow-failures", help="Leave out members that fail instead of stopping.")
    ] = False,
    refit: Annotated[
        bool,
        typer.Option(
            "--refit",
            help="Train each member once more on all photos and answer with that, instead of the mean of the fold "
            "models: quicker answers, from models the figures were not measured on.",
        ),
    ] = False,
    pack: Annotated[
        bool,
        typer.Option("--pack", help="Copy the backbones' weights into the bundle, so that it stands alone."),
    ] = False,
    no_report: Annotated[
        bool, typer.Option("--no-report", help="Do not write the page on where the ensemble fails and why.")
    ] = False,
    cache: Cache = None,
    no_cache: NoCache = False,
    debug: Debug = False,
) -> None:
    """Train an ensemble on a folder of photos and save it as a bundle."""
    with _reporting(debug, "finished parts are kept; run the same command with --resume to go on"):
        from ensemble_minerals import pipeline, places, summaries, terminal
        from ensemble_minerals.bundle import check_replaceable
        from ensemble_minerals.config import load_config
        from ensemble_minerals.reporting import write_report

        flags = {"allow_failures": allow_failures, "refit": refit}
        extra = [f"{name}=true" for name, is_set in flags.items() if is_set]
        extra += [] if seed is None else [f"seed={seed}"]
        resolved = load_config(config, [*(settings or []), *extra])
        bundle = places.default_bundle(data) if out is None else out
        places.check_place(bundle, "--out")
        check_replaceable(bundle, overwrite=overwrite)
        with terminal.reporter(terminal.console(stderr=True)) as listener:
            result = pipeline.fit(
                data,
                bundle,
                resolved,
                n_jobs=_jobs(n_jobs),
                cache_dir=places.cache_folder(cache, none=no_cache),
                resume=resume,
                overwrite=overwrite,
                pack=pack,
                listener=listener,
            )
            page = None if no_report else write_report(bundle, n_jobs=_jobs(n_jobs), listener=listener).html
        shown = terminal.console()
        summaries.show_fit(shown, result, synthetic=_is_synthetic(data))
        terminal.say(shown)
        terminal.say(shown, f"Saved as {result.bundle}; its README.md says more.")
        if page is not None:
            terminal.say(shown, f"Where it fails and why: {page}")
        terminal.say(shown, "Next:")
        terminal.say(
            shown,
            f"  ensemble-minerals predict {shlex.quote(str(result.bundle))} PHOTOS --gallery answers.html",
        )


@app.command(
    epilog="""
  ensemble-minerals predict artifacts/mine new/ --out answers.csv --gallery answers.html

  ensemble-minerals predict artifacts/mine one.jpg 'more/*.png' --top-k 3

Exit code 0: all answered; 3: some photos could not be read, all others are answered.
"""
)
def predict(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder that fit saved.")],
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUTS...", help="Photos, folders, or patterns in quotes.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="Table with a row for each input: .csv, .json or .parquet."
        ),
    ] = None,
    top_k: Annotated[
        int,
        typer.Option("--top-k", "-k", metavar="K", min=1, help="How many guesses to give for each photo."),
    ] = 1,
    sets: Annotated[
        float | None,
        typer.Option(
            "--sets",
            metavar="P",
            help="Give each photo the classes that hold the true one with probability P, such as 0.95.",
        ),
    ] = None,
    gallery: Annotated[
        Path | None,
        typer.Option(
            "--gallery",
            "-g",
            metavar="FILE.html",
            help="Page with each photo, its label and every member's vote.",
        ),
    ] = None,
    n_jobs: Jobs = -1,
    cache: Cache = None,
    no_cache: NoCache = False,
    debug: Debug = False,
) -> None:
    """Ask a bundle what is on photos."""
    with _reporting(debug, "run the same command again"):
        from ensemble_minerals import places, summaries, terminal
        from ensemble_minerals.predict import load
        from ensemble_minerals.predictions import check_ending

        if out is not None:
            check_ending(out)
            places.check_place(out, "--out")
        if gallery is not None:
            places.check_place(gallery, "--gallery", endings=(".html", ".htm"))
        threads = _jobs(n_jobs)
        predictor = load(bundle, places.cache_folder(cache, none=no_cache), threads)
        synthetic = bool(predictor.bundle.info.get("demonstration"))
        with terminal.reporter(terminal.console(stderr=True)) as listener:
            predictions = predictor.predict(inputs, listener.stage("Answering"), sets=sets)
        shown = terminal.console()
        summaries.show_predictions(shown, predictions, top_k=top_k, synthetic=synthetic)
        if out is not None:
            terminal.say(shown, f"Table: {predictions.write(out, top_k)}")
        if gallery is not None:
            from ensemble_minerals.evaluation.gallery import write_gallery

            write_gallery(predictions, gallery, source=str(bundle), synthetic=synthetic, n_threads=threads)
            terminal.say(shown, f"Gallery: {gallery}")
    if not predictions.answered.all():
        raise typer.Exit(_SOME_UNREADABLE)


@app.command(epilog="  ensemble-minerals inspect photos/ --out artifacts/look")
def inspect(
    data: Data,
    config: ConfigOption = None,
    settings: Settings = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Save the findings here: inspection.html, .json, manifest.csv, duplicates.csv.",
        ),
    ] = None,
    n_jobs: Jobs = -1,
    cache: Cache = None,
    no_cache: NoCache = False,
    debug: Debug = False,
) -> None:
    """Look through photos before training: counts, unreadable files, duplicates, conflicts."""
    with _reporting(debug, "run the same command again"):
        from ensemble_minerals import places, summaries, terminal
        from ensemble_minerals.config import load_config
        from ensemble_minerals.inspection import inspect_data

        resolved = load_config(config, settings or [])
        if out is not None:
            places.check_place(out / "inspection.html", "--out")
        threads = _jobs(n_jobs)
        with terminal.reporter(terminal.console(stderr=True), notes=False) as listener:
            found = inspect_data(
                data,
                resolved,
                cache_dir=places.cache_folder(cache, none=no_cache),
                n_threads=threads,
                listener=listener,
            )
        shown = terminal.console()
        summaries.show_inspection(shown, found)
        terminal.say(shown)
        if out is None:
            terminal.say(shown, "With --out DIR this is saved, with the duplicates side by side on a page.")
        else:
            terminal.say(shown, f"Saved: {found.write(out, n_threads=threads) / 'inspection.html'}")


@app.command(
    epilog="""
  ensemble-minerals report artifacts/mine

  ensemble-minerals report artifacts/mine --data others/ --out artifacts/mine-others
"""
)
def report(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder that fit saved.")],
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DATA",
            help="Labeled photos that took no part in the fit, to be scored with the bundle.",
            show_default="the fit's own photos, each answered by models that never saw it",
        ),
    ] = None,
    photos: Annotated[
        Path | None,
        typer.Option("--photos", metavar="DIR", help="Where the photos of the fit are now, if they moved."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Where the report goes; an earlier report there is replaced.",
            show_default="BUNDLE-report",
        ),
    ] = None,
    n_jobs: Jobs = -1,
    cache: Cache = None,
    no_cache: NoCache = False,
    debug: Debug = False,
) -> None:
    """See where an ensemble fails and why: errors, calibration, suspected labels, weak slices."""
    with _reporting(debug, "run the same command again"):
        from ensemble_minerals import places, terminal
        from ensemble_minerals.reporting import write_report

        if out is not None:
            places.check_place(out, "--out")
        threads = _jobs(n_jobs)
        with terminal.reporter(terminal.console(stderr=True)) as listener:
            result = write_report(
                bundle,
                data=data,
                out=out,
                photos=photos,
                cache_dir=places.cache_folder(cache, none=no_cache),
                n_jobs=threads,
                listener=listener,
            )
        shown = terminal.console()
        terminal.say(shown, f"Report: {result.html}; the same as data, tables and figures lies beside it.")


@app.command(
    epilog="""
  ensemble-minerals ablate photos/ --out artifacts/ablation

  ensemble-minerals ablate photos/ --repeats 3 --arms best_single,uniform,ingredient

Interrupted? The same command with --resume goes on.
"""
)
def ablate(
    data: Data,
    config: ConfigOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Where page, table and figures go.",
            show_default="artifacts/<name of DATA>-ablation",
        ),
    ] = None,
    settings: Settings = None,
    repeats: Annotated[
        int, typer.Option("--repeats", "-r", metavar="R", help="Outer cross-validations; more are sharper.")
    ] = 1,
    folds: Annotated[
        int, typer.Option("--folds", metavar="K", help="Outer folds; the inner ones are the configuration's.")
    ] = 5,
    arms: Annotated[
        list[str] | None,
        typer.Option(
            "--arms",
            metavar="A,B,...",
            help="Only these arms or kinds of arms: single, choice, control, combination, ingredient, source, "
            "protocol.",
            show_default="all",
        ),
    ] = None,
    n_jobs: Jobs = -1,
    seed: Seed = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an ablation that was interrupted.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the ablation that stands at --out.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Go on even if it will take more than half an hour.")
    ] = False,
    cache: Cache = None,
    no_cache: NoCache = False,
    debug: Debug = False,
) -> None:
    """Test the ensemble against single models, and against itself without each ingredient."""
    with _reporting(debug, "finished outer folds are kept; run the same command with --resume to go on"):
        from ensemble_minerals import ablating, places, summaries, terminal
        from ensemble_minerals.config import load_config

        extra = [] if seed is None else [f"seed={seed}"]
        resolved = load_config(config, [*(settings or []), *extra])
        folder = places.default_ablation(data) if out is None else out
        places.check_place(folder, "--out")
        wanted = [name.strip() for entry in arms or () for name in entry.split(",") if name.strip()]
        with terminal.reporter(terminal.console(stderr=True)) as listener:
            result = ablating.ablate(
                data,
                folder,
                resolved,
                repeats=repeats,
                arms=wanted or None,
                n_splits=folds,
                n_jobs=_jobs(n_jobs),
                cache_dir=places.cache_folder(cache, none=no_cache),
                yes=yes,
                resume=resume,
                overwrite=overwrite,
                listener=listener,
            )
        shown = terminal.console()
        summaries.show_ablation(shown, result, synthetic=_is_synthetic(data))
        terminal.say(shown)
        terminal.say(shown, f"Page: {result.html}; ablation.md beside it is the table for a paper.")


@app.command(epilog="  ensemble-minerals demo --out artifacts/demo")
def demo(
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="DIR", help="Where photos, bundle and answers go; replaced when run again."
        ),
    ] = Path("artifacts/demo"),
    config: Annotated[str, typer.Option("--config", "-c", metavar="NAME|FILE", help="As for fit.")] = "fast",
    n_jobs: Jobs = -1,
    cache: Cache = None,
    no_cache: NoCache = False,
    debug: Debug = False,
) -> None:
    """See it work on photos drawn by code: fit, predict, gallery. Needs no data."""
    with _reporting(debug, "run the same command again"):
        from ensemble_minerals import places, summaries, terminal
        from ensemble_minerals.config import load_config
        from ensemble_minerals.demonstration import demonstrate

        resolved = load_config(config)
        places.check_place(out / "photos", "--out")
        shown = terminal.console()
        with terminal.reporter(terminal.console(stderr=True)) as listener:
            made = demonstrate(
                out,
                resolved,
                n_jobs=_jobs(n_jobs),
                cache_dir=places.cache_folder(cache, none=no_cache),
                listener=listener,
            )
        summaries.show_fit(shown, made.fit, synthetic=True)
        summaries.show_predictions(shown, made.predictions, synthetic=True)
        terminal.say(shown)
        terminal.say(shown, "All of this is synthetic. Where to look:")
        width = max(len(str(path)) for path, _ in made.places())
        for path, what in made.places():
            terminal.say(shown, f"  {path!s:{width}}  {what}")
        terminal.say(shown, "With your own photos, a folder for each class:  ensemble-minerals fit photos/")


@contextmanager
def _reporting(debug: bool, if_interrupted: str) -> Iterator[None]:
    """Turn what goes wrong into a sentence on standard error and an exit code."""
    try:
        yield
    except typer.Exit:
        raise
    except KeyboardInterrupt:
        typer.echo(f"interrupted: {if_interrupted}", err=True)
        raise typer.Exit(_INTERRUPTED) from None
    except Exception as error:
        from ensemble_minerals import terminal
        from ensemble_minerals.errors import EnsembleMineralsError

        if debug:
            import traceback

            traceback.print_exc()
        if isinstance(error, EnsembleMineralsError):
            terminal.error(error)
            raise typer.Exit(error.exit_code) from None
        terminal.error(f"unexpected {type(error).__name__}: {error}")
        if not debug:
            terminal.error(f"run the same command with --debug, or with {_DEBUG}=1, to see where", prefix="")
        raise typer.Exit(1) from None


def _jobs(n_jobs: int) -> int:
    """How many tasks or threads at once."""
    from joblib import cpu_count

    from ensemble_minerals.errors import UserError

    if n_jobs == -1:
        return int(cpu_count())
    if n_jobs < 1:
        raise UserError(f"--n-jobs {n_jobs}: give the number of cores to use, or -1 for all")
    return n_jobs


def _is_synthetic(data: Path) -> bool:
    return ((data if data.is_dir() else data.parent) / ".synthetic").is_file()
