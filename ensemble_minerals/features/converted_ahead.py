"""Networks that a child process converts into the cache while the program is imported and photos are read.

All of these take Python's own time for seconds, so threads of one process would wait for each other. What the child
does not do, for whatever reason, is done by whoever needs the network, who says what is wrong.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any

from ensemble_minerals.config.schema import Config
from ensemble_minerals.data.listing import list_photos
from ensemble_minerals.errors import EnsembleMineralsError
from ensemble_minerals.features import engine
from ensemble_minerals.features.engine_agreement import Precision
from ensemble_minerals.features.registry import (
    backbones_of,
    build_extractors,
    learn_metadata,
    precision_for,
)
from ensemble_minerals.system import cpu
from ensemble_minerals.system.cache_folder import NETWORKS

PATIENCE = 300.0
"""Seconds that the child may go on after photos were read."""

_begun: list[subprocess.Popen[bytes]] = []


def begin_to_convert(data: Path, config: Config, cache_dir: Path | None, n_threads: int) -> None:
    """Begin what `converted_ahead` does; that goes on with it.

    Args:
        data: The photos.
        config: Describes the backbones.
        cache_dir: Where converted networks are kept; nowhere if None.
        n_threads: Networks that are converted at once.
    """
    child = _start(data, config, cache_dir, n_threads, backbones_of(config))
    if child is not None:
        _begun.append(child)


@contextmanager
def converted_ahead(
    data: Path,
    config: Config,
    cache_dir: Path | None,
    n_threads: int,
    names: Collection[str] | None = None,
) -> Iterator[None]:
    """Context in which photos are read; at its end the backbones that were never converted are in the cache.

    Where converted networks are not kept, PyTorch is imported in a thread meanwhile.

    Args:
        data: The photos.
        config: Describes the backbones.
        cache_dir: Where converted networks are kept; nowhere if None.
        n_threads: Networks that are converted at once.
        names: Of the backbones that are needed; None for those that a fit needs.
    """
    names = backbones_of(config) if names is None else names
    child = _begun.pop() if _begun else _start(data, config, cache_dir, n_threads, names)
    if child is None:
        if names and (cache_dir is None or not (cache_dir / NETWORKS).is_dir()):
            Thread(target=import_module, args=("ensemble_minerals.networks.models.taps",)).start()
        yield
        return
    with child:
        try:
            yield
            with suppress(subprocess.TimeoutExpired):
                child.wait(PATIENCE)
        finally:
            child.kill()


def _start(
    data: Path, config: Config, cache_dir: Path | None, n_threads: int, names: Collection[str]
) -> subprocess.Popen[bytes] | None:
    """The child, told what to convert; None where there is nothing, or it would not help."""
    if cache_dir is None or "torch" in sys.modules or not (sys.executable and _are_kept(config)):
        return None
    precision: Mapping[str, Precision] = {}
    try:
        unknown = _unknown(config, names, cache_dir, precision)
        if unknown and config.precision == "auto":
            precision = precision_for(config, len(list_photos(data, config.classes or ()).entries))
            unknown = _unknown(config, names, cache_dir, precision)
        if not unknown:
            return None
        job = {
            "config": config.model_dump(mode="json"),
            "names": unknown,
            "cache_dir": str(cache_dir),
            "precision": precision,
            "n_threads": n_threads,
        }
        return subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, json.dumps(job)],
            stdin=subprocess.PIPE,  # it ends when this process does, and so does the child
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path)),
                "HF_HUB_OFFLINE": "1",  # a download should be seen, so the child begins none
            },
        )
    except (EnsembleMineralsError, OSError):
        return None  # who reads the photos, or needs the network, will say what is wrong


def _are_kept(config: Config) -> bool:
    """Whether converted networks are all that backbones are computed with, as far as one can tell without PyTorch."""
    if config.precision == "int8":  # is made of the network in PyTorch
        return False
    by_itself = engine.installed() and not cpu.has_accelerator()
    return config.engine == "openvino" or (config.engine == "auto" and by_itself)


def _unknown(
    config: Config, names: Collection[str], cache_dir: Path, precision: Mapping[str, Precision]
) -> list[str]:
    """Names of the backbones that are not in the cache."""
    from ensemble_minerals.features.backbone import BackboneExtractor

    extractors = build_extractors(config, names, cache_dir=cache_dir, precision=precision)
    return [
        name
        for name, extractor in extractors.items()
        if isinstance(extractor, BackboneExtractor) and not extractor.is_known
    ]


def _convert(job: Mapping[str, Any]) -> None:
    """What the child does."""
    gc.disable()  # nothing is garbage in so short a life, and to look for it takes half a second
    Thread(target=_end_with_parent, daemon=True).start()
    config = Config.model_validate(job["config"])
    extractors = build_extractors(
        config, job["names"], cache_dir=Path(job["cache_dir"]), precision=job["precision"]
    )
    several = list(extractors.values())
    learn_metadata(several[:1], 1)  # alone: how long it takes in each precision counts for others like it
    learn_metadata(several[1:], job["n_threads"])
    os._exit(0)  # nothing is left to be tidied up


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    _convert(json.loads(sys.argv[1]))
