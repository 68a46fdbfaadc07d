"""Paths that somebody wrote into a table, perhaps on another machine: where those files are here."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ensemble_minerals.data.files import list_files
from ensemble_minerals.errors import DataError

_DRIVE = re.compile(r"[A-Za-z]:[\\/]|\\\\")
_PREFIXES = 10  # so many different beginnings of paths are looked at
_SEARCHED = 20_000  # files that are looked through for one that could be meant


@dataclass(frozen=True)
class FoundPaths:
    """Where the files of a table are.

    Attributes:
        paths: One for each path that was written, relative to the folder of the table where that was so; as written
            where there is no such file.
        missing: Positions of those that are not there.
        notes: What was read otherwise than written, one sentence each.
    """

    paths: tuple[str, ...]
    missing: tuple[int, ...]
    notes: tuple[str, ...]


def find_written(table: Path, written: Sequence[str], others: Sequence[Path] = ()) -> FoundPaths:
    r"""Find the files that the paths of a table name.

    A path is taken as it is written where there is such a file. Else it is tried without blanks around it, with
    Windows' backslashes as slashes, and with its accents composed or decomposed. Then other folders are tried, and
    at last a beginning of the path that is of another place, such as ``/home/ana/photos``, is left out.

    Args:
        table: The file that holds the paths; they are relative to its folder.
        written: The paths.
        others: Folders in which files are looked for that are not there.
    """
    folder = table.parent
    paths: list[str] = []
    missing: list[int] = []
    reread = 0
    for position, path in enumerate(written):
        found = _find(path, folder, others)
        if found is None:
            missing.append(position)
        reread += found not in (None, Path(path).as_posix())
        paths.append(found or _plain(path))
    notes = [f"{reread} paths of {table.name} found in another spelling or folder"] if reread else []
    moved, still_missing = _relocate(folder, paths, missing)
    for prefix, positions in moved.items():
        for position in positions:
            paths[position] = paths[position][len(prefix) :]
        notes.append(
            f"{len(positions)} paths of {table.name} begin with {prefix}, where these files are not; they were found "
            f"in {folder}"
        )
    return FoundPaths(tuple(paths), tuple(still_missing), tuple(notes))


def check_found(table: Path, written: Sequence[str], found: FoundPaths) -> None:
    """Make sure that at least one file of a table is there.

    Raises:
        DataError: If not; it says where they were looked for, and what would fit.
    """
    if not written or len(found.missing) < len(written):
        return
    folder = table.parent
    first = found.paths[0]
    count = "the file" if len(written) == 1 else f"none of the {len(written)} files"
    raise DataError(
        f"{count} of {table} is {'not ' if len(written) == 1 else ''}there: {written[0]!r} was looked for as "
        f"{folder / first}, since paths are relative to the folder of the table; {_what_would_fit(folder, first)}"
    )


def _find(path: str, folder: Path, others: Sequence[Path]) -> str | None:
    for spelling in _spellings(path):
        if os.path.lexists(folder / spelling):
            return Path(spelling).as_posix()
    for other in others:
        for spelling in _spellings(path):
            if os.path.lexists(other / spelling):
                return (Path.cwd() / other / spelling).as_posix()
    return None


def _spellings(path: str) -> Iterator[str]:
    yield path
    plain = _plain(path)
    yield plain
    yield unicodedata.normalize("NFC", plain)
    yield unicodedata.normalize("NFD", plain)


def _plain(path: str) -> str:
    r"""A path without blanks around it, with slashes.

    >>> _plain(r" quartz\1.jpg ")
    'quartz/1.jpg'
    """
    stripped = path.strip()
    windows = _DRIVE.match(stripped) or "/" not in stripped
    return (stripped.replace("\\", "/") if windows else Path(stripped).as_posix()) or path


def _relocate(
    folder: Path, paths: Sequence[str], missing: Sequence[int]
) -> tuple[dict[str, list[int]], list[int]]:
    """Beginnings of missing paths without which files are in a folder, and what stays missing.

    No two paths may lead to one file: they would be different photos of the same name.
    """
    moved: dict[str, list[int]] = {}
    left = list(missing)
    hopeless: list[int] = []
    taken = {os.path.normpath(path) for path in paths}
    while left and len(moved) < _PREFIXES and len(hopeless) < _PREFIXES:
        prefix = _foreign_prefix(folder, paths[left[0]])
        mine = [p for p in left if prefix and paths[p].startswith(prefix)]
        found = [p for p in mine if os.path.lexists(folder / paths[p][len(prefix) :])]
        targets = {os.path.normpath(paths[p][len(prefix) :]) for p in found}
        if not found or len(targets) < len({paths[p] for p in found}) or targets & taken:
            hopeless.append(left.pop(0))
            continue
        moved[prefix] = found
        left = sorted(set(left) - set(found))
    return moved, sorted({*left, *hopeless})


def _foreign_prefix(folder: Path, path: str) -> str:
    """The shortest beginning of a path without which there is such a file in a folder; empty if there is none."""
    for cut in range(1, len(path)):
        if path[cut - 1] == "/" and os.path.lexists(folder / path[cut:].lstrip("/")) and path[cut] != "/":
            return path[:cut]
    return ""


def _what_would_fit(folder: Path, path: str) -> str:
    name = path.rsplit("/", 1)[-1]
    try:
        there = next(
            (
                file
                for file in islice(list_files(folder), _SEARCHED)
                if file.name == name and file != folder / path
            ),
            None,
        )
    except DataError:
        there = None
    if there is not None:
        return f"a file of that name is {there.relative_to(folder).as_posix()}: write the paths so"
    return (
        f"no file {name!r} is in {folder} or below it: put the table where its paths begin, or correct them"
    )
