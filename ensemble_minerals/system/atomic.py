"""Files and folders that appear under their names whole, or not at all."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ensemble_minerals.errors import UserError


@contextmanager
def drafted(path: Path) -> Iterator[Path]:
    """A draft beside a file, which takes its place when all went well and is removed if not.

    The draft's name is its own: of several processes that write the same file at once the last one's stays.

    Args:
        path: The file; its folder exists.

    Raises:
        OSError: If the draft was not written, or cannot take the place.
    """
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.unfinished")
    try:
        yield draft
        draft.replace(path)
    finally:
        with suppress(OSError):
            draft.unlink()


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A new folder to write into, which takes the place of `folder` when all went well, or is gone.

    Raises:
        UserError: If it cannot be written.
    """
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        yield unfinished
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
