"""Where results and caches go: default places, and the one check whether a place may be written to."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, Unpack

from platformdirs import user_cache_path

from ensemble_minerals.errors import UserError
from ensemble_minerals.system.atomic import recover, work_name
from ensemble_minerals.system.locks import held
from ensemble_minerals.system.sealed import not_kept


def cache_folder(chosen: Path | None, *, none: bool = False) -> Path | None:
    """The folder where features are kept between runs; it is created if need be.

    Args:
        chosen: See `cache_place`.
        none: Whether nothing is to be kept. The result is None then, as, with a warning, where nothing can be.
    """
    if none:
        return None
    folder = cache_place(chosen)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _probe(folder)
    except OSError as error:
        not_kept(folder, error)
        return None
    return folder


def cache_place(chosen: Path | None) -> Path:
    """The cache folder that the user chose, or the usual one of the user."""
    return user_cache_path("ensemble-minerals", appauthor=False) if chosen is None else chosen


@dataclass(frozen=True)
class FolderKind:
    """A kind of output folder.

    Attributes:
        name: What the user calls it, such as "report".
        marker: Name of a file that every folder of the kind holds, and no other folder.
        error: What is raised where such a folder may not be written.
    """

    name: str
    marker: str
    error: type[UserError] = UserError

    def matches(self, folder: Path) -> bool:
        """Whether a folder is of the kind."""
        return (folder / self.marker).is_file()


def check_output(
    path: Path,
    option: str = "--out",
    *,
    suffixes: Sequence[str] = (),
    kind: FolderKind | None = None,
    overwrite: bool | None = None,
    outside: Sequence[Path] = (),
) -> None:
    """Make sure that an output may be written to a path. Every output is checked here, before the work for it.

    Args:
        path: The file or folder, which need not exist yet. An empty folder counts as free.
        option: What the user calls the path, for messages.
        suffixes: Suffixes that the name of a file may have; any, if empty.
        kind: What kind of folder will be written, which replaces nothing but one of its kind.
        overwrite: Whether the user wants to replace what is there; None if the user has no choice.
        outside: Folders of photos in which the output may not lie: the next run would take it for photos.

    Raises:
        UserError: If nothing can be saved there, or what is there may not be replaced; for a folder the error of
            its kind.
    """
    if suffixes and path.suffix.lower() not in suffixes:
        raise UserError(f"{option} {path}: the name must end in {suffixes[0]}")
    if suffixes and path.is_dir():
        raise UserError(f"{option} {path} is a folder; name a file")
    error = UserError if kind is None else kind.error
    if kind is not None and path.name in ("", ".."):
        raise error(f"{str(path)!r} is no name for something new; name a folder, such as artifacts/mine")
    _check_names(path, option)
    for photos in outside:
        if photos.is_dir() and path.resolve().is_relative_to(photos.resolve()):
            beside = photos.resolve().parent / "artifacts" / (path.name or "mine")
            raise error(
                f"{option} {path} is inside the photos in {photos}, where the next run would take it for photos; "
                f"choose a place outside, such as {option} {min(os.path.relpath(beside), str(beside), key=len)}"
            )
    recover(path)
    if not _is_free(path):
        if overwrite is False:
            raise error(f"{path} exists; choose another {option}, or replace it with --overwrite")
        if kind is not None and not kind.matches(path) and not kind.matches(_draft_of_0_1_0(path)):
            rest = ", or remove it" if overwrite is None else ""
            only = "" if overwrite is None else ", and --overwrite replaces nothing else"
            raise error(f"{path} is there and is no {kind.name}{only}; choose another {option}{rest}")
    for name in (
        path.absolute(),
        Path(os.path.realpath(path)),
    ):  # a link is followed when the output is written
        above = next(folder for folder in name.parents if os.path.lexists(folder))
        try:
            _probe(above)
        except OSError as failure:
            raise UserError(
                f"{option} {path}: nothing can be saved in {above} ({failure.strerror or failure}); "
                "choose another place"
            ) from failure


class OutputRules(TypedDict, total=False):
    """What `check_output` is told of an output."""

    suffixes: Sequence[str]
    kind: FolderKind | None
    overwrite: bool | None
    outside: Sequence[Path]


@contextmanager
def claimed_output(
    path: Path,
    work: str,
    *,
    option: str = "--out",
    **rules: Unpack[OutputRules],
) -> Iterator[None]:
    """Check an output, and be the only one who writes it until the block ends.

    Args:
        path: The file or folder.
        work: What writes it, such as "a fit", for those who come meanwhile.
        option: See `check_output`.
        **rules: See `check_output`.

    Raises:
        UserError: As `check_output` does, or if another process writes the output.
    """
    kind = rules.get("kind")
    check_output(path, option, **rules)
    with held(path, work, UserError if kind is None else kind.error):
        check_output(path, option, **rules)  # another process could have finished in between
        yield


def default_bundle(data: Path) -> Path:
    """Where a fit on `data` is saved by default: in ``artifacts``, under the name of the data.

    >>> default_bundle(Path("photos/minerals")).as_posix()
    'artifacts/minerals'
    """
    return Path("artifacts") / (_name(data) or "bundle")


def beside(bundle: Path, suffix: str) -> Path:
    """Where what is made of a bundle is saved by default.

    >>> beside(Path("artifacts/mine"), "student").as_posix()
    'artifacts/mine-student'
    """
    named = bundle.resolve() if bundle.name in ("", "..") else bundle
    return named.with_name(f"{named.name}-{suffix}")


def default_ablation(data: Path) -> Path:
    """Where an ablation on `data` is saved by default."""
    return Path("artifacts") / f"{_name(data) or 'photos'}-ablation"


def default_tuning(data: Path) -> Path:
    """Where what was tuned on `data` is saved by default."""
    return Path("artifacts") / f"{_name(data) or 'photos'}-tune"


def _name(data: Path) -> str:
    resolved = data.resolve()
    return resolved.stem if resolved.is_file() else resolved.name


def _is_free(path: Path) -> bool:
    return not path.exists() or (path.is_dir() and not any(path.iterdir()))


def _draft_of_0_1_0(path: Path) -> Path:
    """Where version 0.1.0 wrote a draft. A kill while it removed the old folder left a part of that beside it."""
    target = Path(os.path.realpath(path))
    return target.with_name(f".{target.name}.unfinished")


def _check_names(path: Path, option: str) -> None:
    """Make sure that the names of what is made are not too long, that of its draft included."""
    absolute = path.absolute()
    above = next(folder for folder in (absolute, *absolute.parents) if os.path.lexists(folder))
    for name in absolute.relative_to(above).parts:
        longest = work_name(name, "x" * 8) if name == absolute.name else name
        try:
            (above / longest).lstat()
        except OSError as failure:
            if failure.errno == errno.ENAMETOOLONG:
                raise UserError(f"{option}: the name {name!r} is too long; choose a shorter one") from failure


def _probe(folder: Path) -> None:
    with tempfile.TemporaryFile(dir=folder):
        pass
