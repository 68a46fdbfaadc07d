"""The only walker: which files lie in a folder, at any depth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ensemble_minerals.data.own_outputs import SYNTHETIC_MARKER, is_folder, is_output
from ensemble_minerals.errors import DataError
from ensemble_minerals.system.plural import counted

_SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "icon\r"})


@dataclass
class LeftOut:
    """What the walker passed over.

    Attributes:
        hidden: Names of hidden and system files and folders, except the `SYNTHETIC_MARKER`.
        outputs: Folders that this program wrote.
    """

    hidden: list[str] = field(default_factory=list)
    outputs: list[Path] = field(default_factory=list)

    def notes(self) -> Iterator[str]:
        """A sentence for each kind of which there is something.

        >>> list(LeftOut(hidden=[".DS_Store"]).notes())
        ['1 hidden or system file ignored: .DS_Store']
        """
        if self.hidden:
            yield f"{counted(len(self.hidden), 'hidden or system file')} ignored: {some(self.hidden)}"
        if self.outputs:
            names = some([folder.as_posix() for folder in self.outputs])
            yield f"{counted(len(self.outputs), 'folder')} that ensemble-minerals wrote left out: {names}"


def is_synthetic(folder: Path) -> bool:
    """Whether the photos in a folder are drawn ones, such as those of the demonstration set."""
    return (folder / SYNTHETIC_MARKER).is_file()


def is_ignored(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or the operating system's own.

    >>> [is_ignored(name) for name in (".git", "Thumbs.db", "quartz.jpg")]
    [True, True, False]
    """
    return name.startswith(".") or name.lower() in _SYSTEM_FILES


def list_folder(folder: Path, left_out: LeftOut | None = None) -> list[Path]:
    """Files and folders straight in a folder, sorted, without those that `is_ignored` and without own outputs.

    Args:
        folder: The folder.
        left_out: Gets what is left out.

    Raises:
        DataError: If the folder cannot be opened.
    """
    left_out = LeftOut() if left_out is None else left_out
    kept = []
    for child in list_all(folder):
        if is_ignored(child.name):
            if child.name != SYNTHETIC_MARKER:
                left_out.hidden.append(child.name)
        elif is_folder(child) and is_output(child):
            left_out.outputs.append(child)
        else:
            kept.append(child)
    return kept


def list_all(folder: Path) -> list[Path]:
    """Everything straight in a folder, sorted, the hidden included.

    Raises:
        DataError: If the folder cannot be opened.
    """
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise _closed(folder, error) from error


def list_files(folder: Path, left_out: LeftOut | None = None) -> Iterator[Path]:
    """Files in a folder and in all folders below it, in the order of their paths.

    Symbolic links are followed, but never in a circle. A link that leads nowhere counts as a file, and so does a
    device, or a path that nobody may look at: the decoder says later why it is no photo.

    Args:
        folder: The folder.
        left_out: Gets what is left out, see `list_folder`.

    Raises:
        DataError: If a folder cannot be opened.
    """
    yield from _walk(folder, (), left_out)


def some(names: list[str]) -> str:
    """The first three names in alphabetical order.

    >>> some(["d", "c", "b", "a"])
    'a, b, c, ...'
    """
    shown = ", ".join(sorted(names)[:3])
    return shown if len(names) <= 3 else f"{shown}, ..."


def _walk(folder: Path, above: tuple[tuple[int, int], ...], left_out: LeftOut | None) -> Iterator[Path]:
    try:
        status = folder.stat()
    except OSError as error:
        raise _closed(folder, error) from error
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    for child in list_folder(folder, left_out):
        if is_folder(child):
            yield from _walk(child, (*above, here), left_out)
        else:
            yield child


def _closed(folder: Path, error: OSError) -> DataError:
    return DataError(
        f"the folder {folder} cannot be opened: {error.strerror}; allow it to be read, or move it away"
    )
