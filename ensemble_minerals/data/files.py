"""The only walker: it lists the files of folders, patterns and inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ensemble_minerals.errors import DataError, UserError

SYNTHETIC_MARKER = ".synthetic"
"""Name of an empty file that marks a folder of drawn photos."""

_SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "icon\r"})
_WILDCARDS = frozenset("*?[")


def is_synthetic(folder: Path) -> bool:
    """Whether the photos in a folder are drawn ones, such as those of the demonstration set."""
    return (folder / SYNTHETIC_MARKER).is_file()


def is_ignored(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or the operating system's own.

    >>> [is_ignored(name) for name in (".git", "Thumbs.db", "quartz.jpg")]
    [True, True, False]
    """
    return name.startswith(".") or name.lower() in _SYSTEM_FILES


def list_folder(folder: Path, ignored: list[str] | None = None) -> list[Path]:
    """Files and folders straight in a folder, sorted, without those that `is_ignored`.

    Args:
        folder: The folder.
        ignored: Gets the names that are left out, except the `SYNTHETIC_MARKER`.

    Raises:
        DataError: If the folder cannot be opened.
    """
    try:
        children = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(
            f"the folder {folder} cannot be opened: {error.strerror}; allow it to be read, or move it away"
        ) from error
    if ignored is not None:
        ignored += [
            child.name for child in children if is_ignored(child.name) and child.name != SYNTHETIC_MARKER
        ]
    return [child for child in children if not is_ignored(child.name)]


def list_files(folder: Path, ignored: list[str] | None = None) -> Iterator[Path]:
    """Files in a folder and in all folders below it, in the order of their paths.

    Symbolic links are followed, but never in a circle. A link that leads nowhere counts as a file, and so does a
    device: the decoder says later why it is no photo.

    Args:
        folder: The folder.
        ignored: Gets the names that are left out, see `list_folder`.

    Raises:
        DataError: If a folder cannot be opened.
    """
    yield from _walk(folder, (), ignored)


def expand_inputs(inputs: Sequence[str | Path]) -> list[Path]:
    """The files that files, folders and glob patterns name, in that order, each once.

    A pattern matches hidden files only where it names them, as in a shell.

    Raises:
        UserError: If an input matches nothing.
        DataError: If a folder cannot be opened.
    """
    files: dict[Path, None] = {}
    for entry in inputs:
        path = Path(entry)
        if not str(entry):
            raise UserError("an input is empty; name a file, a folder or a pattern")
        try:
            matches = [path] if path.exists() else _matches(path)
        except (OSError, ValueError) as error:  # a name that is too long, or no pattern either
            raise UserError(f"{entry} is no file or folder here, and no pattern: {error}") from error
        if not matches:
            raise UserError(f"{entry} is no file or folder here, and matches none as a pattern")
        inside = [file for match in matches for file in (list_files(match) if match.is_dir() else [match])]
        if not inside:
            raise UserError(f"{entry} holds no files")
        files |= dict.fromkeys(inside)
    return list(files)


def _walk(folder: Path, above: tuple[tuple[int, int], ...], ignored: list[str] | None) -> Iterator[Path]:
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    for child in list_folder(folder, ignored):
        if child.is_dir():
            yield from _walk(child, (*above, here), ignored)
        else:
            yield child


def _matches(pattern: Path) -> list[Path]:
    fixed = next((n for n, part in enumerate(pattern.parts) if _WILDCARDS & set(part)), None)
    if fixed is None:
        return []
    start, rest = Path(*pattern.parts[:fixed]), Path(*pattern.parts[fixed:])
    hidden_too = any(map(is_ignored, rest.parts))
    return sorted(
        path
        for path in start.glob(str(rest))
        if hidden_too or not any(map(is_ignored, path.relative_to(start).parts))
    )
