"""Opening a saved folder: its index, and the files that the index lists, by handles and with their digests checked.

Nothing outside of the folder is opened: names are plain, links are not followed, devices and pipes are refused. A
folder that was replaced while it was opened is opened once more, so that all files are those of one index.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from ensemble_minerals.errors import BundleError, ConfigError, DataError, TaxonomyError
from ensemble_minerals.system.held_file import READING, HeldFile

_TIMES = 50
"""A folder that is replaced again and again is opened so often."""

_MOST_BYTES = {".json": 16 << 20, ".yaml": 1 << 20, ".md": 16 << 20, ".csv": 1 << 30}
_MOST_BYTES_OF_ARRAYS = 16 << 30
"""Lengths of files, at most: by suffix, and for all other suffixes."""

ON_DISK = ("networks", "weights")
"""Folders inside of a saved folder whose files are not kept in memory."""

_SHOWN = 3
"""Problems of a configuration that a message lists."""

T = TypeVar("T")


@dataclass(frozen=True)
class SavedFolder:
    """A saved folder, opened and checked.

    Attributes:
        path: Where it is.
        index: What its index says, in the current format.
        digest: Of the index.
        files: Every file that the index lists, by name.
        again: The command that makes such a folder anew, for messages.
    """

    path: Path
    index: Mapping[str, Any]
    digest: str
    files: Mapping[str, HeldFile]
    again: str

    @contextmanager
    def reading(self, name: str) -> Iterator[HeldFile]:
        """A file; what is wrong with its content is said in the user's words, see `damage`."""
        with damage(self.path / name, self.again):
            yield self.files[name]

    def lacks(self, name: str) -> BundleError:
        """The error that a file is not there."""
        return BundleError(f"{self.path}: {name} is missing; it is incomplete, {self.again} it again")


@contextmanager
def damage(file: Path, again: str) -> Iterator[None]:
    """Say in the user's words what is wrong with the content of a file.

    Raises:
        BundleError: For any `ValueError`, `ConfigError`, `DataError` or `TaxonomyError` of the block.
    """
    try:
        yield
    except ConfigError as error:
        raise BundleError(
            f"{file} is damaged: {'; '.join(error.problems[:_SHOWN])}; {again} it again"
        ) from error
    except (DataError, TaxonomyError, ValueError) as error:
        raise BundleError(f"{file} is damaged: {error}; {again} it again") from error


class OpenFolder:
    """A folder that is open: its files are those of this folder, even after another took its name.

    Where the system opens no files relative to a folder, they are opened by their paths.

    Args:
        path: The folder; a link to it is followed.

    Raises:
        OSError: If it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle = os.open(path, _FOLDER) if os.open in os.supports_dir_fd else None
        self._identity = _identity(path.stat() if self._handle is None else os.fstat(self._handle))

    def close(self) -> None:
        """Close the folder; its files stay open."""
        if self._handle is not None:
            os.close(self._handle)

    @property
    def was_replaced(self) -> bool:
        """Whether another folder has its name by now, or none."""
        with suppress(OSError):
            return _identity(self.path.stat()) != self._identity
        return True

    def file(self, name: str) -> HeldFile:
        """Open a file.

        Args:
            name: Relative to the folder, with forward slashes.

        Raises:
            FileNotFoundError: If it is missing.
            OSError: If it cannot be opened, or is a link, or lies behind one.
            ValueError: If it is no regular file, or too long for its kind.
        """
        file = HeldFile(self.path / name, self._open(PurePosixPath(name).parts))
        most = _MOST_BYTES.get(file.path.suffix, _MOST_BYTES_OF_ARRAYS)
        if file.size > most:
            raise ValueError(f"it has {file.size:,} bytes, {most:,} at most are read")
        return file

    def _open(self, parts: tuple[str, ...]) -> int:
        if self._handle is None:
            inside = [self.path.joinpath(*parts[: n + 1]) for n in range(len(parts))]
            if any(path.is_symlink() for path in inside):
                raise OSError("it is a link, or lies behind one")
            return os.open(inside[-1], READING)
        folder = os.dup(self._handle)
        try:
            for part in parts[:-1]:
                below = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
                os.close(folder)
                folder = below
            return os.open(parts[-1], READING | os.O_NOFOLLOW, dir_fd=folder)
        finally:
            os.close(folder)


_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)


def _identity(state: os.stat_result) -> tuple[int, int]:
    return state.st_dev, state.st_ino


def read_unreplaced(path: Path, read: Callable[[OpenFolder], T]) -> T:
    """Read a folder, and once more whenever that fails because it was replaced meanwhile.

    Args:
        path: The folder.
        read: Reads it.

    Raises:
        BundleError: What `read` raises for a folder that was not replaced.
        OSError: If the folder cannot be opened.
    """
    attempts = 0
    while True:
        attempts += 1
        folder = OpenFolder(path)
        try:
            return read(folder)
        except BundleError:
            if attempts == _TIMES or not folder.was_replaced:
                raise
        finally:
            folder.close()
