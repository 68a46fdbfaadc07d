"""What the cache folder holds, and how it is kept small: what was not used for longest leaves first.

The folder holds tables (`CacheTable`), a folder for each converted network, and small files. All of it can be
computed again, so anything may be removed at any time, also while other programs read it. Whatever else somebody put
there is neither counted nor removed.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from ensemble_minerals.system.cache_table import CacheTable
from ensemble_minerals.system.sizes import format_size, parse_size

LIMIT_VARIABLE = "ENSEMBLE_MINERALS_CACHE_LIMIT"
DEFAULT_LIMIT = "10GB"

TABLES = ("features.sqlite", "scans.sqlite", "keypoints.sqlite")
NETWORKS = "networks"
DIGESTS = "digests"
MEMBERS = "members"
COSTS = "costs.sealed"
RUNTIME = "onnxruntime-web"
CARD = "card.json"

_FORMER = ("costs.json",)  # files of earlier versions
_OURS = re.compile(r"[0-9a-f]{32}")
_UNFINISHED = re.compile(r"\.[0-9a-f]{32}\.[0-9a-f]{8}\.unfinished")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CachedItem:
    """A part of the cache folder.

    Attributes:
        kind: ``features``, ``scans`` and so on: the table, or what a folder or a file is.
        name: Which of them, such as the model that computed the features.
        n_entries: Number of photos, or of files.
        n_bytes: Their size.
        last_used: Seconds since the epoch, about an hour exact.
        path: Of the folder or file; None for a part of a table.
    """

    kind: str
    name: str
    n_entries: int
    n_bytes: int
    last_used: float
    path: Path | None = None


def cache_limit() -> float:
    """Bytes that the cache may have after a fit: `DEFAULT_LIMIT`, or what the environment says.

    Raises:
        UserError: If that is no size.
    """
    return parse_size(os.environ.get(LIMIT_VARIABLE) or DEFAULT_LIMIT, LIMIT_VARIABLE)


def list_cache(folder: Path) -> list[CachedItem]:
    """What a cache folder holds, kind by kind."""
    items = []
    for file in _tables(folder):
        with CacheTable(file) as table:
            for source in table.sources():
                name = str(source.facts.get("model") or source.facts.get("kind") or "")
                items.append(CachedItem(file.stem, name, source.n_entries, source.n_bytes, source.last_used))
    for item in _outside_tables(folder):
        items.append(item if item.kind != NETWORKS else replace(item, name=_model(item.path)))
    return items


def size_on_disk(folder: Path) -> int:
    """Bytes of all files of the cache."""
    return sum(map(_size_of_table, _tables(folder))) + sum(item.n_bytes for item in _outside_tables(folder))


def prune_cache(folder: Path, *, unused_since: float, limit: float) -> int:
    """Remove what was not used for long, and what is above a limit in size.

    Args:
        folder: The cache folder.
        unused_since: Seconds since the epoch; what was used later stays, if it is within the limit.
        limit: Bytes of all files.

    Returns:
        By how many bytes the folder has become smaller.
    """
    before = size_on_disk(folder)
    for file in _tables(folder):
        with CacheTable(file) as table:
            table.drop(unused_since=unused_since)
    for item in _outside_tables(folder):
        if item.last_used <= unused_since:
            _remove(item)
    trim_cache(folder, limit)
    return before - size_on_disk(folder)


def trim_cache(folder: Path, limit: float) -> int:
    """Remove what was not used for longest until the folder is within a limit in size.

    Returns:
        By how many bytes the folder has become smaller.
    """
    before = size_on_disk(folder)
    excess = before - limit
    if excess <= 0:
        return 0
    with ExitStack() as stack:
        tables = [stack.enter_context(CacheTable(file)) for file in _tables(folder)]
        uses: list[tuple[float, int, CacheTable | CachedItem]] = [
            *((used, size, table) for table in tables for used, size in table.uses()),
            *((item.last_used, item.n_bytes, item) for item in _outside_tables(folder)),
        ]
        held: Counter[CacheTable] = Counter()
        for _, size, owner in uses:
            if isinstance(owner, CacheTable):
                held[owner] += size
        dropped: Counter[CacheTable] = Counter()
        for _, size, owner in sorted(uses, key=lambda use: use[0]):
            if excess <= 0:
                break
            if isinstance(owner, CachedItem):
                _remove(owner)
                excess -= size
            else:
                dropped[owner] += size
                excess -= size * _size_of_table(owner.path) / max(1, held[owner])  # pages are not quite full
        for table, n_bytes in dropped.items():
            table.drop(n_bytes=n_bytes)
    return before - size_on_disk(folder)


def clear_cache(folder: Path) -> int:
    """Remove everything that only saves time.

    Returns:
        By how many bytes the folder has become smaller.
    """
    before = size_on_disk(folder)
    for file in _tables(folder):
        with CacheTable(file) as table:
            table.clear()
    for item in _outside_tables(folder):
        _remove(item)
    return before - size_on_disk(folder)


def keep_within_limit(folder: Path | None, limit: float) -> str:
    """`trim_cache`, in words for the user; empty where nothing had to go."""
    freed = 0 if folder is None else trim_cache(folder, limit)
    if freed <= 0:
        return ""
    return (
        f"the cache is limited to {format_size(limit)}: {format_size(freed)} that were not used for longest were "
        f"removed ({LIMIT_VARIABLE} sets another limit)"
    )


def _tables(folder: Path) -> list[Path]:
    return [folder / name for name in TABLES if (folder / name).is_file()]


def _outside_tables(folder: Path) -> Iterator[CachedItem]:
    """Networks, digests and members one by one, costs, a runtime, and what killed and former programs left."""
    for kind in (NETWORKS, DIGESTS, MEMBERS):
        for path in sorted((folder / kind).iterdir()) if (folder / kind).is_dir() else []:
            if _OURS.fullmatch(path.name):
                yield _item(kind, path)
            elif _UNFINISHED.fullmatch(path.name):
                yield _item("unfinished", path)
    if (folder / RUNTIME).is_dir():
        yield _item("runtime", folder / RUNTIME)
    for name in (COSTS, *_FORMER):
        if (folder / name).is_file():
            yield _item("costs", folder / name)


def _item(kind: str, path: Path) -> CachedItem:
    files = list(path.rglob("*")) if path.is_dir() else [path]
    used = max((_used(file) for file in files), default=0.0)
    return CachedItem(kind, "", len(files), sum(map(_size, files)), used, path)


def _model(network: Path | None) -> str:
    """Name in the card of a network, which in earlier versions had no checksum at its end."""
    assert network is not None
    try:
        card = (network / CARD).read_bytes()
        return str(json.loads(card[: card.rindex(b"}") + 1])["facts"]["model"])
    except (OSError, ValueError, KeyError, TypeError):
        return network.name


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size if not path.is_dir() else 0
    except OSError:  # removed meanwhile
        return 0


def _size_of_table(file: Path) -> int:
    return sum(map(_size, file.parent.glob(f"{file.name}*")))


def _used(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0


def _remove(item: CachedItem) -> None:
    path = item.path
    assert path is not None
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        if path.exists():
            _log.warning("%s cannot be removed (%s)", path, error.strerror or error)
