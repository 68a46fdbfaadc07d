"""Networks that are opened while the program is still imported: those that a bundle used the last time, here.

The cache notes which of its networks a bundle uses. To open one takes time of OpenVINO's threads, and to import takes
Python's own, so both are done at once. An extractor that needs a network finds it open, or opens it itself.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, cast

from ensemble_minerals.features.engine import OpenVINOEngine
from ensemble_minerals.features.metadata import NETWORK, read_metadata
from ensemble_minerals.system.cache_folder import DIGESTS, NETWORKS
from ensemble_minerals.system.digest import content_digest
from ensemble_minerals.system.sealed import read_sealed, write_sealed

if TYPE_CHECKING:
    from ensemble_minerals.features.engine_agreement import Precision

FEW = 3
"""Photos up to which a network is opened for one pass at a time: to open it takes longer than to pass so few."""

_opened: dict[Path, Future[OpenVINOEngine]] = {}


def note_networks(bundle: Path, cache_dir: Path, folders: Iterable[Path]) -> None:
    """Note which networks of the cache a bundle uses.

    Args:
        bundle: The bundle.
        cache_dir: The cache.
        folders: Of the networks, in the order in which they are needed.
    """
    names = json.dumps([folder.name for folder in folders]).encode()
    note = _note(bundle, cache_dir)
    if read_sealed(note) != names:
        write_sealed(note, names)


def open_ahead(bundle: Path, cache_dir: Path) -> None:
    """Begin to open, in a thread, the networks that were noted for a bundle, for one pass at a time.

    Args:
        bundle: The bundle.
        cache_dir: The cache.
    """
    names = read_sealed(_note(bundle, cache_dir))
    if names is not None:
        coming = {cache_dir / NETWORKS / name: Future[OpenVINOEngine]() for name in json.loads(names)}
        _opened.update(coming)
        Thread(target=_open, args=(coming,), name="open-ahead", daemon=True).start()


def opened(folder: Path) -> OpenVINOEngine | None:
    """The engine of a folder's network, for one pass at a time; None where it has not been begun to be opened."""
    coming = _opened.get(folder)
    if coming is None or coming.cancel():
        return None
    with suppress(Exception):  # who opens it then says what is wrong with it
        return coming.result()
    return None


def _open(coming: Mapping[Path, Future[OpenVINOEngine]]) -> None:
    for folder, future in coming.items():
        if not future.set_running_or_notify_cancel():
            continue
        try:
            known = read_metadata(folder)
            if known is None:
                raise FileNotFoundError(folder)
            future.set_result(
                OpenVINOEngine(
                    folder / NETWORK,
                    cast("Precision", known.precision),
                    known.n_features,
                    one_at_a_time=True,
                )
            )
        except Exception as error:
            future.set_exception(error)


def _note(bundle: Path, cache_dir: Path) -> Path:
    return cache_dir / DIGESTS / content_digest(os.fsencode(f"networks of {bundle.resolve()}"))
