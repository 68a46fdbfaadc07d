"""How a command runs and fails: errors become a sentence and an exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

DEBUG_VARIABLE = "ENSEMBLE_MINERALS_DEBUG"
INTERRUPTED = 130
SOME_UNREADABLE = 3


@contextmanager
def handle_errors(debug: bool, if_interrupted: str) -> Iterator[None]:
    """Turn an error into a sentence on standard error and an exit code.

    Args:
        debug: Whether to print the traceback as well.
        if_interrupted: What to do after an interruption, for the user.

    Raises:
        typer.Exit: With the exit code, if the body fails.
    """
    try:
        yield
    except typer.Exit:
        raise
    except KeyboardInterrupt:
        typer.echo(f"interrupted: {if_interrupted}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except Exception as error:
        from ensemble_minerals.cli import console
        from ensemble_minerals.errors import EnsembleMineralsError

        if debug:
            import traceback

            traceback.print_exc()
        if isinstance(error, EnsembleMineralsError):
            console.error(error)
            raise typer.Exit(error.exit_code) from None
        console.error(f"unexpected {type(error).__name__}: {error}")
        if not debug:
            console.error(
                f"run the same command with --debug, or with {DEBUG_VARIABLE}=1, to see where", prefix=""
            )
        raise typer.Exit(1) from None


def jobs(n_jobs: int) -> int:
    """Number of concurrent tasks or threads.

    Args:
        n_jobs: As given by the user; -1 takes every core.

    Raises:
        UserError: If it is neither -1 nor at least 1.
    """
    from ensemble_minerals.errors import UserError
    from ensemble_minerals.system.cpu import count_jobs

    if n_jobs != -1 and n_jobs < 1:
        raise UserError(f"--n-jobs {n_jobs}: give the number of cores to use, or -1 for all")
    return count_jobs(n_jobs)


def is_synthetic(data: Path) -> bool:
    """Whether photos are those of the demonstration set, which is drawn by code."""
    from ensemble_minerals.data import files

    return files.is_synthetic(data if data.is_dir() else data.parent)
