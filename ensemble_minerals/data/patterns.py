"""Paths that match a pattern such as ``photos/*/front?.jpg``, found by the walker that lists folders."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from ensemble_minerals.data.files import is_ignored, list_all
from ensemble_minerals.data.own_outputs import is_folder
from ensemble_minerals.errors import UserError

_WILDCARDS = frozenset("*?[")
_ANY_DEPTH = "**"


def matches(pattern: Path) -> list[Path]:
    """Paths that match a pattern, sorted, each once; none if it has no wildcard.

    The part of a pattern that exists as it is written is taken as it is, so that the folder of ``new [1]/*.jpg`` may
    be called so. Hidden files match only where the pattern names them, as in a shell. ``**`` stands for any number
    of folders, links to folders included.

    Raises:
        UserError: If ``**`` is only a part of a name.
        DataError: If a folder cannot be opened.
    """
    parts = pattern.parts
    start, fixed = Path(), 0
    while fixed < len(parts) and os.path.lexists(start / parts[fixed]):
        start, fixed = start / parts[fixed], fixed + 1
    rest = parts[fixed:]
    if not any(_WILDCARDS & set(part) for part in rest):
        return []
    if any(_ANY_DEPTH in part and part != _ANY_DEPTH for part in rest):
        raise UserError(f"{pattern} is no pattern: ** must stand alone between slashes")
    return sorted(set(_match(start, rest, hidden=any(map(is_ignored, rest)), above=())))


def _match(
    folder: Path, parts: Sequence[str], *, hidden: bool, above: tuple[tuple[int, int], ...]
) -> Iterator[Path]:
    """Paths below a folder that match the parts of a pattern; `above` are the folders that ``**`` came through."""
    if not parts:
        yield folder
        return
    if not is_folder(folder):
        return
    first, rest = parts[0], parts[1:]
    if first == _ANY_DEPTH:
        status = folder.stat()
        here = (status.st_dev, status.st_ino)
        if here in above:
            return
        yield from _match(folder, rest, hidden=hidden, above=())
        for child in _children(folder, hidden=hidden):
            if is_folder(child):
                yield from _match(child, parts, hidden=hidden, above=(*above, here))
    elif not _WILDCARDS & set(first):
        if os.path.lexists(folder / first):
            yield from _match(folder / first, rest, hidden=hidden, above=())
    else:
        for child in _children(folder, hidden=hidden):
            if fnmatchcase(child.name, first):
                yield from _match(child, rest, hidden=hidden, above=())


def _children(folder: Path, *, hidden: bool) -> list[Path]:
    return [child for child in list_all(folder) if hidden or not is_ignored(child.name)]
