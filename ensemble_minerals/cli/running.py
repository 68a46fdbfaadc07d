"""How a command runs and ends: whatever happens becomes a sentence and an exit code.

One cause has one exit code, whatever the command:

====  ==================================================================================================
Code  Cause
====  ==================================================================================================
0     All done.
1     The job failed: a member, the disk, the memory, or a defect of the program.
2     A mistake in what was asked: an option, photos or a bundle that cannot be used, no permission.
3     Some photos could not be read; all others were answered.
130   Interrupted by Ctrl-C.
141   Whoever read the output has gone, as ``| head`` does.
143   Ended by the system or another program (SIGTERM).
====  ==================================================================================================
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ensemble_minerals.cli import interruption

if TYPE_CHECKING:
    from ensemble_minerals.config.schema import Config

DEBUG_VARIABLE = "ENSEMBLE_MINERALS_DEBUG"
SOME_UNREADABLE = 3

MOST_JOBS = 1024
"""More tasks at once than this are a slip of the finger."""

_ENDINGS = {
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), (2, "; allow it, or choose another place")),
    **dict.fromkeys(
        (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.ELOOP), (2, "; choose another place")
    ),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), (1, "; do less at once with -j 1, or see ulimit -n")),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO), (1, "")),
}
"""Exit codes of errors of the system, and what to do; any other may be a defect of the program."""


class Job:
    """A command at work.

    Attributes:
        standing: Says what is finished and stays although the command failed, and how to get the rest; gives an
            empty text while there is nothing.
    """

    def __init__(self) -> None:
        self.standing: Callable[[], str] = str


@contextmanager
def handle_errors(debug: bool, if_interrupted: str = interruption.AGAIN) -> Iterator[Job]:
    """Turn an error into a sentence on standard error and an exit code.

    Args:
        debug: Whether to print the traceback as well.
        if_interrupted: What to do after an interruption, unless `Job.standing` says better.

    Raises:
        typer.Exit: With the exit code, if the body fails.
    """
    job = Job()
    try:
        yield job
    except typer.Exit:
        raise
    except KeyboardInterrupt as error:
        from ensemble_minerals.cli import console

        word, code = interruption.ending(error)
        console.say(console.stderr(), f"{word}: {job.standing() or if_interrupted}")
        raise typer.Exit(code) from None
    except Exception as error:
        from ensemble_minerals.cli import console

        if debug:
            import traceback

            traceback.print_exc()
        code, sentence, is_defect = _ending(error)
        console.error(sentence)
        if standing := job.standing():
            console.error(standing, prefix="")
        if is_defect and not debug:
            console.error(
                f"run the same command with --debug, or with {DEBUG_VARIABLE}=1, to see where", prefix=""
            )
        raise typer.Exit(code) from None


def _ending(error: Exception) -> tuple[int, str, bool]:
    """The exit code of an error, a sentence, and whether the program itself may be to blame."""
    from ensemble_minerals.errors import EnsembleMineralsError, card_error

    if isinstance(error, EnsembleMineralsError):
        return error.exit_code, str(error), False
    if isinstance(error, MemoryError):
        return 1, "the memory is used up; do less at once with -j 1, or close other programs", False
    if (of_card := card_error(error)) is not None:
        return 1, of_card, False
    if isinstance(error, OSError) and error.strerror is not None:
        code, advice = _ENDINGS.get(error.errno or 0, (1, ""))
        what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        return code, what + advice, error.errno not in _ENDINGS
    return 1, f"unexpected {type(error).__name__}: {error}", True


def finished(*outputs: Path | None) -> Callable[[], str]:
    """For `Job.standing`: says which of the outputs have appeared since this was called."""
    wanted = [output for output in outputs if output is not None and not output.exists()]

    def standing() -> str:
        made = [str(output) for output in wanted if output.exists()]
        rest = "" if len(made) == len(wanted) else "; for the rest run the same command with --overwrite"
        return f"{' and '.join(made)} is finished{rest}" if made else ""

    return standing


def jobs(n_jobs: int) -> int:
    """Number of concurrent tasks or threads.

    Args:
        n_jobs: As given by the user; -1 takes every core.

    Raises:
        UserError: If it is neither -1 nor from 1 to `MOST_JOBS`.
    """
    from ensemble_minerals.errors import UserError
    from ensemble_minerals.system.cpu import count_jobs

    if n_jobs != -1 and not 1 <= n_jobs <= MOST_JOBS:
        raise UserError(
            f"--n-jobs {n_jobs}: give the number of cores to use, at most {MOST_JOBS}, or -1 for all"
        )
    return count_jobs(n_jobs)


def resolved_config(
    config: str | None, settings: Sequence[str] | None, seed: int | None = None, **flags: bool
) -> Config:
    """The configuration that the options of a command ask for.

    Args:
        config: Name or file.
        settings: Values to change, each as ``path=value``.
        seed: The configuration's if None.
        **flags: Values that are true where their flag is set.

    Raises:
        ConfigError: If it does not fit; lists every problem.
    """
    from ensemble_minerals.config.loading import load_config

    extra = [f"{name}=true" for name, is_set in flags.items() if is_set]
    extra += [] if seed is None else [f"seed={seed}"]
    return load_config(config, [*(settings or []), *extra])


def token_of(token: str | None, file: Path | None) -> str | None:
    """The token of a server: that in a file, if one is given."""
    return token if file is None else file.read_text(encoding="utf-8").strip()


def is_synthetic(data: Path) -> bool:
    """Whether photos are those of the demonstration set, which is drawn by code."""
    from ensemble_minerals.data import files

    return files.is_synthetic(data if data.is_dir() else data.parent)
