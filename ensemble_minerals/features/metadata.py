"""What is known of a frozen network without loading it: a small JSON file beside its converted form.

Where that file is there, metadata and shapes are read from it, and computing features needs no PyTorch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from ensemble_minerals.features.extractor import JSON, fingerprint_of
from ensemble_minerals.system import cpu
from ensemble_minerals.system.atomic import atomic_folder
from ensemble_minerals.system.cache_folder import CARD, DIGESTS
from ensemble_minerals.system.digest import content_digest, file_digest
from ensemble_minerals.system.sealed import damaged, not_kept, read_sealed, write_sealed

if TYPE_CHECKING:
    from ensemble_minerals.features.engine_agreement import Precision
    from ensemble_minerals.features.engine_choice import Choice
    from ensemble_minerals.networks.models.taps import TappedNetwork

NETWORK = "network.xml"
_OPENCV = "opencv-python-headless"


@dataclass(frozen=True)
class BackboneMetadata:
    """A frozen network in brief.

    Attributes:
        metadata: What decides its numbers.
        size: Side of the square input in pixels.
        n_features: Length of its vector.
        layers: First and one past the last column of each layer.
        embedding: The same of the mean of the last layer.
        engine: What runs it.
        precision: Of the computation.
        device: Where.
        megabytes: Size of the weights in float32.
        agreement: With PyTorch in float32, by layer, as measured when it was converted.
    """

    metadata: Mapping[str, JSON]
    size: int
    n_features: int
    layers: Mapping[str, tuple[int, int]]
    embedding: tuple[int, int]
    engine: str
    precision: str
    device: str
    megabytes: float
    agreement: Mapping[str, float]


def metadata_of(network: TappedNetwork, metadata: Mapping[str, JSON], choice: Choice) -> BackboneMetadata:
    """What is known of a network that was loaded, and of the engine that was chosen for it."""
    return BackboneMetadata(
        metadata={
            **metadata,
            "engine": choice.name,
            "precision": choice.precision,
            "device": choice.device,
            "engine_note": choice.note,
        },
        size=network.size,
        n_features=network.n_features,
        layers={name: (columns.start, columns.stop) for name, columns in network.layers.items()},
        embedding=(network.embedding.start, network.embedding.stop),
        engine=choice.name,
        precision=choice.precision,
        device=choice.device,
        megabytes=4e-6 * sum(tensor.numel() for tensor in network.state_dict().values()),
        agreement=choice.agreement,
    )


def metadata_of_views(views: Sequence[str], transform: str) -> dict[str, JSON]:
    """What decides the pixels of views; see `data.views.draw_views`."""
    # Imported here: networks are opened before Pillow is.
    from ensemble_minerals.data.views import PILLOW_TRANSFORM

    metadata: dict[str, JSON] = {"views": list(views), "transform": transform}
    if transform != PILLOW_TRANSFORM:  # Pillow's version is among the others
        metadata["libraries"] = {_OPENCV: _opencv_version()}
    return metadata


@cache
def _opencv_version() -> str:
    return version(_OPENCV)  # which reads files, and is asked for with every photo


@dataclass(frozen=True)
class PrecisionChoice:
    """The precision that ``precision: auto`` took for a network on this machine.

    Attributes:
        precision: The one it took.
        milliseconds: Of a pass in each precision; empty where one was not timed.
        reason: Why bfloat16 was not timed; empty where it was, or where the processor has none.
    """

    precision: str
    milliseconds: Mapping[Precision, float] = field(default_factory=dict)
    reason: str = ""


def read_choice(cache_dir: Path, request: Mapping[str, JSON]) -> PrecisionChoice | None:
    """The precision that was taken before for a request on this machine."""
    sealed = read_sealed(_choice_file(cache_dir, request))
    return None if sealed is None else PrecisionChoice(**json.loads(sealed))


def keep_choice(cache_dir: Path, request: Mapping[str, JSON], choice: PrecisionChoice) -> None:
    """Keep the precision that was taken, so that it stays the same on this machine."""
    write_sealed(_choice_file(cache_dir, request), json.dumps(asdict(choice)).encode())


class MeasuredFamilies:
    """`engine_choice.Families` that the cache keeps.

    Args:
        cache_dir: The cache.
    """

    def __init__(self, cache_dir: Path) -> None:
        self._cache_dir = cache_dir

    def read(self, family: str) -> Mapping[Precision, float]:
        """See `Families.read`."""
        choice = read_choice(self._cache_dir, self._request(family))
        return {} if choice is None else choice.milliseconds

    def keep(self, family: str, milliseconds: Mapping[Precision, float]) -> None:
        """See `Families.keep`."""
        keep_choice(self._cache_dir, self._request(family), PrecisionChoice("auto", milliseconds))

    def _request(self, family: str) -> dict[str, JSON]:
        return {"family": family, "machine": cpu.hardware_digest(), "versions": library_versions()}


def _choice_file(cache_dir: Path, request: Mapping[str, JSON]) -> Path:
    return cache_dir / DIGESTS / fingerprint_of({**request, "precision": "auto"})


def read_metadata(folder: Path) -> BackboneMetadata | None:
    """The metadata in a folder; None if there are none, or they or the sizes of the files beside them are damaged."""
    sealed = read_sealed(folder / CARD)
    if sealed is None:
        return None
    with suppress(OSError):  # the time of its last use, by which the cache is pruned
        os.utime(folder / CARD)
    stored = json.loads(sealed)
    if not all(_has_size(folder / name, size) for name, size in stored.pop("files").items()):
        damaged(folder)
        return None
    layers = {name: (start, stop) for name, (start, stop) in stored.pop("layers").items()}
    start, stop = stored.pop("embedding")
    return BackboneMetadata(stored.pop("facts"), layers=layers, embedding=(start, stop), **stored)


def keep_metadata(folder: Path, known: BackboneMetadata, save: Callable[[Path], None] | None) -> bool:
    """Write metadata and their network; the folder appears whole or not at all.

    Args:
        folder: Where.
        known: What is known.
        save: Writes the converted network to the path it is given; None where there is none.

    Returns:
        Whether they are kept; a warning says where they cannot be.
    """
    if read_metadata(folder) is not None:  # another process was quicker
        return True
    try:
        with atomic_folder(folder, durable=False) as draft:
            if save is not None:
                save(draft / NETWORK)
            files = {path.name: path.stat().st_size for path in draft.iterdir()}
            stored = asdict(known)
            stored |= {"facts": stored.pop("metadata"), "files": files}
            return write_sealed(draft / CARD, json.dumps(stored, indent=1).encode())
    except (OSError, RuntimeError) as error:  # RuntimeError: OpenVINO's, as of a full disk
        not_kept(folder, error)
        return False


def forget(folder: Path) -> None:
    """Let a damaged network be made anew."""
    with suppress(OSError):  # where it cannot be removed, it cannot be replaced either, which is said there
        (folder / CARD).unlink()


def cached_digest(file: Path, cache_dir: Path | None) -> str:
    """Digest of a weights file, remembered by path, size and time of change."""
    if cache_dir is None:
        return file_digest(file)
    state = file.stat()
    identity = f"sealed {file.resolve()} {state.st_size} {state.st_mtime_ns}"
    note = cache_dir / DIGESTS / content_digest(os.fsencode(identity))
    noted = read_sealed(note)
    if noted is not None:
        return noted.decode("ascii")
    digest = file_digest(file)
    write_sealed(note, digest.encode("ascii"))
    return digest


def _has_size(file: Path, size: int) -> bool:
    try:
        return file.stat().st_size == size
    except OSError:
        return False


@cache
def library_versions() -> dict[str, JSON]:
    """Versions of what takes part in the numbers; None where it is not installed."""
    versions: dict[str, JSON] = {}
    for package in ("openvino", "pillow", "timm", "torch"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return versions
