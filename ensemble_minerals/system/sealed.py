"""Files that only save time, with a checksum at their end. Trouble with one is said, and is never an error."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ensemble_minerals.system.atomic import atomic_file
from ensemble_minerals.system.digest import checksum

_log = logging.getLogger(__name__)

_BYTES = 4  # of a checksum


def write_sealed(path: Path, data: bytes, *, durable: bool = False) -> bool:
    """Write a file with its checksum, see `atomic_file`. False, with a warning, where it cannot be kept.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "area"
    >>> write_sealed(file, b"1200"), read_sealed(file)
    (True, b'1200')
    """
    try:
        with atomic_file(path, durable=durable) as draft, draft.open("wb") as stream:
            stream.write(data)
            stream.write(checksum([data]).to_bytes(_BYTES))
    except OSError as error:
        not_kept(path, error)
        return False
    return True


def read_sealed(path: Path) -> bytes | None:
    """What `write_sealed` wrote; None if there is no file, or, with a warning, if it is damaged or cannot be read."""
    try:
        with path.open("rb") as stream:
            data = stream.read(max(0, path.stat().st_size - _BYTES))
            seal = stream.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        _log.warning("%s cannot be read (%s), and is not used", path, error.strerror or error)
        return None
    if seal != checksum([data]).to_bytes(_BYTES):
        damaged(path)
        return None
    return data


def write_sealed_pair(
    path: Path, description: Mapping[str, Any], data: bytes, *, durable: bool = True
) -> bool:
    """`write_sealed` of a description as JSON and the bytes that it describes."""
    return write_sealed(path, json.dumps(description).encode() + b"\n" + data, durable=durable)


def read_sealed_pair(path: Path) -> tuple[dict[str, Any], bytes] | None:
    """What `write_sealed_pair` wrote; None as for `read_sealed`."""
    sealed = read_sealed(path)
    if sealed is None:
        return None
    description, _, data = sealed.partition(b"\n")
    return json.loads(description), data


def damaged(path: Path) -> None:
    """Say that a file is not what was written."""
    _log.warning("%s is damaged, and is not used", path)


def not_kept(path: Path, error: Exception) -> None:
    """Say that something cannot be kept between runs."""
    reason = getattr(error, "strerror", None) or error
    _log.warning("%s cannot be kept (%s), which only costs time in the next run", path, reason)
